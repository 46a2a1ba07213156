"""Cloud Build: validates builds as strictly as the real service; performs docker steps without docker, or by podman.

Without docker a `build` step checks the Dockerfile's COPY lines against the uploaded source, and an image is a folder
that those lines fill; its digest is computed from its files. With `execute` set, a runner performs every step.
"""

import dataclasses
import datetime
import hashlib
import io
import pathlib
import re
import shutil
import tarfile
import tempfile
import threading
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.cloud.devtools.cloudbuild_v1.types import cloudbuild as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from grpc import StatusCode

from tests.emulators import docker_file
from tests.emulators.build_checks import USED, check, condition
from tests.emulators.docker_file import BuildError
from tests.emulators.services import Caller, Refused, Rpc, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

Status = types.Build.Status
ACTIVE = (Status.PENDING, Status.QUEUED, Status.WORKING)
# Where a project with restrictions, such as a new one, may build: https://cloud.google.com/build/docs/locations
ALLOWED = "us-central1 us-west2 europe-west1 asia-east1 australia-southeast1 southamerica-east1".split()
IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([a-z0-9-]+)/([a-z0-9-]+)/([a-z0-9._/-]+)(?::([\w][\w.-]{0,127}))?")


@dataclasses.dataclass
class Image:
    """An image: built, and perhaps pushed."""

    digest: str
    root: pathlib.Path
    folder: pathlib.Path
    environment: dict[str, str]


class Runner:
    """Performs the steps of a build with a container engine."""

    def step(self, args: list[str], environment: list[str], context: pathlib.Path) -> None:
        """Performs a docker step; raises BuildError."""
        raise NotImplementedError

    def push(self, image: str) -> str:
        """Pushes the image built under the name `image`; returns its digest. Raises BuildError."""
        raise NotImplementedError


