"""The image of the pipelines: what it is made of, its build on Cloud Build, and what is known of it afterwards.

An image is known by its content, the files that the Dockerfile copies and how they are built: what has been built is
not built again, and a running build of the same content is waited for, also one that another process started.
"""

import dataclasses
import gzip
import io
import json
import os
import platform
import re
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Any

from pipeline.cloud.calls import cloud_errors, converge, poll_intervals, read_retry, without_support_warnings
from pipeline.config import Config
from pipeline.errors import BrokenBuildFile, ImageBuildFailed, NotARepository, ObjectNotFound, RegionRefused
from pipeline.packaging import modules
from pipeline.packaging.commit import this_commit
from pipeline.progress import Log, no_log
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage

if TYPE_CHECKING:
    from google.cloud.devtools.cloudbuild_v1 import Build, CloudBuildClient

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DOCKERFILE, BUILD, BASES = "cloudbuild/Dockerfile", "cloudbuild/cloudbuild.yaml", "cloudbuild/bases/Dockerfile"


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of an image that was built."""

    image: str  # by digest: NAME@sha256:...
    tfx: str  # version
    python: str  # such as 3.10
    commit: str  # with "-dirty" where files differed from it
    content: str  # sha256 of what it was built of


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides what an image is."""

    files: dict[str, bytes]  # that the build gets, by name
    arguments: dict[str, str]  # substitutions of cloudbuild.yaml, all but the tag

    @property
    def content(self) -> str:
        """sha256 of the files and of how they are built."""
        return modules.digest(self.files | {"": json.dumps(self.arguments, sort_keys=True).encode()})


def build(config: Config, gpu: bool = False, log: Log = no_log, root: str = ROOT) -> tuple[Record, bool]:
    """Builds the image of the repository in `root`; returns its record, and whether it was built just now.

    With CUDA when `gpu` says so or the machines to train on have an accelerator. Raises MissingSettings,
    ImageBuildFailed, RegionRefused or CloudRefused.
    """
    config.require("workspace", "project", "region", "image_repository", "build_service_account")
    gpu = gpu or config.accelerated
    storage, recipe = open_storage(config.workspace), make_recipe(config, gpu, root)
    if there := _read(storage, _by_content(recipe.content)):
        return there, False
    source = _source(recipe.content)
    storage.write(source, pack(recipe.files), create_only=True)
    with without_support_warnings():
        from google.cloud.devtools import cloudbuild_v1

    tag = this_commit() + "-gpu" * gpu
    asked_for = _build(config, recipe, storage.address(source), tag, root)
    with cloudbuild_v1.CloudBuildClient() as client:
        with storage.exclusive("starting the build of an image"):
            name, started = _find_or_start(client, config, recipe.content, asked_for, log)
        done = _follow(client, name, log)
    made = _record(config, recipe, done)
    encoded = json.dumps(dataclasses.asdict(made), indent=1).encode()
    storage.write(_by_image(made.image), encoded, create_only=True)
    storage.write(_by_content(recipe.content), encoded, create_only=True)
    return made, started


def of_this_code(config: Config, root: str = ROOT) -> Record | None:
    """Returns the image that `build` made of the code in `root` as it is now; None when it did not."""
    config.require("workspace", "image_repository")
    recipe = make_recipe(config, config.accelerated, root)
    return _read(open_storage(config.workspace), _by_content(recipe.content))


def record(storage: Storage, image: str) -> Record | None:
    """Returns what is known of an image (NAME@sha256:...); None when `build` of this workspace did not make it."""
    return _read(storage, _by_image(image))


def forget_content(storage: Storage, made: Record) -> None:
    """Deletes the source of an image, and the record by which `build` and `of_this_code` find it."""
    name = _by_content(made.content)
    if _read(storage, name) == made:
        storage.delete(name)
        storage.delete(_source(made.content))


def forget(storage: Storage, made: Record) -> None:
    """Deletes what is known of an image."""
    storage.delete(_by_image(made.image))


def _source(content: str) -> str:
    return f"sources/{content}.tar.gz"


