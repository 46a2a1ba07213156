"""A check of the doctor: its context, and the outcomes it raises."""

import dataclasses
from collections.abc import Callable

from pipeline.cloud.rest import Rest
from pipeline.config import Config
from pipeline.setup.resources import Grant, default_names


class Missing(Exception):
    """A resource is missing or misconfigured; `fix` are the commands that correct it, a line each."""

    def __init__(self, problem: str, *fix: str):
        super().__init__(problem)
        self.fix = "\n".join(fix)


class Unknown(Missing):
    """The state of a resource cannot be read; `fix` are the commands that make it readable."""


@dataclasses.dataclass(frozen=True)
class Context:
    """The configuration that is checked, and the caller's identity."""

    config: Config
    rest: Rest
    caller: str  # email of the caller, "" where the credentials have none

    @property
    def member(self) -> str:
        """Returns the caller as IAM policies name it."""
        kind = "serviceAccount" if self.caller.endswith("gserviceaccount.com") else "user"
        return f"{kind}:{self.caller or 'YOUR-EMAIL'}"

    @property
    def bucket(self) -> str:
        """Returns the name of the workspace's bucket."""
        self.needs("workspace")
        return self.config.workspace.removeprefix("gs://").partition("/")[0]

    def needs(self, *fields: str) -> None:
        """Raises Unknown unless all these settings are set."""
        if absent := unset(self.config, fields):
            raise Unknown(f"{', '.join(map(variable, absent))}: not set", *exports(self.config, absent))


def unset(config: Config, fields: tuple[str, ...]) -> list[str]:
    """Returns the fields that are not set; the workspace counts only when it is a bucket."""
    return [name for name in fields if not (config.in_cloud if name == "workspace" else getattr(config, name))]


def exports(config: Config, fields: list[str]) -> list[str]:
    """Returns a command for each field that sets it: to the name that `setup` gives, or to an example."""
    project, region = config.project or "MY-PROJECT", config.region or "europe-west1"
    examples = {
        "GCP_PROJECT": project,
        "GCP_REGION": region,
        "WORKSPACE": f"gs://{project}-images/spanloop",
        **default_names(project, region),
    }
    return [f"export {variable(name)}={examples[variable(name)]}" for name in fields]


def variable(field: str) -> str:
    """Returns the environment variable of a setting."""
    (found,) = (each for each in dataclasses.fields(Config) if each.name == field)
    return found.metadata["variable"]


def grant(kind: str, resource: str, member: str, role: str) -> str:
    """Returns the command that grants a role, such as grant("storage buckets", "gs://b", "user:a@b.c", "roles/...")."""
    return f"gcloud {kind} add-iam-policy-binding {resource} --member={member} --role={role}"


def grant_command(wanted: Grant) -> str:
    """Returns the command that grants a role of the table."""
    return grant(wanted.on.kind.gcloud, wanted.on.gcloud, wanted.member, wanted.role)


CheckFunction = Callable[[Context], str]  # returns the state in words; raises Missing or Unknown
