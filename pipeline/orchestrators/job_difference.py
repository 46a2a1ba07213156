"""Differences between two runs on Vertex AI, for people. A job is the JSON of a PipelineJob."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.orchestrators.spec_lint import containers

Job = Mapping[str, Any]
SHOWN = 60  # characters of a long value
READABLE = 40  # characters of a value that people read


def differences(before: Job, after: Job) -> list[str]:
    """Returns a line for each difference: image, compiled pipeline, parameters, nodes."""
    return [*_pipelines(before, after), *_parameters(before, after), *_nodes(before, after)]


def in_short(before: Job, after: Job) -> list[str]:
    """Returns the same without digests and JSON: of parameters with such values only the names."""
    lines, named = [], []
    for line in differences(before, after):
        kind, _, change = line.partition(": ")
        words = change.split(" -> ")
        if kind in ("image", "compiled pipeline"):
            lines.append(f"another {kind}")
        elif kind.startswith("parameter ") and not all(map(_is_readable, words)):
            named.append(kind.removeprefix("parameter "))
        else:
            lines.append(line)
    return [*lines, f"other values of {', '.join(named)}"] if named else lines


def _is_readable(value: str) -> bool:
    """False for JSON objects, digests and addresses."""
    return len(value) <= READABLE and not re.search(r"[{]|[0-9a-f]{16}|://", value)


def _pipelines(before: Job, after: Job) -> Iterator[str]:
    old, new = (", ".join(sorted({c["image"] for _, c in containers(job["pipelineSpec"])})) for job in (before, after))
    if old != new:
        yield f"image: {old} -> {new}"
    old, new = (job.get("labels", {}).get("compiled", "unknown") for job in (before, after))
    if old != new:
        yield f"compiled pipeline: {old} -> {new}"


def _parameters(before: Job, after: Job) -> Iterator[str]:
    old, new = (job.get("runtimeConfig", {}).get("parameterValues", {}) for job in (before, after))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            was, now = str(old.get(name, "(none)")), str(new.get(name, "(none)"))
            yield f"parameter {name}: {_around(was, now)} -> {_around(now, was)}"


def _nodes(before: Job, after: Job) -> Iterator[str]:
    old, new = (_described(job["pipelineSpec"]) for job in (before, after))
    for name in sorted({*old, *new}):
        if name not in old:
            yield f"node {name}: new"
        elif name not in new:
            yield f"node {name}: gone"
        else:
            changed = [part for part in new[name] if old[name][part] != new[name][part]]
            if changed:
                yield f"node {name}: another {' and '.join(changed)}"


def _described(spec: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the definition of each node without its image."""
    running = dict(containers(spec))
    found = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        found[name] = {
            "wiring": {part: task[part] for part in ("inputs", "dependentTasks", "triggerPolicy") if part in task},
            "caching": task.get("cachingOptions", {}),
            "interface": spec["components"][task["componentRef"]["name"]],
            "command": {part: value for part, value in running.get(name, {}).items() if part != "image"},
        }
    return found


def _around(value: str, other: str) -> str:
    """Returns a value; of a long one the part where it begins to differ from the other."""
    if len(value) <= SHOWN:
        return value
    same = next((at for at, pair in enumerate(zip(value, other, strict=False)) if pair[0] != pair[1]), len(other))
    start = max(0, min(same - SHOWN // 3, len(value) - SHOWN))
    end = start + SHOWN
    return f"{'...' * (start > 0)}{value[start:end]}{'...' * (end < len(value))}"
