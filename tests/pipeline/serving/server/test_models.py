"""Several releases in one server: their shares, a promotion and a rollback while it runs, releases that are refused."""

import collections
import os
import pathlib
import shutil
import time

import pytest

from pipeline.config import Config
from pipeline.releases.factory import open_releases
from pipeline.serving import rollout
from pipeline.serving.server.models import Address
from tests.pipeline.conftest import plain
from tests.served import Served


@pytest.fixture
def config(tmp_path) -> Config:
    return Config(workspace=str(tmp_path / "workspace"), canary_traffic=25)


@pytest.fixture
def release(config, pair_of_hand):
    """Function that makes a release of the two small models, each time another one."""
    releases, number = open_releases(config.releases), 0

    class Numbered:
        def publish(self, *arguments, **fields):
            return releases.publish(*arguments, **fields | {"identity": f"{number}"})

    def make():
        nonlocal number
        number += 1
        return pair_of_hand(Numbered())

    return make


def served(config: Config, *arguments: str, canary: str = "25") -> Served:
    return Served("", "--device", *arguments, WORKSPACE=config.workspace, CANARY_TRAFFIC=canary)


def counted(server: Served, requests: int = 20) -> dict[str, int]:
    return collections.Counter(server.predict(plain(250)).headers["x-model-release"] for _ in range(requests))


def test_a_canary_gets_its_share_until_it_is_promoted_or_taken_back(config, release):
    release()
    with served(config) as server:
        assert counted(server, 4) == {"model-1": 4}
        release()
        server.waited("Traffic: model-1 75 %, model-2 25 %")
        assert counted(server) == {"model-1": 15, "model-2": 5}
        named = server.post({"instances": []}, "/v1/models/classification/versions/2:predict")
        assert named.status == 400
        assert len(server.get("/v1/models/classification").json["model_version_status"]) == 2

        rollout.promote(config)
        server.waited("Traffic: model-2 100 %")
        assert counted(server) == {"model-2": 20}
        server.waited("Unloaded model-1")
        assert server.get("/health").json["models"] == {"model-2": 100}

        rollout.roll_back(config)
        server.waited("Unloaded model-2")
        assert counted(server, 4) == {"model-1": 4}


def test_a_release_that_cannot_be_trusted_does_not_replace_the_one_that_serves(config, release):
    release()
    with served(config) as server:
        second = release()
        pathlib.Path(config.releases, second.tag, "model.tflite").write_bytes(b"another model")
        server.waited("go on serving: Release model-2 cannot be trusted")
        assert counted(server, 4) == {"model-1": 4} and server.get("/health").status == 200
        time.sleep(2.5)
        assert sum("cannot be trusted" in line for line in server.lines) == 1


def test_a_canary_without_traffic_is_not_loaded(config, release):
    release()
    with served(config, canary="0") as server:
        release()
        time.sleep(5)
        assert server.get("/health").json["models"] == {"model-1": 100}
        assert sum(line.startswith(("Traffic", "Loading")) for line in server.lines) == 2


def test_of_numbered_versions_the_largest_is_served_as_by_tensorflow_serving(bright_or_dark, tmp_path):
    for version in ("2", "0010", "notes"):
        shutil.copytree(bright_or_dark, tmp_path / version)
    (tmp_path / "9").mkdir()
    (tmp_path / "99").write_bytes(b"no folder")
    with Served(tmp_path) as server:
        assert counted(server, 2) == {"model-10": 2}
        assert server.post({"instances": []}, "/v1/models/classification/versions/10:predict").status == 400


def test_versions_are_found_in_a_bucket_and_an_address_with_a_model_is_none_of_them(
    cloud_environment, gs_workspace, bright_or_dark, tmp_path
):
    for name in ("tflite", "device.json"):
        for version in ("1", "12"):
            cloud_environment.gcs.put(f"{gs_workspace}/{version}/{name}", (bright_or_dark / name).read_bytes())
    versions = Address(gs_workspace)
    assert versions.wanted() == {"model-12": 100} and Address(gs_workspace, "chosen").wanted() == {"chosen": 100}
    versions.fetch("model-12", str(tmp_path / "fetched"))
    assert sorted(os.listdir(tmp_path / "fetched")) == ["device.json", "tflite"]

    shutil.copytree(bright_or_dark, tmp_path / "model")
    shutil.copytree(bright_or_dark, tmp_path / "model" / "3")
    assert Address(str(tmp_path / "model")).wanted() == {"model": 100}


def test_a_named_release_is_served_for_good(config, release):
    release(), release()
    with served(config, "model-1") as server:
        assert counted(server, 4) == {"model-1": 4}
    assert not pathlib.Path(config.workspace, "serving").exists()