class CloudBuild(Service):
    """`cloud.builds`: `builds` by ID; `hold` keeps builds running; `layout` returns a pushed image's folder."""

    name = "cloudbuild"
    hosts = ("cloudbuild.googleapis.com", "*-cloudbuild.googleapis.com")

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="spanloop-builds-"))
        self._lock = threading.RLock()
        self.execute: Runner | None = None
        self.builds: dict[str, types.Build] = {}
        self.held = False
        self._images: dict[str, Image] = {}  # by digest
        self._running: dict[str, threading.Thread] = {}

    def reset(self) -> None:
        with self._lock:
            self.builds.clear()
            self._images.clear()
            self.held = False

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    # For tests

    def hold(self) -> None:
        """Keeps builds running from now on."""
        self.held = True

    def release(self) -> None:
        self.held = False

    def layout(self, image: str) -> pathlib.Path:
        """The working directory of a pushed image (NAME@sha256:...): its files, without an interpreter."""
        return self._image(image).folder

    def environment(self, image: str) -> dict[str, str]:
        """The environment that an image sets, for processes that run in `layout`: PYTHONPATH is that folder."""
        found = self._image(image)
        inside = "/" + str(found.folder.relative_to(found.root))
        kept = {name: value for name, value in found.environment.items() if name not in ("PATH", "HOME")}
        return {name: str(found.folder) if value == inside else value for name, value in kept.items()}

    def _image(self, image: str) -> Image:
        digest = image.rpartition("@")[2]
        if digest not in self._images:
            raise KeyError(f"{image} was not pushed")
        return self._images[digest]

    # gRPC

    def rpcs(self):
        service, operation = "google.devtools.cloudbuild.v1.CloudBuild", operations_pb2.Operation
        return {
            f"/{service}/CreateBuild": Rpc(types.CreateBuildRequest, operation, self.create_build),
            f"/{service}/GetBuild": Rpc(types.GetBuildRequest, types.Build, self.get_build),
            f"/{service}/ListBuilds": Rpc(types.ListBuildsRequest, types.ListBuildsResponse, self.list_builds),
            f"/{service}/CancelBuild": Rpc(types.CancelBuildRequest, types.Build, self.cancel_build),
            "/google.longrunning.Operations/GetOperation": Rpc(
                operations_pb2.GetOperationRequest, operation, self.get_operation
            ),
            "/google.longrunning.Operations/CancelOperation": Rpc(
                operations_pb2.CancelOperationRequest, empty_pb2.Empty, self.cancel_operation
            ),
        }

    def create_build(self, request: types.CreateBuildRequest, caller: Caller) -> operations_pb2.Operation:
        self._demand(caller, "cloudbuild.builds.create")
        parent = self._parent(request.parent, request.project_id)
        if parent.split("/")[3] not in ALLOWED:
            # the message: https://github.com/google-github-actions/deploy-cloudrun/issues/480
            message = "due to quota restrictions, cannot run builds in this region. Please contact support"
            raise Refused(StatusCode.FAILED_PRECONDITION, message)
        build = types.Build(request.build)
        check(build)
        self._check_account(build, caller)
        self._resolve_source(build)
        build.id = str(uuid.uuid4())
        build.name = f"{parent}/builds/{build.id}"
        build.project_id, build.status = self._cloud.project, Status.QUEUED
        build.create_time = datetime.datetime.now(datetime.timezone.utc)
        build.log_url = f"https://console.cloud.google.com/cloud-build/builds;region={parent.split('/')[3]}/{build.id}"
        with self._lock:
            self.builds[build.id] = build
        return self._operation(build)

    def get_build(self, request: types.GetBuildRequest, caller: Caller) -> types.Build:
        self._demand(caller, "cloudbuild.builds.get")
        build = self._find(request.name, request.id)
        self._advance(build)
        return build

    def list_builds(self, request: types.ListBuildsRequest, caller: Caller) -> types.ListBuildsResponse:
        self._demand(caller, "cloudbuild.builds.get")
        parent = self._parent(request.parent, request.project_id)
        conditions = [condition(text) for text in re.split(r"\s+AND\s+", request.filter) if text]
        with self._lock:
            found = [
                build
                for build in reversed(self.builds.values())  # newest first
                if build.name.startswith(f"{parent}/") and all(fits(build) for fits in conditions)
            ]
        start, size = int(request.page_token or 0), request.page_size or 100
        following = str(start + size) if start + size < len(found) else ""
        return types.ListBuildsResponse(builds=found[start : start + size], next_page_token=following)

    def cancel_build(self, request: types.CancelBuildRequest, caller: Caller) -> types.Build:
        self._demand(caller, "cloudbuild.builds.create")
        build = self._find(request.name, request.id)
        if build.status not in ACTIVE:
            raise Refused(StatusCode.FAILED_PRECONDITION, "cannot cancel a build that has ended")
        build.status = Status.CANCELLED
        return build

    def get_operation(self, request: operations_pb2.GetOperationRequest, caller: Caller) -> operations_pb2.Operation:
        self._demand(caller, "cloudbuild.builds.get")
        build = self._find("", request.name.rpartition("/")[2])
        self._advance(build)
        return self._operation(build)

    def cancel_operation(self, request: operations_pb2.CancelOperationRequest, caller: Caller) -> empty_pb2.Empty:
        self.cancel_build(types.CancelBuildRequest(id=request.name.rpartition("/")[2]), caller)
        return empty_pb2.Empty()

    def _operation(self, build: types.Build) -> operations_pb2.Operation:
        place = build.name.rpartition("/builds/")[0]
        operation = operations_pb2.Operation(name=f"{place}/operations/{build.id}", done=build.status not in ACTIVE)
        operation.metadata.Pack(types.BuildOperationMetadata.pb(types.BuildOperationMetadata(build=build)))
        if build.status == Status.SUCCESS:
            operation.response.Pack(types.Build.pb(build))
        elif operation.done:
            operation.error.code, operation.error.message = StatusCode.UNKNOWN.value[0], build.failure_info.detail
        return operation

    # Validation

    def _demand(self, caller: Caller, permission: str) -> None:
        self._cloud.policies.demand(caller.principal, f"projects/{self._cloud.project}", permission)

    def _parent(self, parent: str, project: str) -> str:
        if project and project != self._cloud.project:
            raise Refused(StatusCode.PERMISSION_DENIED, f"The caller does not have permission on project {project}")
        if not re.fullmatch(rf"projects/{self._cloud.project}/locations/[a-z]+(-[a-z]+\d+)?", parent):
            raise Refused(StatusCode.INVALID_ARGUMENT, f"invalid parent {parent!r}: projects/PROJECT/locations/REGION")
        return parent

    def _find(self, name: str, identity: str) -> types.Build:
        build = self.builds.get(identity or name.rpartition("/builds/")[2])
        if build is None or (name and build.name != name):
            raise Refused(StatusCode.NOT_FOUND, f"Requested entity was not found: {name or identity}")
        return build

    def _check_account(self, build: types.Build, caller: Caller) -> None:
        if not build.service_account:
            return
        account = re.fullmatch(rf"projects/({self._cloud.project}|-)/serviceAccounts/(\S+@\S+)", build.service_account)
        if not account:
            raise Refused(StatusCode.INVALID_ARGUMENT, "build.service_account: projects/ID/serviceAccounts/EMAIL")
        self._cloud.policies.demand(caller.principal, f"serviceAccounts/{account[2]}", "iam.serviceAccounts.actAs")
        logging = types.BuildOptions.LoggingMode
        if not build.logs_bucket and build.options.logging not in (logging.CLOUD_LOGGING_ONLY, logging.NONE):
            raise Refused(
                StatusCode.INVALID_ARGUMENT,
                "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', (b)"
                " use the REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or (c) use"
                " either CLOUD_LOGGING_ONLY / NONE logging options",
            )

    def _resolve_source(self, build: types.Build) -> None:
        source = build.source.storage_source
        try:
            uploaded = self._cloud.gcs.find(f"gs://{source.bucket}/{source.object_}")
        except Exception:  # the storage's exceptions are its internals
            uploaded = None
        if uploaded is None or (source.generation and source.generation != uploaded.generation):
            raise Refused(
                StatusCode.INVALID_ARGUMENT, "could not resolve source: googleapi: got HTTP response code 404"
            )
        source.generation = uploaded.generation

    # Execution

    def _advance(self, build: types.Build) -> None:
        """Advances a build by one state, so that clients see it queued, working and ended."""
        with self._lock:
            if build.status == Status.QUEUED:
                build.status = Status.WORKING
                build.start_time = datetime.datetime.now(datetime.timezone.utc)
                build.steps[0].status = Status.WORKING
                if self.execute:
                    self._running[build.id] = threading.Thread(target=self._perform, args=[build], daemon=True)
                    self._running[build.id].start()
            elif build.status == Status.WORKING and not self.held and build.id not in self._running:
                self._perform(build)

    def _perform(self, build: types.Build) -> None:
        """Performs all steps, then pushes the images."""
        step = None
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            context = pathlib.Path(folder)
            try:
                self._unpack(build, context)
                built: dict[str, Image] = {}
                for step in build.steps:
                    step.status = Status.WORKING
                    args = [self._replaced(build, argument) for argument in step.args]
                    if self.execute:
                        self.execute.step(args, list(step.env), context)
                    else:
                        self._perform_without_docker(args, context, built)
                    step.status = Status.SUCCESS
                step = None
                for name in build.images:
                    self._push(build, self._replaced(build, name), built, context)
                build.status = Status.SUCCESS
            except BuildError as error:
                if step is not None:
                    step.status, step.exit_code = Status.FAILURE, 1
                kind = types.Build.FailureInfo.FailureType
                build.failure_info = types.Build.FailureInfo(
                    type_=kind.USER_BUILD_STEP if step is not None else kind.PUSH_FAILED, detail=str(error)
                )
                build.status = Status.FAILURE
            build.finish_time = datetime.datetime.now(datetime.timezone.utc)

    def _unpack(self, build: types.Build, context: pathlib.Path) -> None:
        source = build.source.storage_source
        data = self._cloud.gcs.read(f"gs://{source.bucket}/{source.object_}")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                path = context / member.name
                if not path.resolve().is_relative_to(context.resolve()):
                    raise BuildError(f"{member.name} is outside the workspace")
                if member.isfile():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.extractfile(member).read())

    def _replaced(self, build: types.Build, text: str) -> str:
        values = {"PROJECT_ID": self._cloud.project, "BUILD_ID": build.id, "LOCATION": build.name.split("/")[3]}
        values |= {"PROJECT_NUMBER": self._cloud.project_number} | dict(build.substitutions)
        return USED.sub(lambda match: "$" if match[0] == "$$" else values.get(match[1] or match[2], ""), text)

    def _perform_without_docker(self, args: list[str], context: pathlib.Path, built: dict[str, Image]) -> None:
        """Performs a docker step as far as it concerns files."""
        if args[0] == "push":
            _known(built, args[-1])
            self._check_repository(args[-1])
        elif args[0] == "build":
            options = _options(args[1:-1])
            path = context / options["file"][-1] if "file" in options else context / "Dockerfile"
            if not path.is_file():
                raise BuildError(f"failed to read dockerfile: open {path.name}: no such file or directory")
            arguments = dict(argument.partition("=")[::2] for argument in options.get("build-arg", []))
            found = docker_file.stages(path.read_text(), arguments)
            docker_file.check(found, context / args[-1])
            image = self._make(docker_file.stage(found, options.get("target", [""])[-1]), context, arguments)
            built.update(dict.fromkeys(options.get("tag", []), image))
        else:
            raise BuildError(f"docker: the local server does not support {args[0]!r}")

    def _make(self, stage: docker_file.Stage, context: pathlib.Path, arguments: dict[str, str]) -> Image:
        root = pathlib.Path(tempfile.mkdtemp(dir=self._folder))
        folder, environment = docker_file.lay_out(stage, context, root)
        total = hashlib.sha256(repr((stage, sorted(arguments.items()))).encode())
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            total.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
        return Image(f"sha256:{total.hexdigest()}", root, folder, environment)

    def _push(self, build: types.Build, name: str, built: dict[str, Image], context: pathlib.Path) -> None:
        """Pushes one of the build's images and adds it to the results."""
        repository = self._check_repository(name)
        if self.execute:
            digest = self.execute.push(name)
            stages = docker_file.stages((context / "cloudbuild/Dockerfile").read_text(), build.substitutions)
            image = dataclasses.replace(self._make(stages[-1], context, {}), digest=digest)
        else:
            image = _known(built, name)
        self._images[image.digest] = image
        short = name.rpartition("/")[2].partition(":")[0]
        self._cloud.registry.repositories[repository][1].add(f"{short}@{image.digest}")
        build.results.images.append(types.BuiltImage(name=name, digest=image.digest))

    def _check_repository(self, name: str) -> str:
        match = IMAGE.fullmatch(name)
        if not match:
            raise BuildError(f"invalid reference format: {name}")
        repository = f"projects/{match[2]}/locations/{match[1]}/repositories/{match[3]}"
        if repository not in self._cloud.registry.repositories:
            raise BuildError(f'name unknown: Repository "{match[3]}" not found')
        return repository


def _options(args: Iterable[str]) -> dict[str, list[str]]:
    """Options of `docker build`, all in the form --name=value."""
    found: dict[str, list[str]] = {}
    for argument in args:
        match = re.fullmatch(r"--([a-z-]+)=(.*)", argument)
        if not match or match[1] not in ("file", "target", "cache-from", "build-arg", "tag"):
            raise BuildError(f"docker build: the local server does not support {argument}")
        found.setdefault(match[1], []).append(match[2])
    return found


def _known(built: dict[str, Image], name: str) -> Image:
    if name not in built:
        raise BuildError(f"An image does not exist locally with the tag: {name.partition(':')[0]}")
    return built[name]
