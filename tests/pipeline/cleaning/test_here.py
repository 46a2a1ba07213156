"""What runs on this machine left, and what is not theirs."""

import os
import shutil
import threading
import time

import pytest

from pipeline.cleaning import here, plan
from pipeline.cleaning.item import DAY, Search
from pipeline.config import Config
from pipeline.data import reports
from pipeline.errors import StorageError
from pipeline.storage.folder import Folder
from tests.conftest import put
from tests.pipeline.data.test_reports import TRAINING

ROOT = "pipeline_root/training"


@pytest.fixture
def folder(tmp_path):
    """A workspace after two runs, with things of its user."""
    files = {
        f"{ROOT}/metadata.sqlite": b"TFX",
        f"{ROOT}/Trainer/model/3/Format-Serving/saved_model.pb": b"1234",
        f"{ROOT}/Trainer/model/7/.hidden": b"12",
        f"{ROOT}/Trainer/notes/mine.txt": b"mine",
        f"{ROOT}/checkpoints/0c1d/epoch-1": b"1",
        "pipeline_root/of-a-user/Trainer/model/3/x": b"mine",
        "logs/training-20261127T120000.000000Z.log": b"log",
        "logs/mine.log": b"mine",
        "spans/readme": b"1",
    }
    put(tmp_path / "workspace", files)
    return tmp_path / "workspace"


def search(folder, days: int = 30, later: float = 40) -> Search:
    return Search(Config(workspace=str(folder)), days, now=time.time() + later * DAY)


def test_results_of_nodes_checkpoints_and_logs_are_deleted_and_what_is_not_ours_stays(folder):
    found = plan.find(search(folder)).items

    assert {item.name.removeprefix(f"{folder}/"): item.bytes for item in found} == {
        f"{ROOT}/Trainer/model/3": 4,
        f"{ROOT}/Trainer/model/7": 2,
        f"{ROOT}/checkpoints/0c1d": 1,
        "logs/training-20261127T120000.000000Z.log": 3,
    }
    assert plan.find(search(folder, later=20)).items == ()
    assert plan.remove(found, lambda item: None) == [] == list(plan.find(search(folder)).items)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert [name for name in left if "lock" not in name] == [
        "logs/mine.log",
        "pipeline_root/of-a-user/Trainer/model/3/x",
        f"{ROOT}/Trainer/notes/mine.txt",
        f"{ROOT}/metadata.sqlite",
        "spans/readme",
    ]


def test_nothing_behind_a_link_is_found_or_deleted(folder, tmp_path):
    outside = tmp_path / "outside"
    put(outside, {"metadata.sqlite": b"", "Trainer/model/3/x": b"theirs", "keep": b"theirs"})
    (folder / ROOT / "Trainer/model/9").symlink_to(outside)
    (folder / "pipeline_root/retraining").symlink_to(outside)
    (folder / "modules").symlink_to(outside)

    assert not [item for item in plan.find(search(folder)).items if "/9" in item.name or "retraining" in item.name]
    for name in (f"{ROOT}/Trainer/model/9", "modules/Trainer", "modules"):
        with pytest.raises(StorageError, match="a link is in the place"):
            Folder(str(folder)).delete_folder(name)
        with pytest.raises(StorageError, match="a link is in the place"):
            list(Folder(str(folder)).list_dated(name))
    assert (outside / "Trainer/model/3/x").read_bytes() == b"theirs"


def test_a_shard_that_a_span_has_too_counts_no_bytes(folder):
    shard = folder / f"{ROOT}/SpanExampleGen/examples/1/Split-train/1.tfrecord"
    shard.parent.mkdir(parents=True)
    os.link(folder / "spans/readme", shard)

    (item,) = (item for item in plan.find(search(folder)).items if "SpanExampleGen" in item.name)

    assert item.bytes == 0
    plan.remove([item], lambda item: None)
    assert (folder / "spans/readme").read_bytes() == b"1"


def test_what_another_process_deletes_meanwhile_is_left_out(folder):
    found = here.results(search(folder))
    assert next(found).name == f"{folder}/{ROOT}/Trainer/model/3"
    shutil.rmtree(folder / ROOT / "Trainer")

    assert [item.name for item in found] == [f"{folder}/{ROOT}/checkpoints/0c1d"]


def test_results_stay_while_their_pipeline_runs(folder):
    """Deleting waits for the end of the run, as another run would."""
    item, *_ = plan.find(search(folder)).items
    storage = search(folder).storage
    cleaner = threading.Thread(target=item.remove, daemon=True)
    with storage.exclusive("training"):
        cleaner.start()
        cleaner.join(0.3)
        assert cleaner.is_alive() and os.path.isdir(item.name)
    cleaner.join(60)
    assert not os.path.exists(item.name)


def test_reports_of_a_folder_are_deleted_but_for_the_newest(folder):
    storage = Folder(str(folder))
    for number in (1, 2):
        outcome = TRAINING.__class__(**{**TRAINING.__dict__, "release": None, "current": None})
        reports.save_training(storage, outcome, identity=f"{number}", modules_digest="9d", commit="c0ffee")

    (item,) = (item for item in plan.find(search(folder)).items if item.kind == "report")
    plan.remove([item], lambda item: None)

    (left,) = reports.trainings(storage)
    assert left.identity == "2" and not os.path.exists(item.name)
