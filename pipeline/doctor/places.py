"""Checks of the bucket, its objects, the image repository and the image."""

import os

from pipeline.cloud.rest import NoAnswer
from pipeline.doctor.access import ARTIFACT_REGISTRY, STORAGE, enable, repository_of
from pipeline.doctor.check import Context, Missing, Unknown, grant
from pipeline.errors import SpanloopError
from pipeline.packaging import image as pipelines_image
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
        found = context.rest.get(f"{STORAGE}/{name}", fields=",".join(FIELDS))
    except NoAnswer as refused:
        if refused.status == 404:
            raise Missing(f"gs://{name} does not exist", create) from None
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
        held = context.rest.get(f"{STORAGE}/{name}/iam/testPermissions", permissions=wanted).get("permissions", [])
    except NoAnswer as refused:
        raise Unknown(f"gs://{name}: {refused}", fix) from None
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
    place, project, name = repository_of(context.config)
    try:
        found = context.rest.get(f"{ARTIFACT_REGISTRY}/projects/{project}/locations/{place}/repositories/{name}")
    except NoAnswer as refused:
        where = f"{name} --location={place} --project={project}"
        if refused.disabled:
            raise Unknown(str(refused), enable(context.config, [refused.disabled])) from None
        if refused.status == 404:
            create = f"gcloud artifacts repositories create {where} --repository-format=docker"
            raise Missing(f"the repository {name} does not exist", create) from None
        fix = grant("artifacts repositories", where, context.member, "roles/artifactregistry.reader")
        raise Unknown(str(refused), fix) from None
    if found.get("format") != "DOCKER":
        raise Missing(
            f"the repository {name} is for {found.get('format')}, not for images",
            f"gcloud artifacts repositories create {name}-images --location={place} --repository-format=docker",
        )
    return f"{name} in {place}"


def image(context: Context) -> str:
    """Checks that the pipelines' image exists and that the workspace has its record."""
    context.needs("workspace", "project", "image_repository")
    if not context.config.image:
        raise Missing("PIPELINE_IMAGE is not set", "export $(python -m ci build-image | tail -n 1)")
    place, project, name = repository_of(context.config)
    path, _, digest = context.config.image.partition("@")
    wanted = f"{'%2F'.join(path.split('/')[3:])}@{digest}"
    parent = f"{ARTIFACT_REGISTRY}/projects/{project}/locations/{place}/repositories/{name}"
    try:
        context.rest.get(f"{parent}/dockerImages/{wanted}")
    except NoAnswer as refused:
        if refused.status == 404:
            raise Missing(f"{context.config.image} does not exist", "python -m ci build-image") from None
        raise Unknown(str(refused)) from None
    if not pipelines_image.record(open_storage(context.config.workspace), context.config.image):
        raise Missing(f"{context.config.workspace} has no record of {context.config.image}", "python -m ci build-image")
    return context.config.image
