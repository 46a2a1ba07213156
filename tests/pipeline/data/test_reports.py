"""Reports are kept in folders of the workspace and read back as they were written."""

import concurrent.futures
import dataclasses
import json

import pytest

from pipeline.data import reports
from pipeline.errors import StorageError
from pipeline.outcomes import CurrentModel, EvaluationOutcome, Metrics, NodeDuration, Rejected, TrainingOutcome
from pipeline.storage.factory import open_storage

METRICS = Metrics(0.75, 40, {"1": 0.7, "2": 0.8}, {"cat": 0.75})
TRAINING = TrainingOutcome((1, 2), True, METRICS, "model-2", (), CurrentModel("model-1", METRICS, ("zebra",)))
EVALUATION = EvaluationOutcome(
    release="model-1",
    images=2,
    accuracy=0.5,
    interval=(0.1, 0.9),
    per_label={"cat": 1.0, "dog": 0.0},
    should_retrain=True,
    threshold=0.8,
    collected=3,
    unusable=1,
    skipped=(Rejected("cut.jpg", "ends early"),),
    unknown_labels={"dog": 1},
)
CONFUSION = {("cat", "cat"): 1, ("dog", "cat"): 1}


def save_training(storage, number: int = 1, **fields) -> str:
    """Writes the report of a training whose identity is `number`."""
    outcome = dataclasses.replace(TRAINING, **fields)
    return reports.save_training(storage, outcome, identity=f"{number}", modules_digest="9d", commit="c0ffee")


def test_an_evaluation_is_a_folder_with_its_outcome_and_files(storage, workspace):
    address = reports.save_evaluation(storage, EVALUATION, CONFUSION, {"page.html": b"<p>"})

    (name,) = {name.split("/")[0] for name in workspace.files("reports")}
    assert address == f"{workspace.address}/reports/{name}"
    assert set(workspace.files(f"reports/{name}")) == {"outcome.json", "page.html"}
    written = json.loads(workspace.read(f"reports/{name}/outcome.json"))
    assert written["accuracy"] == 0.5 and written["kind"] == "evaluation"
    assert written["confusion"] == [["cat", "cat", 1], ["dog", "cat", 1]]
    report = reports.newest_evaluation(storage)
    assert report == reports.EvaluationReport(EVALUATION, CONFUSION, written["created"], address)
    assert json.loads(json.dumps(report.to_json())) == written | {"address": address}
    assert reports.newest_training(storage) is None


def test_a_training_is_read_as_it_was_written(storage, workspace):
    address = save_training(storage)

    report = reports.newest_training(storage)
    assert report == reports.TrainingReport(TRAINING, "1", "9d", "c0ffee", report.created, address)
    (written,) = workspace.files("reports").values()
    assert json.loads(json.dumps(report.to_json())) == json.loads(written) | {"address": address}
    assert reports.newest_evaluation(storage) is None and reports.trained_spans(storage) == {1, 2}


def test_trainings_come_oldest_first(storage):
    for number in range(12):
        save_training(storage, number)
    reports.save_evaluation(storage, EVALUATION, CONFUSION, {})

    assert [report.identity for report in reports.trainings(storage)] == [str(number) for number in range(12)]
    assert reports.newest_training(storage).identity == "11"


def test_a_report_without_its_outcome_does_not_exist(storage, workspace):
    names = ("training-20991122T000000Z-1/page.html", "training-notes/outcome.json")
    workspace.put({f"reports/{name}": b"{}" for name in names})

    assert reports.trainings(storage) == []
    assert reports.newest_training(storage) is None


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"null", b'{"spans": 1}'])
@pytest.mark.parametrize("of, read", [("training", reports.trainings), ("evaluation", reports.newest_evaluation)])
def test_an_outcome_that_cannot_be_read_is_named(storage, workspace, of, read, content):
    workspace.put({f"reports/{of}-20991122T000000Z-1/outcome.json": content})

    with pytest.raises(StorageError, match=f"{of}-20991122T000000Z-1/outcome.json: cannot be read"):
        read(storage)


def test_a_report_of_an_earlier_version_lacks_what_was_not_written_then(storage, workspace):
    early = {name: value for name, value in TRAINING.to_json().items() if name != "durations"}
    early |= {"created": "2025-01-01T00:00:00Z", "identity": "1"}
    workspace.put({"reports/training-20250101T000000Z-1/outcome.json": json.dumps(early).encode()})

    (report,) = reports.trainings(storage)
    assert report.outcome == TRAINING and (report.modules_digest, report.commit) == ("", "")


def test_reports_at_the_same_time_do_not_mix(storage, workspace):
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for number in range(4):
            place, outcome = open_storage(workspace.address), dataclasses.replace(EVALUATION, images=number)
            threads.submit(reports.save_evaluation, place, outcome, {}, {"number": b"%d" % number})

    names = {name.split("/")[0] for name in workspace.files("reports")}
    found = {
        workspace.read(f"reports/{name}/number"): json.loads(workspace.read(f"reports/{name}/outcome.json"))["images"]
        for name in names
    }
    assert found == {b"%d" % number: number for number in range(4)}


def test_durations_are_in_the_outcome_or_beside_it_or_not_known(storage):
    durations = (NodeDuration("Trainer", "done", 1.5),)
    save_training(storage, durations=durations)
    save_training(storage)
    save_training(storage)
    inside, beside, unknown = reports.trainings(storage)
    reports.add_durations(storage, beside, durations)
    reports.add_durations(storage, beside, [NodeDuration("Trainer", "unchanged", 0.5)])  # the first ones stay

    assert reports.durations(storage, inside) == reports.durations(storage, beside) == durations
    assert reports.durations(storage, unknown) == ()
    assert reports.trainings(storage) == [inside, beside, unknown]


def test_the_page_of_a_training_is_found_where_its_report_is(storage, workspace):
    outcome = TrainingOutcome(spans=(1,), blessed=False, metrics=Metrics())
    address = reports.save_training(storage, outcome, identity="5e", modules_digest="9d", commit="", page="<p>")

    assert reports.newest_training(storage).outcome.page == f"{address}/report.html"
    assert list(workspace.files("reports").values()).count(b"<p>") == 1


def test_a_training_that_was_not_run_again_keeps_the_address_of_its_page(storage):
    outcome = TrainingOutcome(spans=(1,), blessed=False, metrics=Metrics(), page="/w/reports/training-1/report.html")
    reports.save_training(storage, outcome, identity="5e", modules_digest="9d", commit="")

    assert reports.newest_training(storage).outcome == outcome


def test_a_report_follows_those_that_were_there_even_if_their_clock_was_ahead(storage, workspace):
    early = TrainingOutcome(spans=(7,), blessed=False, metrics=Metrics()).to_json()
    for name, created in (("20991122T000000Z-2", "2099-11-22T00:00:00Z"), ("20991122T000000Z-00001", "2099")):
        outcome = early | {"identity": name, "created": created}
        workspace.put({f"reports/training-{name}/outcome.json": json.dumps(outcome).encode()})
    for number in (3, 4):
        save_training(storage, number)

    found = [training.identity for training in reports.trainings(storage)]
    assert found == ["20991122T000000Z-2", "20991122T000000Z-00001", "3", "4"]
    assert reports.newest_training(storage).identity == "4"
