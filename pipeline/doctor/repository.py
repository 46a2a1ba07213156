"""The check of the GitHub repository: whether a token that may only write contents can change the default branch."""

from pipeline.doctor.check import Context, Missing
from pipeline.github import client

RULESET = ".github/rulesets/default-branch.json"
NEEDED = ("pull_request", "non_fast_forward", "deletion")


def branch_rules(context: Context) -> str:
    """Checks the rules of the default branch, whose code may act on Google Cloud.

    https://docs.github.com/en/rest/repos/rules#get-rules-for-a-branch
    """
    kind, _, name = context.config.releases.partition(":")
    if kind != "github":
        return "no release token: models are not released on GitHub"
    repository = client.repository(name, context.config.github_token)
    with client.github_errors(f"Reading the rules of {name}"):
        branch = repository.default_branch
        address = f"{repository.url}/rules/branches/{branch}"
        _, rules = repository.requester.requestJsonAndCheck("GET", address, {"per_page": 100})
    held = {rule.get("type") for rule in rules}
    if absent := [rule for rule in NEEDED if rule not in held]:
        raise Missing(
            f"the release token may push to {branch} of {name}, because no active ruleset has {', '.join(absent)}",
            f"gh api --method POST repos/{name}/rulesets --input {RULESET}",
        )
    return f"{branch} of {name} changes by pull requests alone"
