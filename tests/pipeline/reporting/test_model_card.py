import dataclasses

import pytest

from pipeline.outcomes import CurrentModel, Metrics
from pipeline.reporting.model_card import CARD, ModelCard, card, notes
from tests.pipeline.reporting.conftest import HOSTILE

METRICS = Metrics(0.9375, 64, {"1": 0.95, "2": 0.925}, {"cat": 0.96875, "dog": 0.90625})
BEFORE = Metrics(0.75, 64, {"1": 0.96, "2": 0.5}, {"cat": 0.75, "dog": 0.75})


@pytest.fixture
def released(release):
    def make(**fields):
        return dataclasses.replace(release("model-2", (1, 2), "model-1"), **({"metrics": METRICS} | fields))

    return make


def against(**fields):
    return dataclasses.replace(CurrentModel("model-1", BEFORE), **fields)


def page(read, release, current):
    (made,) = card(release, current).items()
    assert made[0] == CARD == "model-card.html"
    return read(made[1].decode())


def test_a_card_is_one_well_formed_page_that_asks_for_nothing(released, read):
    for current in (None, against()):
        shown = page(read, released(), current)
        assert shown.asks_for() == []
        assert shown.texts("title") == ["model-2: 93.8\u202f% of 64 images right".replace("\u202f", " ")]


def test_the_first_model_is_shown_alone(released, read):
    shown = page(read, released(previous=None), None)
    assert "there was none to compare it with" in shown.text and "model-1" not in shown.text
    assert "cat 96.9 %" in shown.texts("tr") and "1 95.0 %" in shown.texts("tr")


def test_both_models_are_compared_on_the_same_spans_and_labels(released, read):
    shown = page(read, released(), against())
    rows = shown.texts("tr")
    assert "1 95.0 % 96.0 % −1.0" in rows and "2 92.5 % 50.0 % +42.5" in rows
    assert "cat 96.9 % 75.0 % +21.9" in rows and "dog 90.6 % 75.0 % +15.6" in rows
    widths = [bar.get("width") for bar in shown.all("rect") if bar.get("class") in ("after", "before")]
    assert widths == ["95.0%", "96.0%", "92.5%", "50.0%", "96.875%", "75.0%", "90.625%", "75.0%"]


def test_a_label_that_the_model_before_did_not_know_has_no_change(released, read):
    current = against(new_labels=("dog",), metrics=dataclasses.replace(BEFORE, per_label={"cat": 0.75}))
    shown = page(read, released(), current)
    assert "model-1 does not know dog: each image of it counts as wrong" in shown.text
    assert "dog 90.6 % – –" in shown.texts("tr")


def test_lineage_inputs_and_outputs_are_shown(released, read):
    shown = page(read, released(), against())
    for text in ("c0ffee" * 6 + "beef", "9d" * 32, "ab" * 32, "spans 1 and 2", "compared with model-1"):
        assert text in shown.text
    image = f"europe-docker.pkg.dev/p/images/pipelines@sha256:{'1a' * 32}"
    assert image in page(read, released(image=image), None).text
    for name in ("image", "label", "confidence", "probabilities", "all_classes"):
        assert name in shown.texts("code")
    assert "float32 [batch, 2]" in shown.text and "one of cat, dog" in shown.text


def test_hostile_labels_are_shown_and_do_nothing(released, read):
    metrics = dataclasses.replace(METRICS, per_label=dict.fromkeys(HOSTILE, 0.5))
    worse = dataclasses.replace(BEFORE, per_label=dict.fromkeys(HOSTILE, 0.25))
    current = against(metrics=worse, new_labels=tuple(HOSTILE))
    shown = page(read, released(labels=tuple(HOSTILE), metrics=metrics), current)
    assert shown.asks_for() == []
    for label in HOSTILE:
        assert label in shown.text


def test_of_thousands_of_labels_the_worst_are_shown(released, read):
    labels = {f"label {n:04d}": n / 3000 for n in range(3000)}
    shown = page(read, released(labels=tuple(labels), metrics=dataclasses.replace(METRICS, per_label=labels)), None)
    assert f"The {ModelCard.most_rows} of 3,000 labels that are worst" in shown.text
    assert "label 0099" in shown.texts("th") and "label 0100" not in shown.texts("th")
    assert len(shown.html) < 100_000


def test_notes_say_how_good_it_is_and_what_made_it(released):
    text = notes(released())
    assert text.startswith("**93.8\u202f%** of 64 images that were kept out of training.")
    assert "| trained on | spans 1 and 2 |" in text and "| compared with | `model-1` |" in text
    assert f"| modules | `{'9d' * 32}` |" in text and f"| `model.tar.gz` | sha256 `{'ab' * 32}` |" in text
    image = f"europe-docker.pkg.dev/p/images/pipelines@sha256:{'1a' * 32}"
    assert "| image |" not in text and f"| image | `{image}` |" in notes(released(image=image))


def test_notes_of_a_hostile_release_stay_a_table(released):
    hostile = "`@octocat` | <img src=x> [x](https://example.org)\n::error::x"
    text = notes(released(commit=hostile, files={hostile: hostile}))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.count("|") == 3 for row in rows)
    assert "\n::" not in text and all(part.count("`") % 2 == 0 for part in rows)


def test_a_release_of_automl_names_its_model_on_vertex_ai(released, read):
    model = "projects/p/locations/europe-west1/models/12@1"
    release = released(flavour="automl", cloud_model=model, modules_digest="")

    shown = page(read, release, None)

    assert model in shown.text and "SavedModel" not in shown.text
    assert model in notes(release) and "| modules |" not in notes(release)
