"""The sections about a pair, on the card that is released with it."""

import dataclasses

from pipeline.outcomes import Escalation, Metrics
from pipeline.quality.pair_gate import Difference
from pipeline.reporting.model_card import card
from tests.pipeline.reporting.conftest import HOSTILE


def page(read, release, pair):
    (html,) = card(release, None, pair).values()
    return read(html.decode())


def test_a_card_shows_both_models_and_where_they_differ(release, read, pair):
    shown = page(read, release(), pair)

    assert shown.asks_for() == []
    rows = shown.texts("tr")
    assert "cat 100.0 % 95.3 % −4.7" in rows and "1 100.0 % 95.3 % −4.7" in rows
    assert "both get 61 right; only the cloud model 3, only the device model 0, neither 0" in shown.text
    assert "95.3 %" in shown.texts("dd") and "1.91 MB" in shown.texts("dd") and "0.26 ms" in shown.texts("dd")
    assert "for an image, on one thread of a processor" in shown.texts("dt")
    assert "confidence is below 61 %" in shown.text and "about 25 % of these images" in shown.text
    assert len([image for image in shown.all("img") if "device model" in image.get("alt")]) == 2
    cells = {cell.get("title"): cell.text for cell in shown.all("td") if cell.get("title")}
    assert cells["cat and on the device dog: 3"] == "3"


def test_a_card_draws_every_threshold_and_marks_the_chosen_one(release, read, pair):
    shown = page(read, release(), pair)

    assert [line.get("points") for line in shown.all("polyline")] == ["0.0,94.0 25.0,0.0 100.0,0.0"]
    (chosen,) = [dot for dot in shown.all("circle") if dot.get("r") == "7"]
    assert (chosen.get("cx"), chosen.get("cy")) == ("25.0%", "0.0%")
    rows = [row for row in shown.texts("tr") if "(chosen)" in row or row.startswith("0 ")]
    assert rows == ["0 % 0 % 100 % 95.3 %", "61 % (chosen) 25 % 75 % 100.0 %"]


def test_a_release_of_an_earlier_version_has_a_threshold_and_no_curve(release, read, pair):
    earlier = dataclasses.replace(pair.device, escalation=Escalation(0.61, 0.25, 1.0))

    shown = page(read, release(), dataclasses.replace(pair, device=earlier))

    assert "below 61 %" in shown.text and "How often to ask the cloud" not in shown.text


def test_a_card_shows_what_each_conversion_changes(release, read, pair):
    rows = page(read, release(), pair).texts("tr")

    assert "fp16 (this one) 1.91 MB 95.0 % 1 0.0040" in rows
    assert "int8 The device model cannot be converted to int8" in rows


def test_a_card_of_one_model_says_nothing_of_another(release, read):
    assert "device" not in page(read, release(), None).text


def test_of_many_labels_the_most_frequent_differences_are_listed(release, read, pair):
    for number in range(40):
        pair.agreement.add(Difference("", f"{number}", f"{number}", f"{number}", 0.9, 0.9), f"{number}")

    assert "cat dog 3" in page(read, release(), pair).texts("tr")


def test_of_many_spans_those_are_shown_that_the_device_model_is_worst_at(pair):
    per_span = {f"{number}": number / 200 for number in range(1, 151)}
    device = dataclasses.replace(pair.device, metrics=Metrics(0.5, 64, per_span))

    found = dataclasses.replace(pair, cloud=Metrics(0.5, 64, per_span), device=device).spans

    assert [both.name for both in found] == [f"{number}" for number in range(1, 101)]


def test_labels_of_any_kind_are_shown_as_they_are(release, read, pair):
    for name in HOSTILE:
        pair.agreement.add(Difference("1" * 64, name, name, "cat", 1.0, 1.0), "cat")
    images = {**pair.images, "1" * 64: next(iter(pair.images.values()))}

    shown = page(read, release(), dataclasses.replace(pair, images=images))

    assert shown.asks_for() == [] and all(name in shown.text for name in HOSTILE)
