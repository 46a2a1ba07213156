"""Creates on Google Cloud what the pipelines and workflows need."""

import dataclasses
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import BinaryIO

import click

from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.setup import apply, resources, workflows
from pipeline.setup.apply import CHANGE, CREATE, NEVER, THERE, Step

GROUP = "Google Cloud"
ACTIONS = {CREATE: "create", CHANGE: "change", NEVER: "never", THERE: "none"}


@command
@click.option("--dry-run", is_flag=True, help="Show what would be created (+) and changed (~), and change nothing.")
@click.option("--repository", metavar="OWNER/NAME", help="Repository on GitHub whose workflows are to sign in.")
@click.option(
    "--member", "members", multiple=True, metavar="user:EMAIL", help="Who may do what workflows do. Repeatable."
)
@click.option(
    "--release-token", type=click.File("rb"), help="File with the token that publishes releases, - for stdin."
)
@click.option("--public", is_flag=True, help="Let everybody read the bucket of DEVICE_CHANNEL.")
@click.option("--origin", "origins", multiple=True, metavar="URL", help="Page that reads that bucket. Repeatable.")
def setup(
    config: Config,
    dry_run: bool,
    repository: str | None,
    members: tuple[str, ...],
    release_token: BinaryIO | None,
    public: bool,
    origins: tuple[str, ...],
) -> Outcome:
    """Creates on Google Cloud what is missing: APIs, bucket, image repository, accounts, roles; deletes nothing.

    Only the right to sign in as the workflows' account is taken from jobs that no longer need it.

    Needs GCP_PROJECT, GCP_REGION, WORKSPACE=gs://BUCKET/spanloop and an owner of the project. With DATAFLOW_WORKERS,
    DEVICE_CHANNEL, DEVICE_SIGNING_KEY (in Cloud KMS) and RELEASE_TOKEN_SECRET also what these need. Repeating it, also
    after it was stopped, does the rest.
    """
    from pipeline.cloud.rest import default_rest

    config.require("project", "region", "workspace")
    config = resources.with_defaults(config, for_workflows=repository is not None)
    resources.check(config, public)
    rest = default_rest()
    number = apply.project_number(rest, config)
    on_github = workflows.read(repository, config.github_token) if repository else None
    table = resources.table(config, number, on_github, members, origins, public)
    if dry_run:
        steps = apply.plan(rest, config, table)
    else:
        steps = apply.apply(rest, config, table, log)
        if release_token and config.release_token_secret:
            apply.add_version(rest, resources.secret(config.release_token_secret), release_token.read().strip())
    lacks_token = bool(config.release_token_secret) and not apply.has_version(
        rest, resources.secret(config.release_token_secret)
    )
    exports = settings(config)
    variables = workflows.variables(config, number) if repository else {}
    lines = [
        *plan_lines(steps, not dry_run),
        *([] if dry_run else next_lines(exports, variables, repository or "", lacks_token)),
    ]
    return Outcome(
        "\n".join(lines),
        exit_code=1 if any(step.sign == NEVER for step in steps) else 0,
        dry_run=dry_run,
        steps=[{"action": ACTIONS[step.sign], "what": step.what, "details": list(step.details)} for step in steps],
        settings=exports,
        variables=variables,
        release_token_missing=lacks_token,
    )


def plan_lines(steps: list[Step], done: bool) -> list[str]:
    """Returns the numbers of a plan; before it was carried out also a line for each difference."""
    lines = []
    for step in steps if not done else []:
        if step.sign != THERE:
            lines += [f"{step.sign} {step.what}", *(f"    {detail}" for detail in step.details)]
    count = Counter(step.sign for step in steps)
    create, change = ("created", "changed") if done else ("to create", "to change")
    never = f", {count[NEVER]} that cannot be changed" if count[NEVER] else ""
    total = f"{count[CREATE]} {create}, {count[CHANGE]} {change}, {count[THERE]} there already{never}."
    return [*lines, f"{total} Nothing is deleted."]


def next_lines(exports: Mapping[str, str], variables: Mapping[str, str], repository: str, no_token: bool) -> list[str]:
    """Returns the commands that come next."""
    lines = ["Set in your shell:", *(f"  export {name}={shlex.quote(value)}" for name, value in exports.items())]
    if variables:
        lines.append("Set in the repository:")
        lines += [
            f"  gh variable set {name} --repo {repository} --body {shlex.quote(value)}"
            for name, value in variables.items()
        ]
        lines.append("Environments of its jobs, to protect where one needs an approval:")
        lines += [f"  gh api --method PUT repos/{repository}/environments/{name}" for name in resources.ENVIRONMENTS]
    if no_token:
        lines += [
            "The secret with the token that publishes releases is empty. Make a fine-grained token for the repository,",
            "Contents: read and write, and repeat the command with --release-token - to type it in.",
        ]
    return [*lines, "Check: python -m ci doctor"]


def settings(config: Config) -> dict[str, str]:
    """Returns the settings of a shell in which the other commands find what was created."""
    fields = {field.name: field.metadata["variable"] for field in dataclasses.fields(Config)}
    return {fields[name]: getattr(config, name) for name in SETTINGS if getattr(config, name)}


SETTINGS = (
    "project",
    "region",
    "workspace",
    "image_repository",
    "service_account",
    "build_service_account",
    "release_token_secret",
    "device_channel",
    "device_signing_key",
)
