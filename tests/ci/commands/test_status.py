"""The state of the loop, as `python -m ci status` shows it."""

import pytest

from pipeline.data import reports
from pipeline.data.incoming import collected, unlabelled
from pipeline.outcomes import EvaluationOutcome, Metrics
from pipeline.releases.factory import open_releases
from pipeline.serving import device_channel
from pipeline.storage.factory import open_storage
from tests.conftest import EMPTY_MODEL, Workspace, jpeg, report_training
from tests.devices import Devices


@pytest.fixture
def release(workspace, tmp_path):
    """Releases a model and reports the training on the spans that it was made of."""

    def publish(*spans):
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        (model / "saved_model.pb").write_bytes(EMPTY_MODEL)
        made = {"commit": "", "modules_digest": "", "labels": ["cat", "dog"], "metrics": Metrics(), "previous": None}
        released = open_releases(str(workspace / "releases")).publish(
            str(model), identity=str(spans), spans=spans, **made
        )
        report_training(open_storage(str(workspace)), spans, released.tag)
        return released.tag

    return publish


@pytest.fixture
def evaluated(workspace):
    """Reports an evaluation."""

    def save(release, images, accuracy, should_retrain):
        storage = open_storage(str(workspace))
        waiting = collected.waiting(storage)
        outcome = EvaluationOutcome(
            release, images, accuracy, (0.0, 1.0), {}, should_retrain, 0.8, waiting.images, waiting=waiting.digest
        )
        reports.save_evaluation(storage, outcome, {("cat", "dog"): images}, {})

    return save


def test_in_an_empty_workspace_the_first_step_is_to_import_images(ci, workspace):
    done = ci("status", "--json")

    assert done.code == 0
    following = done.json["next"]
    assert following["action"] == "import-images" and following["why"]
    empty = {
        "spans": [],
        "releases": [],
        "collected": 0,
        "unlabelled": 0,
        "last_training": None,
        "last_evaluation": None,
        "history": None,
    }
    empty |= {
        "corrected": [],
        "saw_withdrawn": {},
        "serving": {"endpoint": None, "devices": None, "server": None, "problems": []},
    }
    assert done.json == empty | {"next": following, "action": following["action"]}
    assert not workspace.exists()


def test_each_step_of_the_loop_is_shown(ci, collect, release, evaluated):
    collect(4)
    ci("prepare-span")
    fields = ci("status", "--json").json
    assert fields["spans"] == [{"span": 1, "images": 4, "labels": {"cat": 2, "dog": 2}}]
    assert (fields["collected"], fields["next"]["action"]) == (0, "train")

    assert release(1) == "model-1"
    fields = ci("status", "--json").json
    assert (fields["releases"], fields["next"]["action"]) == (["model-1"], "wait")

    collect(9)
    fields = ci("status", "--json").json
    assert (fields["collected"], fields["next"]["action"]) == (9, "evaluate")

    evaluated("model-1", 9, 0.25, should_retrain=True)
    fields = ci("status", "--json").json
    assert fields["last_evaluation"]["release"] == "model-1" and fields["last_evaluation"]["accuracy"] == 0.25
    assert fields["next"]["action"] == "retrain" and "25.0\u202f%" in fields["next"]["why"]

    ci("prepare-span")
    assert release(1, 2) == "model-2"
    fields = ci("status", "--json").json
    assert [span["span"] for span in fields["spans"]] == [1, 2]
    assert (fields["releases"], fields["next"]["action"]) == (["model-2", "model-1"], "wait")


def test_people_read_all_of_it_in_lines(ci, collect, release, evaluated, workspace):
    collect(4)
    ci("prepare-span")
    collect(9)
    evaluated(release(1), 9, 0.25, should_retrain=True)

    lines = ci("status").out.splitlines()

    assert lines[:3] == ["span 1: 4 images: cat 2, dog 2", "releases: model-1", "collected: 9 images"]
    evaluated = "last evaluation: model-1 got 25.0\u202f% of 9 images right"
    assert lines[3] == "last training: released as model-1"
    assert lines[4].startswith(f"{evaluated}, report in {workspace}/reports/")
    assert lines[5].startswith("next: retrain, because model-1 ")


def test_releases_on_github_are_shown_too(ci, cloud):
    record = {"model.tar.gz": b"x", "model.json": b"{}"}
    for number in (9, 10):
        cloud.github.releases.add(f"model-{number}", record)
    cloud.github.releases.add("model-11", record, draft=True)
    where = {**cloud.environment, "RELEASES": f"github:{cloud.github.repository}"}

    assert ci("status", "--json", **where, GITHUB_TOKEN=cloud.github.token(contents="read")).json["releases"] == [
        "model-10",
        "model-9",
    ]

    done = ci("status", **where, GITHUB_TOKEN="wrong")
    assert done.code == 1 and done.err.startswith("error: Listing the releases in github:acme/widget failed: ")
    assert done.err.count("\n") == 1 and "Set GITHUB_TOKEN" in done.err


def test_the_channels_of_devices_are_shown_or_why_they_cannot_be(ci, tmp_path):
    devices = Devices(Workspace(tmp_path / "workspace"), tmp_path)
    for number in (1, 2):
        device_channel.publish(devices.config, devices.release(number))

    done = ci("status", "--json", **devices.variables)

    assert done.json["serving"]["devices"]["beta"]["previous"] == "model-1"
    assert "devices: stable model-1 100 %, beta model-2 10 % (others model-1)" in done.err
    without = ci("status", "--json", **devices.variables | {"DEVICE_SIGNING_KEY": "absent.pem"})
    assert without.code == 0 and without.json["serving"]["devices"] is None
    assert "devices: DEVICE_SIGNING_KEY (absent.pem): No such file" in without.err


def test_pictures_that_clients_found_hard_are_counted(ci, workspace):
    storage = open_storage(str(workspace))
    for number in (1, 2):
        unlabelled.add(storage, jpeg(number))

    assert "unlabelled: 2 pictures, see docs/devices.md" in ci("status").out
    assert ci("status", "--json").json["unlabelled"] == 2
