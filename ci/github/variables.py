"""Settings from a repository's variables, and settings derived from them."""

import dataclasses
import json
from collections.abc import Mapping

from pipeline.config import Config
from pipeline.errors import TaskInVariable, UsageError
from pipeline.setup.resources import default_names

TOKEN = "RELEASE_TOKEN_SECRET"
# Variables that cannot be derived; docs/github.md, "Set up a fork", sets them.
NEEDED = {
    "GCP_PROJECT": "Google Cloud project that runs everything",
    "GCP_REGION": "region of Vertex AI and Cloud Build",
    "WORKSPACE": "gs://bucket/prefix of all images, spans and reports",
    "WORKLOAD_IDENTITY_PROVIDER": "how Google Cloud knows this repository",
    TOKEN: "resource name of the token by which pipelines publish on GitHub",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Environment variables of a job, and the missing variables that Google Cloud needs."""

    environment: Mapping[str, str]
    missing: tuple[str, ...]

    @property
    def configured(self) -> bool:
        return not self.missing


def read(text: str) -> dict[str, str]:
    """Parses the value of `${{ toJSON(vars) }}`. Raises UsageError."""
    try:
        variables = json.loads(text or "{}")
        return {str(name): str(value) for name, value in variables.items()}
    except (ValueError, AttributeError):
        raise UsageError("VARIABLES is not what `${{ toJSON(vars) }}` gives: set it so in the workflow.") from None


def settings(variables: Mapping[str, str], repository: str) -> Settings:
    """Chooses the settings among a repository's variables; others get the names of docs/google-cloud.md.

    Only settings pass: no variable of a repository can change PATH and the like. Raises ConfigError for a value that
    cannot be used, MisspelledSetting for a name, TaskInVariable for MODULES.
    """
    if variables.get("MODULES"):
        raise TaskInVariable(variables["MODULES"], repository)
    ours = {
        field.metadata["variable"]: variables[field.metadata["variable"]]
        for field in dataclasses.fields(Config)
        if not field.metadata["secret"] and variables.get(field.metadata["variable"])
    }
    in_bucket = variables.get("RELEASES", "").startswith("gs://")  # where pipelines publish as their own account
    needed = [name for name in NEEDED if name != TOKEN or not in_bucket]
    missing = tuple(name for name in needed if not variables.get(name))
    if not missing:
        names = default_names(ours["GCP_PROJECT"], ours["GCP_REGION"])
        if in_bucket:
            del names[TOKEN]
        ours = names | {"RELEASES": f"github:{repository}"} | ours
    Config.from_environment(variables | ours)
    return Settings(ours, missing)
