"""Cloud Build used by its own client: validation, execution and status of builds."""

import io
import re
import tarfile

import pytest
from google.api_core import exceptions as google
from google.cloud.devtools import cloudbuild_v1

from tests.emulators.cloud import Cloud

DOCKER = "gcr.io/cloud-builders/docker"
DOCKERFILE = (
    "ARG BASE=python:3.10\nFROM ${BASE} AS first\nCOPY list.txt /\n"
    "FROM $BASE\nCOPY --from=first /x /x\nWORKDIR /app\nENV A=1 PYTHONPATH=/app\nCOPY code code\nCOPY list.txt ./\n"
)
FILES = {"Dockerfile": DOCKERFILE, "code/a.py": "a = 1\n", "code/deep/b.py": "", "list.txt": "x"}


@pytest.fixture
def parent(cloud_environment):
    cloud_environment.registry.add("r")
    return f"projects/{cloud_environment.project}/locations/{cloud_environment.region}"


@pytest.fixture
def client(cloud_environment):
    with cloudbuild_v1.CloudBuildClient() as client:
        yield client


@pytest.fixture
def source(cloud):
    """Uploads source files of a build; returns the build's `source` field."""

    def put(files=FILES):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        cloud.gcs.put(f"gs://{cloud.bucket}/source.tar.gz", out.getvalue())
        return {"storage_source": {"bucket": cloud.bucket, "object_": "source.tar.gz"}}

    return put


@pytest.fixture
def image(cloud):
    return f"{cloud.region}-docker.pkg.dev/{cloud.project}/r/name:tag"


def docker(*args, **more):
    return {"name": DOCKER, "args": list(args)} | more


def ended(client, operation):
    """Waits for a build to end and returns it."""
    name = f"{operation.metadata.build.name}"
    for _ in range(9):
        build = client.get_build(name=name)
        if build.status > cloudbuild_v1.Build.Status.WORKING and build.status.name != "PENDING":
            return build
    raise AssertionError("it does not end")


def test_an_image_has_the_files_of_its_copy_lines(client, parent, source, image, cloud):
    build = {"source": source(), "steps": [docker("build", f"--tag={image}", ".")], "images": [image]}
    first = ended(client, client.create_build(parent=parent, project_id=cloud.project, build=build))
    again = ended(client, client.create_build(parent=parent, project_id=cloud.project, build=build))

    assert first.status.name == "SUCCESS" and first.source.storage_source.generation > 0
    (pushed,) = first.results.images
    assert pushed.name == image and again.results.images[0].digest == pushed.digest
    folder = cloud.builds.layout(f"{image.partition(':')[0]}@{pushed.digest}")
    laid = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert laid == {"code/a.py": "a = 1\n", "code/deep/b.py": "", "list.txt": "x"}
    assert cloud.builds.environment(f"x@{pushed.digest}") == {"A": "1", "PYTHONPATH": str(folder)}

    build["source"] = source(FILES | {"code/a.py": "a = 2\n"})
    other = ended(client, client.create_build(parent=parent, project_id=cloud.project, build=build))
    assert other.results.images[0].digest != pushed.digest


@pytest.mark.parametrize(
    "files, args, message",
    [
        ({"Dockerfile": DOCKERFILE, "list.txt": ""}, ["build", "."], '"/code": not found'),
        (FILES, ["build", "--file=no/Dockerfile", "."], "failed to read dockerfile"),
        (FILES, ["build", "--target=third", "."], "target stage third could not be found"),
        ({"Dockerfile": "FROM $BASE\n"}, ["build", "."], "base name .* should not be blank"),
        ({"Dockerfile": "FROM a\nCOPY --from=b x x\n"}, ["build", "."], "stage b of COPY does not exist"),
        (FILES, ["build", "--squash", "."], "does not support --squash"),
        (FILES, ["push", "eu-docker.pkg.dev/p/r/n:t"], "does not exist locally"),
    ],
)
def test_a_step_that_docker_refuses_fails_the_build(client, parent, source, cloud, files, args, message):
    build = {"source": source(files), "steps": [docker(*args, id="one"), docker("build", ".", id="two")]}
    done = ended(client, client.create_build(parent=parent, project_id=cloud.project, build=build))

    assert [step.status.name for step in done.steps] == ["FAILURE", "STATUS_UNKNOWN"]
    assert done.status.name == "FAILURE"
    assert re.search(message, done.failure_info.detail)


def test_an_image_that_no_step_built_is_not_pushed(client, parent, source, image, cloud):
    build = {"source": source(), "steps": [docker("build", ".")], "images": [image]}
    done = ended(client, client.create_build(parent=parent, project_id=cloud.project, build=build))
    assert done.status.name == "FAILURE" and done.failure_info.type_.name == "PUSH_FAILED"


