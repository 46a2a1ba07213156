"""Vertex ML Metadata: artifacts of runs, and cached outputs of tasks."""

import copy
import re
import threading
from typing import Any

import yaml

from tests.emulators.vertex.names import invalid

Artifact = dict[str, Any]  # as ExecutorInput has it: name, uri, type, metadata
Outputs = dict[str, list[Artifact]]


def title(schema: dict[str, Any]) -> str:
    """The title of an artifact type's schema."""
    if "schemaTitle" in schema:
        return schema["schemaTitle"]
    return yaml.safe_load(schema.get("instanceSchema") or "{}").get("title", "system.Artifact")


class Store:
    """Artifacts, oldest first, and cached outputs by fingerprint of the task."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.artifacts: list[Artifact] = []
        self._cache: dict[str, tuple[Outputs, dict[str, Any]]] = {}
        self._executions: dict[str, str] = {}  # fingerprints, by name
        self._number = 0

    def name(self, parent: str) -> str:
        """The name of a new artifact."""
        with self._lock:
            self._number += 1
            return f"{parent}/metadataStores/default/artifacts/{self._number}"

    def put(self, artifact: Artifact) -> None:
        with self._lock:
            self.artifacts = [one for one in self.artifacts if one["name"] != artifact["name"]]
            self.artifacts.append(artifact | {"state": "LIVE"})

    def imported(self, uri: str, type_: dict[str, Any]) -> Artifact | None:
        """The newest artifact of a type at an address."""
        found = [one for one in self.artifacts if one["uri"] == uri and one["type"] == type_]
        return found[-1] if found else None

    def query(self, filter: str) -> list[Artifact]:
        """The newest artifact that matches a filter (terms joined by AND), in a list; empty if none."""
        found = self.artifacts
        for term in re.split(r"\s+AND\s+", filter):
            match = re.fullmatch(r'\s*([\w.]+)\s*=\s*"?(.*?)"?\s*', term)
            if not match:
                raise invalid(f"Invalid filter of a resolver: {term!r}")
            key, wanted = match.groups()
            found = [
                one for one in found if str(_field(one, key)) == (str(float(wanted)) if "number_" in key else wanted)
            ]
        return found[-1:]

    def cached(self, fingerprint: str) -> tuple[Outputs, dict[str, Any]] | None:
        """Artifacts and parameters of an equal task that has succeeded, if its execution is known; else None.

        Whether the artifacts' files are still there does not count:
        https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching
        """
        with self._lock:
            return copy.deepcopy(self._cache.get(fingerprint))

    def keep(self, fingerprint: str, artifacts: Outputs, parameters: dict[str, Any], execution: str) -> None:
        """Keeps what an execution has made, or taken from the cache."""
        with self._lock:
            self._cache[fingerprint] = copy.deepcopy((artifacts, parameters))
            self._executions[execution] = fingerprint

    def delete_execution(self, name: str) -> bool:
        """Forgets an execution, with the last one also what they cached; False where there is none of this name."""
        with self._lock:
            if name not in self._executions:
                return False
            fingerprint = self._executions.pop(name)
            if fingerprint not in self._executions.values():
                self._cache.pop(fingerprint, None)
            return True


def _field(artifact: Artifact, key: str) -> Any:
    if key == "schema_title":
        return title(artifact["type"])
    if key in ("name", "state", "uri"):
        return artifact[key]
    match = re.fullmatch(r"metadata\.(\w+)\.(number|string|bool)_value", key)
    if not match:
        raise invalid(f"Invalid filter of a resolver: {key!r}")
    value = artifact.get("metadata", {}).get(match[1])
    return float(value) if match[2] == "number" and value is not None else value
