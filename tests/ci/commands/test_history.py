"""One page about everything that happened in a workspace."""

from pipeline.outcomes import Metrics
from pipeline.releases.factory import open_releases
from pipeline.storage.factory import open_storage
from tests.conftest import EMPTY_MODEL, report_training


def test_the_page_lies_beside_the_reports_and_status_names_it(ci, workspace, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(EMPTY_MODEL)
    made = {"commit": "", "modules_digest": "", "labels": ["cat"], "metrics": Metrics(), "previous": None}
    open_releases(str(workspace / "releases")).publish(str(tmp_path / "model"), identity="5e", spans=(1,), **made)
    report_training(open_storage(str(workspace)), (1,), "model-1")
    assert ci("status", "--json").json["history"] is None

    done = ci("history", "--json")

    page = workspace / "reports" / "history.html"
    assert done.code == 0
    assert done.json == {"page": str(page), "trainings": 1, "releases": ["model-1"], "evaluations": 0}
    assert "released as model-1" in page.read_text()
    assert ci("status", "--json").json["history"] == str(page)
    assert f"history: {page}" in ci("status").out


def test_an_empty_workspace_has_a_page_too(ci, workspace):
    assert ci("history").code == 0
    assert "No model was released yet" in (workspace / "reports" / "history.html").read_text()
