import datetime

import pytest

from pipeline.data.reports import EvaluationReport, TrainingReport
from pipeline.outcomes import EvaluationOutcome, Metrics, TrainingOutcome
from pipeline.reporting.history_page import History, history_page
from tests.pipeline.reporting.conftest import HOSTILE

NOW = datetime.datetime(2026, 11, 22, 12, 30, tzinfo=datetime.timezone.utc)


def training(number, release, per_span, per_label=None, reasons=()):
    values = list(per_span.values())
    metrics = Metrics(sum(values) / len(values), 40, per_span, per_label or {"cat": 0.9})
    address = f"/w/reports/training-20261122T120000Z-{number:05d}"
    outcome = TrainingOutcome(
        tuple(map(int, per_span)), bool(release), metrics, release, reasons, page=f"{address}/report.html"
    )
    return TrainingReport(outcome, "5e", "9d", "c0ffee", f"2026-11-22T12:0{number}:00Z", address)


def evaluation(number, release, accuracy, images=10):
    interval = (0.1, 0.9) if images else None
    outcome = EvaluationOutcome(release, images, accuracy, interval, {}, bool(images), 0.8, 12)
    address = f"gs://bucket/w/reports/evaluation-20261122T120000Z-{number:05d}"
    return EvaluationReport(outcome, {}, f"2026-11-22T12:0{number}:00Z", address)


REPORTS = [
    training(1, "model-1", {"1": 0.9}),
    evaluation(2, "model-1", 0.5),
    training(3, None, {"1": 0.7, "2": 0.6}, reasons=("span 1: 14 of 20 right, model-1 18 of 20: worse",)),
    training(4, "model-2", {"1": 0.95, "2": 0.85}, {"cat": 0.9, "dog": 0.8}),
    evaluation(5, "model-2", None, images=0),
]


def shown(read, reports=REPORTS, traffic=None):
    return read(history_page(History(reports, NOW, "model-2", traffic or {}, 0.8)))


def test_everything_that_happened_is_listed_newest_first(read):
    page = shown(read)

    entries = page.texts("li")
    assert [text.split()[0] for text in entries] == ["evaluation", "model-2", "training", "evaluation", "model-1"]
    assert "None of 12 collected images could be evaluated." in entries[0]
    assert "Trained on spans 1 and 2: 90.0 % of 40 images right, released as model-2." in entries[1]
    assert "Retrained on spans 1 and 2: 65.0 % of 40 images right, not released." in entries[2]
    assert "span 1: 14 of 20 right, model-1 18 of 20: worse" in entries[2]
    assert "model-1 gets 50.0 % of 10 collected images right: retrain" in entries[3]
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert facts == {
        "releases": "2",
        "trainings that were not released": "1",
        "evaluations on collected images": "2",
    }


def test_spans_and_labels_are_followed_from_release_to_release(read):
    rows = shown(read).texts("tr")

    assert "1 90.0 % 95.0 % +5.0" in rows
    assert "2 85.0 % 85.0 % ±0.0" in rows and "dog 80.0 % 80.0 % ±0.0" in rows


def test_it_links_the_reports_pages_beside_it_and_asks_for_nothing_else(read):
    page = shown(read)

    assert [link for link in page.asks_for()] == [link.get("href") for link in page.all("a")]
    assert page.all("a")[0].get("href") == "training-20261122T120000Z-00004/report.html"
    assert page.all("a")[-2].get("href") == "evaluation-20261122T120000Z-00002/report.html"


def test_what_the_endpoint_serves_is_named(read):
    assert (
        "The endpoint serves model-1 (90 %), model-2 (10 %)."
        in shown(read, traffic={"model-1": 90, "model-2": 10}).text
    )


@pytest.mark.parametrize("reports", [[], [evaluation(1, "model-1", 0.5)], [training(1, None, {"1": 0.2})]])
def test_a_workspace_without_releases_has_a_page(read, reports):
    assert "No model was released yet" in read(history_page(History(reports, NOW, None, {}, 0.8))).text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_label_does_nothing(read, hostile):
    reports = [training(1, "model-1", {"1": 0.9}, {hostile: 0.5}, reasons=(hostile,))]

    assert shown(read, reports).asks_for() == ["training-20261122T120000Z-00001/report.html"]
