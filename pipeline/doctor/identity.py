"""Checks who may sign in as the workflows' account: some jobs of one repository's default branch."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.cloud.rest import NoAnswer
from pipeline.doctor.access import unreadable
from pipeline.doctor.check import Context, Missing, grant
from pipeline.setup import resources
from pipeline.setup.apply import read_policy
from pipeline.setup.resources import FEDERATED

# What each part of a provider's condition keeps out.
PARTS = {
    "repository_id": "other repositories, also one that gets the former name of yours",
    "repository_owner_id": "other owners",
    "ref": "other branches than the default one",
}


def workflows(context: Context) -> str:
    """Checks that the provider accepts tokens of one branch of one repository, known by its number."""
    context.needs("project")
    config = context.config
    url = f"{resources.pool(config).url}/providers/github"
    try:
        found = context.rest.get(url)
    except NoAnswer as refused:
        if refused.status == 404:
            return "no workflow signs in: `python -m ci setup --repository OWNER/NAME` lets those of yours"
        fix = grant("projects", config.project, context.member, "roles/iam.workloadIdentityPoolViewer")
        raise unreadable(context, refused, fix) from None
    repository = config.releases.removeprefix("github:") if config.releases.startswith("github:") else "OWNER/NAME"
    setup = f"python -m ci setup --repository {repository}"
    if wide := list(too_wide(found)):
        raise Missing(f"the identity provider {'; '.join(wide)}", setup)
    account = resources.account(config, resources.workflows_account(config))
    try:
        policy = read_policy(context.rest, account)
    except NoAnswer as refused:
        if refused.status == 404:
            raise Missing(f"{account.short} does not exist", setup) from None
        fix = grant("projects", config.project, context.member, "roles/iam.securityReviewer")
        raise unreadable(context, refused, fix) from None
    members = [
        member
        for binding in policy.get("bindings", [])
        for member in binding["members"]
        if binding["role"] == FEDERATED
    ]
    if wide := [member for member in members if not resources.signs_in(member)]:
        remove = f"gcloud iam service-accounts remove-iam-policy-binding {account.short} --role={FEDERATED} --member="
        problem = f"{account.short} may be used by {', '.join(wide)}, which no workflow needs"
        raise Missing(problem, *(f"{remove}{member}" for member in wide))
    absent = [name for name in resources.ENVIRONMENTS if not any(member.endswith(f"/{name}") for member in members)]
    if members and absent:
        raise Missing(f"jobs of the environments {', '.join(absent)} may not use {account.short}", setup)
    if not members:
        raise Missing(f"no workflow may use {account.short}", setup)
    return f"accepts {found['attributeCondition']}"


def too_wide(provider: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is wrong with a provider of GitHub's tokens."""
    condition = provider.get("attributeCondition", "")
    if provider.get("state") == "DELETED" or provider.get("disabled"):
        yield "is deleted or disabled"
    if "||" in condition or "!" in condition:
        yield f"has a condition with alternatives, which is not checked further: {condition}"
        return
    for part, others in PARTS.items():
        if not re.search(rf"\bassertion\.{part} *== *['\"][^'\"]+['\"]", condition):
            yield f"accepts {others}: its condition has no assertion.{part}"
    if provider.get("attributeMapping", {}).get("google.subject") == "assertion.sub":
        yield "takes assertion.sub for google.subject, which may be longer than the 127 bytes allowed"
