"""Finds everything that nothing needs any more, and deletes it."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from pipeline.cleaning import devices, here, images, vertex, workspace
from pipeline.cleaning.item import Item, Search
from pipeline.cloud.rest import NoAnswer, Rest, default_rest
from pipeline.errors import SpanloopError
from pipeline.releases.factory import GITHUB
from pipeline.setup import resources


@dataclasses.dataclass(frozen=True)
class Plan:
    """What may be deleted, in the order in which it is, and what was not looked at, or stays, and why."""

    items: tuple[Item, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Failure:
    """Something that could not be deleted; the reason names the next step."""

    item: Item
    reason: str


def find(search: Search) -> Plan:
    """Looks everywhere and changes nothing.

    Raises MissingSettings for a bucket without GCP_PROJECT and GCP_REGION, ForeignReleases, CloudRefused and
    StorageError.
    """
    notes: list[str] = []
    config = search.config
    items = [*here.results(search), *here.logs(search), *workspace.old_reports(search)]
    if config.in_cloud:
        config.require("workspace", "project", "region")
        items += _in_cloud(search, notes)
    if not config.device_channel:
        return Plan(tuple(items), tuple(notes))
    if config.device_channel.startswith(GITHUB):
        notes.append(f"Models for devices on GitHub stay: delete releases of {config.device_channel} there.")
    elif not config.device_signing_key:
        notes.append("Models for devices were not looked at: DEVICE_SIGNING_KEY is not set.")
    else:
        items += devices.versions(search)
    return Plan(tuple(items), tuple(notes))


def _in_cloud(search: Search, notes: list[str]) -> Iterator[Item]:
    """Yields what lies in the workspace's bucket and on Vertex AI; of models first those that cost most."""
    search.log("Looking at runs, models and predictions on Vertex AI ...")
    rest = default_rest()
    notes += _rules(search, rest)
    runs, versions = vertex.runs(search), vertex.registered(search)
    old = vertex.unneeded(search, versions)
    kept = [each.version for each in versions if each not in old]
    yield from vertex.deployments(search, versions)
    yield from vertex.versions_of(search, old, versions)
    yield from workspace.copies(search, {version.artifact_uri for version in kept})
    yield from vertex.predictions(search)
    yield from vertex.results(search, runs)
    yield from vertex.checkpoints(search, runs)
    yield from workspace.modules(search, runs.labels("modules"))
    yield from workspace.compiled(search, runs.labels("compiled"))
    if search.config.image_repository:
        search.log("Looking at images ...")
        served = {version.container_spec.image_uri for version in kept}
        yield from images.images(search, rest, runs.labels("image"), served)
    else:
        notes.append("Images were not looked at: IMAGE_REPOSITORY is not set.")


def _rules(search: Search, rest: Rest) -> Iterator[str]:
    """Yields what rules of the bucket mean for what is deleted: docs/operations.md, "Rules of the bucket"."""
    wanted = resources.bucket(search.config, search.config.workspace)
    try:
        found = rest.get(wanted.url, fields="versioning,softDeletePolicy,retentionPolicy")
    except NoAnswer:
        return  # who may not read the bucket's settings may still delete objects
    if found.get("versioning", {}).get("enabled"):
        yield f"{wanted.short} has object versioning: what is deleted stays as an earlier version, and is paid for."
    if seconds := int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)):
        yield f"{wanted.short} keeps what is deleted for another {seconds / 86400:g} days: its soft delete policy."
    if found.get("retentionPolicy"):
        yield f"{wanted.short} has a retention policy: what is younger than it demands cannot be deleted."


def remove(items: Iterable[Item], done: Callable[[Item], None]) -> list[Failure]:
    """Deletes one after the other, calls `done` with each, and returns those that could not be deleted.

    Killed in between, the same call does the rest.
    """
    failures = []
    for item in items:
        try:
            item.remove()
        except SpanloopError as error:
            failures.append(Failure(item, str(error)))
        else:
            done(item)
    return failures
