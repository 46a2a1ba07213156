"""`clean` as people type it; what it finds is in tests/pipeline/cleaning."""

import os
import sys
import time

import pytest

from tests.clone import ROOT
from tests.conftest import put
from tests.documentation import commands, paste

OLD = 40 * 24 * 3600  # seconds


@pytest.fixture
def left(workspace) -> None:
    """Results of a node that are 40 days old, and others."""
    put(
        workspace / "pipeline_root/training",
        {"metadata.sqlite": b"", "Trainer/model/3/x": b"12", "Trainer/model/4/x": b"1"},
    )
    moment = time.time() - OLD
    for name in ("x", ""):
        os.utime(workspace / "pipeline_root/training/Trainer/model/3" / name, (moment, moment))


def test_the_plan_is_shown_and_nothing_is_deleted_without_yes(ci, workspace, left):
    shown = ci("clean", "--json")

    (item,) = shown.json["items"]
    assert (item["kind"], item["days"], item["bytes"]) == ("result of a node", 40, 2)
    assert item["name"] == str(workspace / "pipeline_root/training/Trainer/model/3") and item["why"]
    assert shown.json | {"items": []} == {
        "dry_run": True,
        "items": [],
        "bytes": 2,
        "deleted": 0,
        "failed": [],
        "notes": [],
    }
    assert "`--yes` deletes" in shown.err and f"{item['name']} (40 days old, 0.002" in shown.err
    assert os.path.isdir(item["name"])

    done = ci("clean", "--yes", "--json")
    assert (done.code, done.json["deleted"], done.json["bytes"]) == (0, 1, 2)
    assert f"deleted {item['name']}" in done.err and not os.path.exists(item["name"])
    assert (workspace / "pipeline_root/training/Trainer/model/4").is_dir()
    again = ci("clean", "--yes", "--json")
    assert (again.code, again.json["items"], again.json["deleted"]) == (0, [], 0)


def test_the_commands_of_the_page_show_what_is_old_and_delete_what_is_older(workspace, left):
    (script,) = commands("docs/operations.md#clean-up")

    printed = paste(script.replace(".venv/bin/python", sys.executable), ROOT, WORKSPACE=str(workspace))

    assert printed.count("Trainer/model/3 (40 days old") == 1, "only the first command is about 30 days"
    assert (workspace / "pipeline_root/training/Trainer/model/3").is_dir()


def test_the_days_are_a_number_from_0(ci, workspace, left):
    assert len(ci("clean", "--older-than", "0", "--json").json["items"]) == 2
    refused = ci("clean", "--older-than", "-1")
    assert refused.code == 2 and "Traceback" not in refused.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may delete everything")
def test_what_cannot_be_deleted_is_named_with_the_reason(ci, workspace, left):
    (workspace / "pipeline_root/training/Trainer/model").chmod(0o500)
    try:
        done = ci("clean", "--yes", "--json")
    finally:
        (workspace / "pipeline_root/training/Trainer/model").chmod(0o700)
    assert done.code == 1 and len(done.json["failed"]) == 1 and "Permission denied" in done.json["failed"][0]["reason"]
