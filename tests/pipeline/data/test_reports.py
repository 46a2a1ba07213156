"""What was found out is kept."""

import concurrent.futures
import json

import pytest

from pipeline.data import reports
from pipeline.errors import StorageError
from pipeline.storage.factory import open_storage


def test_a_report_is_a_folder_with_its_outcome_and_files(storage, workspace):
    address = reports.save(storage, "evaluation", {"accuracy": 0.5}, {"page.html": b"<p>"})

    (name,) = {name.split("/")[0] for name in workspace.files("reports")}
    assert address == f"{workspace.address}/reports/{name}"
    assert set(workspace.files(f"reports/{name}")) == {"outcome.json", "page.html"}
    told = json.loads(workspace.read(f"reports/{name}/outcome.json"))
    assert told["accuracy"] == 0.5 and told["kind"] == "evaluation"
    assert reports.newest(storage, "evaluation") == told | {"address": address}
    assert reports.newest(storage, "training") is None


def test_reports_come_oldest_first_and_by_kind(storage):
    for number in range(12):
        reports.save(storage, "training", {"number": number}, {})
    reports.save(storage, "evaluation", {"number": 100}, {})

    assert [report["number"] for report in reports.every(storage, "training")] == list(range(12))
    assert reports.newest(storage, "training")["number"] == 11


def test_a_report_without_its_outcome_does_not_exist(storage, workspace):
    names = ("training-20991122T000000Z-1/page.html", "training-notes/outcome.json")
    workspace.put({f"reports/{name}": b"{}" for name in names})

    assert reports.every(storage, "training") == []
    assert reports.newest(storage, "training") is None


def test_an_outcome_that_cannot_be_read_is_named(storage, workspace):
    workspace.put({"reports/training-20991122T000000Z-1/outcome.json": b"{"})

    with pytest.raises(StorageError, match="training-20991122T000000Z-1/outcome.json cannot be read"):
        reports.every(storage, "training")


def test_reports_at_the_same_time_do_not_mix(storage, workspace):
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for number in range(4):
            place = open_storage(workspace.address)
            threads.submit(reports.save, place, "training", {"number": number}, {"number": b"%d" % number})

    found = reports.every(storage, "training")
    assert {report["number"] for report in found} == set(range(4))
    for report in found:
        name = report["address"].removeprefix(f"{workspace.address}/")
        assert workspace.read(f"{name}/number") == b"%d" % report["number"]


def test_there_are_two_kinds(storage):
    with pytest.raises(ValueError):
        reports.save(storage, "gossip", {}, {})


def test_a_file_that_comes_later_is_kept_with_its_report_and_the_first_one_stays(storage):
    reports.save(storage, "training", {"number": 1}, {})
    reports.save(storage, "training", {"number": 2}, {})
    older, newer = reports.every(storage, "training")
    for data in (b"first", b"second"):
        reports.attach(storage, older, reports.DURATIONS, data)

    assert reports.attached(storage, older, reports.DURATIONS) == b"first"
    assert reports.attached(storage, newer, reports.DURATIONS) is None
    assert reports.every(storage, "training") == [older, newer]


def test_what_nodes_took_is_with_the_outcome_or_beside_it_or_not_known(storage):
    took = [{"node": "Trainer", "state": "done", "seconds": 1.5}]
    reports.save(storage, "training", {"durations": took}, {})
    reports.save(storage, "training", {}, {})
    reports.save(storage, "training", {}, {})
    inside, beside, unknown = reports.every(storage, "training")
    reports.attach(storage, beside, reports.DURATIONS, json.dumps(took).encode())

    assert reports.durations(storage, inside) == reports.durations(storage, beside) == took
    assert reports.durations(storage, unknown) == []
