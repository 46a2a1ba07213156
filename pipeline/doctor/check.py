"""What one check of the doctor is: what it may ask with, and what it can find."""

import dataclasses
from collections.abc import Callable

from pipeline.config import Config
from pipeline.doctor.rest import Rest

EXAMPLES = {
    "workspace": "gs://MY-BUCKET/spanloop",
    "project": "MY-PROJECT",
    "region": "europe-west4",
    "image_repository": "europe-west4-docker.pkg.dev/MY-PROJECT/spanloop/pipelines",
    "service_account": "pipelines@MY-PROJECT.iam.gserviceaccount.com",
    "build_service_account": "builds@MY-PROJECT.iam.gserviceaccount.com",
}


class Missing(Exception):
    """Something is not there, or not as it has to be; `mend` are the commands that make it so, a line each."""

    def __init__(self, problem: str, *mend: str):
        super().__init__(problem)
        self.mend = "\n".join(mend)


class Unknown(Missing):
    """It cannot be found out; `mend` are the commands after which it can."""


@dataclasses.dataclass(frozen=True)
class Asking:
    """Whose configuration it is, and who asks with what."""

    config: Config
    rest: Rest
    who: str  # email, "" where the credentials do not tell

    @property
    def member(self) -> str:
        """Returns who asks as policies name them."""
        kind = "serviceAccount" if self.who.endswith("gserviceaccount.com") else "user"
        return f"{kind}:{self.who or 'YOUR-EMAIL'}"

    @property
    def bucket(self) -> str:
        """Returns the name of the workspace's bucket."""
        self.needs("workspace")
        return self.config.workspace.removeprefix("gs://").partition("/")[0]

    def needs(self, *fields: str) -> None:
        """Raises Unknown when one of the settings is not there."""
        if absent := unset(self.config, fields):
            raise Unknown(f"{', '.join(map(variable, absent))}: not set", *exports(absent))


def unset(config: Config, fields: tuple[str, ...]) -> list[str]:
    """Returns those of the fields that are not set; a workspace has to be a bucket."""
    return [name for name in fields if not (config.in_cloud if name == "workspace" else getattr(config, name))]


def exports(fields: list[str]) -> list[str]:
    """Returns commands that set what is not set."""
    return [f"export {variable(name)}={EXAMPLES[name]}" for name in fields]


def variable(field: str) -> str:
    """Returns the environment variable of a setting."""
    (found,) = (each for each in dataclasses.fields(Config) if each.name == field)
    return found.metadata["variable"]


def grant(kind: str, resource: str, member: str, role: str) -> str:
    """Returns the command that grants a role, such as grant("storage buckets", "gs://b", "user:a@b.c", "roles/...")."""
    return f"gcloud {kind} add-iam-policy-binding {resource} --member={member} --role={role}"


Look = Callable[[Asking], str]  # returns what was found; raises Missing or Unknown