STEP = docker("build", ".", id="a")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": []}, "at least one step"),
        ({"steps": [{"args": ["x"]}]}, "no name"),
        ({"steps": [STEP, docker("build", ".", wait_for=["z"])]}, "no earlier step"),
        ({"steps": [docker("build", ".", wait_for=["a"]), STEP]}, "no earlier step"),
        ({"steps": [STEP, STEP]}, "more than one step"),
        ({"steps": [docker("build", "$_A", ".")]}, "'_A' is not a valid built-in"),
        ({"substitutions": {"_A": "x"}}, "'_A' in the substitution data is not matched"),
        ({"substitutions": {"a": "x"}}, "does not match format"),
        ({"tags": ["no spaces"]}, "tags"),
        ({"timeout": {"seconds": 90_000}}, "24h"),
        ({"service_account": f"projects/spanloop-local/serviceAccounts/{Cloud.builder}"}, "CLOUD_LOGGING_ONLY"),
        ({"service_account": "b@c"}, "serviceAccounts/EMAIL"),
        ({"source": {"storage_source": {"bucket": "spanloop-local", "object_": "no"}}}, "could not resolve source"),
        (
            {"source": {"storage_source": {"bucket": "spanloop-local", "object_": "source.tar.gz", "generation": 1}}},
            "could not resolve source",
        ),
    ],
)
def test_an_invalid_build_is_refused(client, parent, source, cloud, change, message):
    build = {"source": source(), "steps": [STEP]} | change
    with pytest.raises(google.InvalidArgument, match=message):
        client.create_build(parent=parent, project_id=cloud.project, build=build)
    assert not cloud.builds.builds


def test_a_caller_without_permission_is_refused(client, parent, source, cloud):
    account = f"projects/{cloud.project}/serviceAccounts/{cloud.builder}"
    build = {"source": source(), "steps": [STEP], "service_account": account, "options": {"logging": "NONE"}}
    project = f"projects/{cloud.project}"
    absent = build | {"service_account": account.replace("builds@", "gone@")}
    with pytest.raises(google.PermissionDenied, match="or it may not exist"):
        client.create_build(parent=parent, project_id=cloud.project, build=absent)
    cloud.policies.revoke(project, "roles/iam.serviceAccountUser", cloud.account)
    with pytest.raises(google.PermissionDenied, match="actAs"):
        client.create_build(parent=parent, project_id=cloud.project, build=build)
    cloud.policies.grant(f"serviceAccounts/{cloud.builder}", "roles/iam.serviceAccountUser", cloud.account)
    client.create_build(parent=parent, project_id=cloud.project, build=build)
    cloud.policies.revoke(project, "roles/cloudbuild.builds.editor", cloud.account)
    with pytest.raises(google.PermissionDenied, match="cloudbuild.builds"):
        client.create_build(parent=parent, project_id=cloud.project, build=build)


def test_builds_are_found_by_their_tags_newest_first_page_by_page(client, parent, source, cloud):
    for tags in (["one"], ["one", "two"], ["one"]):
        build = {"source": source(), "steps": [STEP], "tags": tags}
        client.create_build(parent=parent, project_id=cloud.project, build=build)

    def found(filter):
        request = {"parent": parent, "project_id": cloud.project, "filter": filter, "page_size": 2}
        return [build.id for build in client.list_builds(request)]

    everything = list(cloud.builds.builds)[::-1]
    assert found("") == found('tags="one"') == everything
    assert found('tags="two" AND status="QUEUED"') == [everything[1]]
    assert found('status="SUCCESS"') == []
    with pytest.raises(google.InvalidArgument, match="filter"):
        found("tags='one'")


def test_an_operation_waits_for_its_build(client, parent, source, cloud):
    build = {"source": source(), "steps": [STEP]}
    assert client.create_build(parent=parent, project_id=cloud.project, build=build).result().status.name == "SUCCESS"

    cloud.builds.hold()
    held = client.create_build(parent=parent, project_id=cloud.project, build=build)
    name = held.metadata.build.name
    assert [client.get_build(name=name).status.name for _ in range(3)] == ["WORKING"] * 3
    identity = {"project_id": cloud.project, "id": held.metadata.build.id}
    assert client.cancel_build(name=name, **identity).status.name == "CANCELLED"
    with pytest.raises(google.FailedPrecondition):
        client.cancel_build(name=name, **identity)
    with pytest.raises(google.NotFound):
        client.get_build(name=f"{parent}/builds/none")