def _by_image(image: str) -> str:
    return f"images/{image.rpartition('@sha256:')[2]}.json"


def _by_content(content: str) -> str:
    return f"images/content-{content}.json"


def _read(storage: Storage, name: str) -> Record | None:
    try:
        return Record(**json.loads(storage.read(name)))
    except ObjectNotFound:
        return None


# What it is made of


def make_recipe(config: Config, gpu: bool, root: str) -> Recipe:
    """Reads what an image for the Python that this runs on is made of: of what git tracks, what the Dockerfile copies.

    Files are taken as they are now, committed or not.
    """
    with open(os.path.join(root, DOCKERFILE), encoding="utf-8") as file:
        wanted = [DOCKERFILE, BUILD, *copied(file.read())]
    files = {}
    for name in tracked(root):
        path = os.path.join(root, name)
        if any(name == source or name.startswith(f"{source}/") for source in wanted) and os.path.isfile(path):
            with open(path, "rb") as file:
                files[name] = file.read()
    versions, base_image = requirements(root), base(root)
    arguments = {
        "_IMAGE": config.image_repository,
        "_BASE_IMAGE": base_image,
        "_BEAM_IMAGE": beam_image(root) if config.dataflow_workers else base_image,
        "_TENSORFLOW": "gpu" if gpu else "cpu",
        "_TFX": versions["tfx"],
    }
    return Recipe(files, arguments)


def copied(dockerfile: str) -> list[str]:
    """Returns what a Dockerfile copies from outside of it, as it names that."""
    instructions = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", dockerfile)).splitlines()
    words = [line.split() for line in instructions]
    return [
        source.rstrip("/")
        for instruction, *rest in filter(None, words)
        if instruction.upper() == "COPY" and not any(word.startswith("--from=") for word in rest)
        for source in [word for word in rest if not word.startswith("--")][:-1]
    ]


def tracked(root: str) -> list[str]:
    """Returns the names of the files that git tracks, sorted."""
    try:
        command = ["git", "-C", root, "ls-files", "-z", "--cached"]
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise NotARepository(root) from None
    return sorted(filter(None, os.fsdecode(listed).split("\0")))


def base(root: str) -> str:
    """Returns the image that an image for the Python that this runs on is built on."""
    version = _python()
    with open(os.path.join(root, BASES), encoding="utf-8") as file:
        found = re.search(rf"(?m)^FROM (\S+) AS python{re.escape(version)}$", file.read())
    if not found:
        raise BrokenBuildFile(BASES, f"it names no image as python{version}")
    return found.group(1)


def beam_image(root: str) -> str:
    """Returns Apache Beam's image of the locked version for the Python that this runs on."""
    return f"docker.io/apache/beam_python{_python()}_sdk:{requirements(root)['apache-beam']}"


def requirements(root: str) -> dict[str, str]:
    """Returns what requirements.txt names for the Python that this runs on: versions by the names of packages."""
    from packaging.requirements import Requirement

    with open(os.path.join(root, "requirements.txt"), encoding="utf-8") as file:
        named = [Requirement(line.rstrip("\\\n ")) for line in file if line[0].isalnum()]
    ours = [package for package in named if package.marker is None or package.marker.evaluate()]
    return {package.name: str(package.specifier).removeprefix("==") for package in ours}


