"""Parsed workflows of a clone: jobs, permissions, environments and triggers."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml


class Loader(yaml.SafeLoader):
    """YAML as GitHub reads it: `on` is a string."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


class Job(NamedTuple):
    """A job of a workflow, or of a workflow that it calls."""

    name: str  # display name
    says: dict[str, Any]
    caller: str  # display name of the calling job, "" for a job of the workflow itself


class Definition:
    """The workflow in a file such as cd.yml."""

    def __init__(self, folder: pathlib.Path, file: str):
        self._folder, self.file = folder, file
        self.says: dict[str, Any] = yaml.load((folder / file).read_text(encoding="utf-8"), Loader)
        self.name: str = self.says.get("name", f".github/workflows/{file}")

    def jobs(self) -> Iterator[Job]:
        """Yields the workflow's jobs; a call is replaced by the jobs of the called workflow."""
        for key, says in self.says["jobs"].items():
            name = says.get("name", key)
            if "uses" in says:
                called = Definition(self._folder, pathlib.PurePath(says["uses"]).name)
                yield from (Job(job.name, job.says, name) for job in called.jobs())
            else:
                yield Job(name, says, "")

    def triggers(self) -> dict[str, Any]:
        """The events that start the workflow, with their filters."""
        on = self.says["on"]
        if isinstance(on, dict):
            return {event: about or {} for event, about in on.items()}
        return dict.fromkeys([on] if isinstance(on, str) else on, {})

    def permissions(self) -> dict[str, str]:
        """The union of its jobs' permissions, because `act` has one token for all jobs."""
        found: dict[str, str] = {}
        for job in self.jobs():
            for scope, level in job.says.get("permissions", self.says.get("permissions", {})).items():
                found[scope] = max(found.get(scope, ""), level)  # "write" is more than "read"
        return found

    def environments(self) -> dict[str, str]:
        """The environment of each job that names one, by the caller's name and the job's own: "modules only/deploy"."""
        return {
            f"{job.caller}/{job.name}".lstrip("/"): job.says["environment"]
            for job in self.jobs()
            if "environment" in job.says
        }

    def inputs(self) -> set[str] | None:
        """Names of the inputs of `workflow_dispatch`; None when it has no such trigger."""
        triggers = self.triggers()
        if "workflow_dispatch" not in triggers:
            return None
        return set(triggers["workflow_dispatch"].get("inputs", {}))


def read(clone: pathlib.Path) -> dict[str, Definition]:
    """Reads the workflows of a clone, by file name."""
    folder = clone / ".github/workflows"
    return {path.name: Definition(folder, path.name) for path in sorted(folder.glob("*.yml"))}
