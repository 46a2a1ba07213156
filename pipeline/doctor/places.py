"""Checks of the bucket, its objects, the image repository and the image."""

import os

from pipeline.cloud.rest import NoAnswer
from pipeline.doctor.access import unreadable
from pipeline.doctor.check import Context, Missing, exports, grant
from pipeline.errors import ConfigError, SpanloopError
from pipeline.packaging import image as pipelines_image
from pipeline.setup import resources
from pipeline.storage.factory import open_storage

FIELDS = ("location", "locationType", "iamConfiguration", "retentionPolicy", "defaultEventBasedHold", "versioning")
OBJECTS = ("create", "delete", "get", "list")


def bucket(context: Context) -> str:
    """Checks that the bucket exists, in the region, with uniform bucket-level access."""
    name, region = context.bucket, context.config.region
    context.needs("project", "region")
    create = (
        f"gcloud storage buckets create gs://{name} --project={context.config.project} --location={region}"
        " --uniform-bucket-level-access --public-access-prevention"
    )
    try:
        wanted = resources.bucket(context.config, context.config.workspace)
        found = context.rest.get(wanted.url, fields=",".join(FIELDS))
    except NoAnswer as refused:
        if refused.status == 404:
            raise Missing(f"gs://{name} does not exist", create) from None
        if refused.disabled:
            raise unreadable(context, refused) from None
        see = grant("storage buckets", f"gs://{name}", context.member, "roles/storage.legacyBucketReader")
        raise Missing(f"gs://{name} cannot be read: {refused}", see) from None
    place = found["location"].lower()
    # a multi-region such as "eu" contains regions such as "europe-west1"
    if place != region and not (found.get("locationType") == "multi-region" and region.startswith(place)):
        raise Missing(
            f"gs://{name} lies in {place}, not in {region}, and cannot be moved: create another one there",
            create.replace(name, "ANOTHER-NAME", 1),
        )
    if not found.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled"):
        raise Missing(
            f"gs://{name} has access lists on single objects",
            f"gcloud storage buckets update gs://{name} --uniform-bucket-level-access",
        )
    keeping = {"--clear-retention-period": "retentionPolicy", "--no-default-event-based-hold": "defaultEventBasedHold"}
    if kept := {option: rule for option, rule in keeping.items() if found.get(rule)}:
        raise Missing(
            f"gs://{name} keeps objects ({', '.join(kept.values())}), but collected images move and files are replaced",
            *(f"gcloud storage buckets update gs://{name} {option}" for option in kept),
        )
    versions = ", with object versioning: what is erased stays as an earlier version"
    return f"gs://{name} in {place}{versions if found.get('versioning', {}).get('enabled') else ''}"


def objects(context: Context) -> str:
    """Writes, reads, lists and deletes an object of the workspace with the code that pipelines use."""
    name = context.bucket
    fix = grant("storage buckets", f"gs://{name}", context.member, "roles/storage.objectUser")
    wanted = [f"storage.objects.{verb}" for verb in OBJECTS]
    try:
        url = f"{resources.bucket(context.config, context.config.workspace).url}/iam/testPermissions"
        held = context.rest.get(url, permissions=wanted).get("permissions", [])
    except NoAnswer as refused:
        raise unreadable(context, refused, fix) from None
    if absent := [permission for permission in wanted if permission not in held]:
        raise Missing(f"{context.caller or 'you'} may not {', '.join(absent)} in gs://{name}", fix)
    storage, probe = open_storage(context.config.workspace), f"doctor/{os.urandom(8).hex()}"
    try:
        first = storage.write(probe, b"It may be deleted.", create_only=True)
        second = storage.write(probe, b"It may be deleted.", create_only=True)
        listed = [entry.name for entry in storage.list("doctor")]
        there = storage.read(probe)
        storage.delete(probe)
    except SpanloopError as error:
        raise Missing(str(error), fix) from None
    if not first or second or probe not in listed or there != b"It may be deleted." or storage.exists(probe):
        raise Missing(f"gs://{name} does not honour preconditions", "python -m ci doctor --debug")
    return f"written, listed, read and deleted in {context.config.workspace}"


def repository(context: Context) -> str:
    """Checks that the image repository exists and holds Docker images."""
    context.needs("project", "image_repository")
    wanted = _images(context)
    name, place = wanted.short, wanted.name.split("/")[3]
    try:
        found = context.rest.get(wanted.url)
    except NoAnswer as refused:
        if refused.status == 404:
            create = f"gcloud artifacts repositories create {wanted.gcloud} --repository-format=docker"
            raise Missing(f"the repository {name} does not exist", create) from None
        fix = grant("artifacts repositories", wanted.gcloud, context.member, "roles/artifactregistry.reader")
        raise unreadable(context, refused, fix) from None
    if found.get("format") != "DOCKER":
        raise Missing(
            f"the repository {name} is for {found.get('format')}, not for images",
            f"gcloud artifacts repositories create {name}-images --location={place} --repository-format=docker",
        )
    return f"{name} in {place}"


def image(context: Context) -> str:
    """Checks that the pipelines' image exists: the one of PIPELINE_IMAGE, or that of this code once it was built."""
    context.needs("workspace", "project", "image_repository")
    wanted, repository = context.config.image, _images(context)
    if not wanted:
        built = pipelines_image.of_this_code(context.config)
        if not built:
            return "none of this code yet: `python -m ci build-image` builds it before the first run"
        wanted = built.image
    path, _, digest = wanted.partition("@")
    try:
        context.rest.get(f"{repository.url}/dockerImages/{'%2F'.join(path.split('/')[3:])}@{digest}")
    except NoAnswer as refused:
        if refused.status == 404:
            raise Missing(f"{wanted} does not exist", "python -m ci build-image") from None
        raise unreadable(context, refused) from None
    if not pipelines_image.record(open_storage(context.config.workspace), wanted):
        raise Missing(f"{context.config.workspace} has no record of {wanted}", "python -m ci build-image")
    return wanted


def _images(context: Context) -> resources.Resource:
    """Returns the image repository; raises Missing outside Artifact Registry."""
    try:
        return resources.images(context.config)
    except ConfigError:
        shown = f"{context.config.image_repository} is not on Artifact Registry"
        raise Missing(shown, *exports(context.config, ["image_repository"])) from None
