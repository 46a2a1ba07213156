"""Images in Artifact Registry that nothing needs any more."""

import contextlib
import datetime
import urllib.parse
from collections.abc import Collection, Iterator
from typing import Any

from pipeline.cleaning.item import Item, Search
from pipeline.cloud.rest import NoAnswer, Rest
from pipeline.cloud.vertex import label_value
from pipeline.errors import BrokenBuildFile, CloudRefused, NotARepository
from pipeline.packaging import image
from pipeline.setup import resources


def images(search: Search, rest: Rest, running: Collection[str], serving: Collection[str]) -> Iterator[Item]:
    """Yields images that this workspace built and that no release, no recent run, no served model and no code has.

    `running` are the labels of runs that name an image, `serving` the images of models in the Model Registry. The
    newest image is kept. Raises CloudRefused.
    """
    config, place = search.config, resources.images(search.config)
    needed = {config.image, *serving, *(release.image for release in search.releases)}
    with contextlib.suppress(NotARepository, BrokenBuildFile):
        needed.add(getattr(image.of_this_code(config), "image", ""))
    listed = [found for found in _listed(rest, place.url) if found["uri"].startswith(f"{config.image_repository}@")]
    newest = max((found["uploadTime"] for found in listed), default="")
    for found in listed:
        name, digest = found["uri"], found["uri"].rpartition("@sha256:")[2]
        if name in needed or label_value(digest) in running or found["uploadTime"] == newest:
            continue
        moment = datetime.datetime.fromisoformat(found["uploadTime"].replace("Z", "+00:00")).timestamp()
        record = image.record(search.storage, name)
        if record and search.is_old(moment):
            yield Item(
                "image",
                name,
                search.age(moment),
                int(found.get("imageSizeBytes", 0)),
                "no release, no recent run and no served model has it",
                lambda record=record: _remove(search, rest, place.url, record),
            )


def _listed(rest: Rest, repository: str) -> Iterator[dict[str, Any]]:
    """https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.dockerImages"""
    page: dict[str, str] = {}
    while True:
        try:
            answer = rest.get(f"{repository}/dockerImages", pageSize="1000", **page)
        except NoAnswer as refused:
            raise CloudRefused("Listing images", str(refused)) from refused
        yield from answer.get("dockerImages", ())
        if not answer.get("nextPageToken"):
            return
        page = {"pageToken": answer["nextPageToken"]}


def _remove(search: Search, rest: Rest, repository: str, record: image.Record) -> None:
    """Deletes an image with its tags, its source and what is known of it.

    First what says that the image of some code exists, last what says that this workspace built the image: after a
    kill the next call finds it again. https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.packages.versions/delete
    """
    path, _, digest = record.image.partition("@")
    package = urllib.parse.quote("/".join(path.split("/")[3:]), safe="")
    image.forget_content(search.storage, record)
    try:
        deleting = rest.delete(f"{repository}/packages/{package}/versions/{digest}", force="true")
        rest.wait(resources.ARTIFACT_REGISTRY, deleting)
    except NoAnswer as refused:
        if refused.status != 404:
            owner = ". It takes roles/artifactregistry.repoAdmin on the repository" if refused.status == 403 else ""
            raise CloudRefused(f"Deleting {record.image}", f"{refused}{owner}") from refused
    image.forget(search.storage, record)