def pack(files: dict[str, bytes]) -> bytes:
    """Returns an archive; the same files give the same archive, whenever and wherever."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, data in sorted(files.items()):
                member = tarfile.TarInfo(name)  # without owner and time
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


# Its build


def _build(config: Config, recipe: Recipe, source: str, tag: str, root: str) -> "Build":
    """Returns what Cloud Build is asked for: cloudbuild.yaml with all that depends on this build."""
    import yaml
    from google.cloud.devtools.cloudbuild_v1 import Build
    from google.protobuf import json_format

    bucket, _, name = source.removeprefix("gs://").partition("/")
    with open(os.path.join(root, BUILD), encoding="utf-8") as file:
        written = yaml.safe_load(file)
    account = f"projects/{config.project}/serviceAccounts/{config.build_service_account}"
    written |= {
        "source": {"storageSource": {"bucket": bucket, "object": name}},
        "substitutions": written.get("substitutions", {}) | recipe.arguments | {"_TAG": tag},
        "tags": ["spanloop-image", _tag(recipe.content)],
        "serviceAccount": account,
    }
    try:
        return Build(json_format.ParseDict(written, Build.pb(Build())))
    except json_format.ParseError as error:
        raise BrokenBuildFile(BUILD, str(error)) from None


def _tag(content: str) -> str:
    return f"content-{content}"


def _find_or_start(
    client: "CloudBuildClient", config: Config, content: str, wanted: "Build", log: Log
) -> tuple[str, bool]:
    """Returns the name of the build of this content that is going on or succeeded, and whether it was started now."""
    from google.api_core.exceptions import FailedPrecondition
    from google.cloud.devtools.cloudbuild_v1 import Build

    parent, going = f"projects/{config.project}/locations/{config.build_region}", Build.Status
    useful = (going.PENDING, going.QUEUED, going.WORKING, going.SUCCESS)
    created: list[str] = []

    def step() -> tuple[str, bool] | None:
        request = {"parent": parent, "project_id": config.project, "filter": f'tags="{_tag(content)}"'}
        for found in client.list_builds(request, retry=read_retry()):
            if found.status in useful:
                mine = found.id in created
                if not mine:
                    log(f"build {found.id} of this very content {'is there' if found.status == useful[-1] else 'runs'}")
                return f"{parent}/builds/{found.id}", mine
        try:
            operation = client.create_build({"parent": parent, "project_id": config.project, "build": wanted})
        except FailedPrecondition as refused:
            if re.search("quota|restrict", refused.message):  # of the project: no later attempt can succeed
                raise RegionRefused(config.build_region, refused.message) from None
            raise
        created.append(operation.metadata.build.id)
        log(f"build {created[0]} started, log: {operation.metadata.build.log_url}")
        return f"{parent}/builds/{created[0]}", True

    return converge("Starting the build of the image", step)


def _follow(client: "CloudBuildClient", name: str, log: Log) -> "Build":
    """Waits for the end of a build, and logs each change of its state and of its steps. Raises ImageBuildFailed."""
    from google.cloud.devtools.cloudbuild_v1 import Build

    said: dict[str, str] = {}

    def log_change(what: str, status: Any) -> None:
        if status and said.get(what) != status.name:
            said[what] = status.name
            log(f"  {what}: {status.name.lower()}")

    with cloud_errors("Following the build of the image"):
        for pause in poll_intervals():
            build = client.get_build({"name": name}, retry=read_retry())
            for number, step in enumerate(build.steps):
                log_change(step.id or f"step {number}", step.status)
            log_change("build", build.status)
            if build.status == Build.Status.SUCCESS:
                return build
            if build.status not in (Build.Status.PENDING, Build.Status.QUEUED, Build.Status.WORKING):
                raise _failure(build)
            time.sleep(pause)
    raise AssertionError("intervals do not end")


def _failure(build: "Build") -> ImageBuildFailed:
    going = build.Status
    failed = [step.id for step in build.steps if step.status in (going.FAILURE, going.TIMEOUT, going.INTERNAL_ERROR)]
    why = build.failure_info.detail or build.status_detail
    return ImageBuildFailed(build.id, build.status.name.lower(), failed, why, build.log_url)


def _record(config: Config, recipe: Recipe, build: "Build") -> Record:
    """Returns what is known of the image that a build made."""
    digests = {image.digest for image in build.results.images}
    if len(digests) != 1:
        raise ImageBuildFailed(build.id, "success", [], "it names no image that it pushed", build.log_url)
    return Record(
        image=f"{config.image_repository}@{digests.pop()}",
        tfx=recipe.arguments["_TFX"],
        python=_python(),
        commit=build.substitutions["_TAG"].removesuffix("-gpu"),  # another commit may have the same content
        content=recipe.content,
    )


def _python() -> str:
    """Returns the version of the Python that this runs on, such as 3.10: the image has the same."""
    return ".".join(platform.python_version_tuple()[:2])
