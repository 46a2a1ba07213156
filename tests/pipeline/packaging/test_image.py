import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
from concurrent import futures
from importlib import metadata

import pytest

import install
from pipeline.config import Config
from pipeline.errors import BrokenBuildFile, ImageBuildFailed, MissingSettings, NotARepository, RegionRefused
from pipeline.packaging import image
from pipeline.storage.factory import open_storage

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def clone(tmp_path):
    """A repository as small as an image can be made of, with a module and a file that git does not track."""
    if not shutil.which("git"):
        pytest.skip("there is no git to make a clone with")
    root = tmp_path / "clone"
    for name in ("requirements.txt", image.DOCKERFILE, image.BUILD, image.BASES, *EXPORTED):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in ("pipeline/__init__.py", "ci/__init__.py", "modules/model.py", "tests/test.py", "README.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    (root / "pipeline" / "notes.txt").write_text("no part of it")
    return root


EXPORTED = (
    "cloudbuild/entrypoint.sh",
    "cloudbuild/cpu.txt",
    "cloudbuild/gpu.txt",
    "cloudbuild/left-out.txt",
    "cloudbuild/uv.txt",
)


def git(root, *arguments):
    subprocess.run(["git", "-C", root, *arguments], check=True)


@pytest.fixture
def config(cloud_environment, gs_workspace):
    cloud_environment.registry.add("spanloop")
    return Config.from_environment(cloud_environment.environment | {"WORKSPACE": gs_workspace})


def creations(cloud):
    return len(cloud.asked("cloudbuild", "CreateBuild"))


def change(clone, text="changed = True\n"):
    (clone / "pipeline" / "__init__.py").write_text(text)


def test_a_region_that_is_closed_to_the_project_is_explained_at_once(clone, config, cloud, retry_waits):
    closed = dataclasses.replace(config, region="europe-west4", build_region="europe-west4")

    with pytest.raises(RegionRefused, match="refuses builds in europe-west4: .*set BUILD_REGION to one of us-central1"):
        image.build(closed, root=str(clone))

    assert creations(cloud) == 1 and not retry_waits
    elsewhere = dataclasses.replace(closed, build_region="europe-west1")
    assert image.build(elsewhere, root=str(clone))[1]
    (build,) = cloud.builds.builds.values()
    assert "/locations/europe-west1/" in build.name


def test_what_git_tracks_and_the_dockerfile_copies_is_packed(clone):
    recipe = image.make_recipe(Config(), False, str(clone))

    assert set(recipe.files) == {
        "ci/__init__.py",
        "pipeline/__init__.py",
        "requirements.txt",
        image.DOCKERFILE,
        image.BUILD,
        *EXPORTED,
    }


def test_the_same_content_is_the_same_elsewhere_and_whatever_else_changes(clone, tmp_path):
    first = image.make_recipe(Config(), False, str(clone))
    for name in ("README.md", "modules/model.py", "tests/test.py"):
        (clone / name).write_text("another text")
    os.utime(clone / "requirements.txt", (1, 1))
    (clone / "ci" / "__init__.py").chmod(0o700)
    elsewhere = clone.rename(tmp_path / "elsewhere")
    second = image.make_recipe(Config(), False, str(elsewhere))

    assert first.content == second.content
    assert image.pack(first.files) == image.pack(dict(reversed(second.files.items())))

    change(elsewhere)  # not committed, but this is what is packed
    changed = image.make_recipe(Config(), False, str(elsewhere))
    gpu = image.make_recipe(Config(), True, str(elsewhere))
    assert len({first.content, changed.content, gpu.content}) == 3


def test_an_image_is_built_once_and_known_by_its_digest(clone, config, cloud):
    said = []
    made, built = image.build(config, log=said.append, root=str(clone))
    again, built_again = image.build(config, root=str(clone))

    assert (built, built_again, creations(cloud)) == (True, False, 1)
    assert made == again == image.record(open_storage(config.workspace), made.image)
    assert re.fullmatch(re.escape(cloud.image_repository) + "@sha256:[0-9a-f]{64}", made.image)
    assert image.record(open_storage(config.workspace), made.image[:-1] + "x") is None
    assert [line.strip() for line in said[1:]] == [
        "dependencies: working",
        "build: working",
        *(f"{step}: success" for step in ("dependencies", "image", "keep dependencies", "keep newest")),
        "build: success",
    ]
    folder = cloud.builds.layout(made.image)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == {
        "requirements.txt",
        "ci/__init__.py",
        "pipeline/__init__.py",
    }
    assert cloud.builds.environment(made.image)["PYTHONPATH"] == str(folder)
    (build,) = cloud.builds.builds.values()
    assert build.service_account.endswith(cloud.builder) and build.substitutions["_TFX"] == made.tfx


def test_a_change_of_code_makes_one_build_and_a_change_of_modules_none(clone, config, cloud):
    first, _ = image.build(config, root=str(clone))
    (clone / "modules" / "model.py").write_text("better = True\n")
    assert image.build(config, root=str(clone)) == (first, False)

    change(clone)
    second, built = image.build(config, root=str(clone))
    assert built and second.image != first.image and creations(cloud) == 2


def test_the_image_of_this_code_is_found_as_long_as_nothing_but_modules_changes(clone, config, cloud):
    assert image.of_this_code(config, str(clone)) is None
    made, _ = image.build(config, root=str(clone))
    (clone / "modules" / "model.py").write_text("better = True\n")
    assert image.of_this_code(config, str(clone)) == made

    change(clone)
    assert image.of_this_code(config, str(clone)) is None and creations(cloud) == 1


def test_machines_with_an_accelerator_get_an_image_with_cuda(clone, config):
    accelerated = dataclasses.replace(config, training_machines="n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-8")
    plain, _ = image.build(config, root=str(clone))
    with_cuda, _ = image.build(accelerated, root=str(clone))
    assert with_cuda.content == image.make_recipe(config, True, str(clone)).content != plain.content
    assert image.of_this_code(accelerated, str(clone)) == with_cuda


def test_a_build_that_runs_already_is_followed(clone, config, cloud):
    class Killed(Exception):
        pass

    def log(line):
        if "working" in line:
            cloud.builds.release()
            raise Killed

    cloud.builds.hold()
    with pytest.raises(Killed):
        image.build(config, log=log, root=str(clone))

    made, built = image.build(config, root=str(clone))

    assert not built and creations(cloud) == 1
    assert image.record(open_storage(config.workspace), made.image) == made


def test_of_two_at_once_one_starts_the_build(clone, config, cloud):
    with futures.ThreadPoolExecutor(2) as both:
        asked = [both.submit(image.build, config, root=str(clone)) for _ in range(2)]
        (one, one_built), (other, other_built) = [each.result(timeout=60) for each in asked]

    assert one == other and [one_built, other_built].count(True) == creations(cloud) == 1


@pytest.mark.parametrize("kind, answered", [("lose", 1), ("503", 2), ("429", 2), ("cut", 2)])
def test_one_build_is_started_when_an_answer_is_lost(clone, config, cloud, kind, answered):
    cloud.faults.add("cloudbuild", "CreateBuild", kind=kind)
    image.build(config, root=str(clone))
    assert len(cloud.builds.builds) == 1 and creations(cloud) == answered


def test_a_failing_step_is_named_with_the_log(clone, config, cloud):
    shutil.rmtree(clone / "ci")  # git still lists it
    with pytest.raises(ImageBuildFailed, match=r"failure in step 'dependencies'.*\"/ci\": not found.* log: https://"):
        image.build(config, root=str(clone))

    assert open_storage(config.workspace).folders("images") == []
    git(clone, "checkout", "--quiet", "--", "ci")
    assert image.build(config, root=str(clone))[1]


def test_a_repository_that_is_not_there_is_named(clone, config, cloud):
    cloud.registry.repositories.clear()
    with pytest.raises(ImageBuildFailed, match='Repository "spanloop" not found'):
        image.build(config, root=str(clone))


def test_what_a_build_needs_is_asked_for_before_anything_is_done(clone, cloud):
    with pytest.raises(MissingSettings, match="WORKSPACE.*GCP_PROJECT.*IMAGE_REPOSITORY.*BUILD_SERVICE_ACCOUNT"):
        image.build(Config(), root=str(clone))
    assert not cloud.asked_of_services()


def test_a_folder_without_git_is_refused(tmp_path):
    with pytest.raises(NotARepository):
        image.tracked(str(tmp_path))


def test_dataflow_gets_beams_own_program(clone):
    without = image.make_recipe(Config(), False, str(clone))
    used = image.make_recipe(Config(dataflow_workers=4), False, str(clone))
    version = metadata.version("apache-beam")

    assert without.arguments["_BEAM_IMAGE"] == without.arguments["_BASE_IMAGE"]
    assert re.fullmatch(rf"\S+/beam_python3\.\d+_sdk:{re.escape(version)}", used.arguments["_BEAM_IMAGE"])
    assert used.content != without.content


def test_a_python_that_no_base_is_named_for_is_refused(clone):
    (clone / image.BASES).write_text("FROM docker.io/library/python:2.7-slim AS python2.7\n")
    with pytest.raises(BrokenBuildFile, match="names no image as python3"):
        image.base(str(clone))


def test_a_mistake_in_cloudbuild_yaml_is_named(clone, config):
    (clone / image.BUILD).write_text("steps: []\nstepz: []\n")
    with pytest.raises(BrokenBuildFile, match='cloudbuild.yaml.*"stepz"'):
        image.build(config, root=str(clone))


def test_the_dockerfile_itself_takes_a_base_that_dependabot_keeps_fresh():
    default = re.search(r"(?m)^ARG BASE_IMAGE=(\S+)$", (ROOT / image.DOCKERFILE).read_text())[1]
    assert f"FROM {default} AS python3.10\n" in (ROOT / image.BASES).read_text()


def test_the_image_is_installed_by_the_locked_uv_and_no_other_file_of_its_version():
    installs = re.findall(r"(?m)^RUN .*pip install .*$", (ROOT / image.DOCKERFILE).read_text())
    assert len(installs) == 1 and "--require-hashes -r uv.txt" in installs[0]
    written = (ROOT / "cloudbuild/uv.txt").read_text()
    assert written == install.uv_requirement(), "run `make requirements`"
    assert written.startswith("uv==") and written.count("--hash=sha256:") >= 3


def test_what_is_left_out_is_in_requirements():
    names = [line for line in (ROOT / "cloudbuild/left-out.txt").read_text().splitlines() if line[0] != "#"]
    requirements = (ROOT / "requirements.txt").read_text()
    assert names and all(re.search(rf"(?m)^{name}==", requirements) for name in names)


def test_the_build_context_of_docker_is_what_is_packed():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    sources = image.copied((ROOT / image.DOCKERFILE).read_text())
    assert {source.split("/")[0] for source in sources} == allowed


def test_a_record_says_what_submit_asks_of_it(clone, config):
    made, _ = image.build(config, root=str(clone))
    name = f"images/{made.image.rpartition(':')[2]}.json"
    known = json.loads(open_storage(config.workspace).read(name))
    assert set(known) == {"image", "tfx", "python", "commit", "content"}
    assert f"tfx=={known['tfx']}" in (clone / "requirements.txt").read_text().replace("[kfp]", "")
