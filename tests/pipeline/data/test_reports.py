"""What was found out is kept."""

import json
import multiprocessing

import pytest

from pipeline.data import reports
from pipeline.data.storage import open_storage
from pipeline.errors import StorageError
from tests.conftest import files_in, put


def test_a_report_is_a_folder_with_its_outcome_and_files(storage, workspace):
    address = reports.save(storage, "evaluation", {"accuracy": 0.5}, {"page.html": b"<p>"})

    folder = workspace.root / "reports" / address.rpartition("/")[2]
    assert address == str(folder)
    assert set(files_in(folder)) == {"outcome.json", "page.html"}
    told = json.loads((folder / "outcome.json").read_text())
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
    put(
        workspace.root / "reports", {"training-20991122T000000Z-1/page.html": b"", "training-notes/outcome.json": b"{}"}
    )

    assert reports.every(storage, "training") == []
    assert reports.newest(storage, "training") is None


def test_an_outcome_that_cannot_be_read_is_named(storage, workspace):
    put(workspace.root / "reports", {"training-20991122T000000Z-1/outcome.json": b"{"})

    with pytest.raises(StorageError, match="training-20991122T000000Z-1/outcome.json cannot be read"):
        reports.every(storage, "training")


def save(workspace: str, number: int) -> None:
    reports.save(open_storage(workspace), "training", {"number": number}, {"number": b"%d" % number})


def test_reports_at_the_same_time_do_not_mix(storage, workspace):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=save, args=(str(workspace.root), number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    found = reports.every(storage, "training")
    assert {report["number"] for report in found} == set(range(4))
    for report in found:
        with open(f"{report['address']}/number", "rb") as file:
            assert file.read() == b"%d" % report["number"]


def test_there_are_two_kinds(storage):
    with pytest.raises(ValueError):
        reports.save(storage, "gossip", {}, {})
