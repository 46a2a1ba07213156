"""Verdicts that allow for chance."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.quality import comparison
from pipeline.quality.comparison import LABEL, OVERALL, SPAN, Finding, Pairs, Slice, compare


def on_spans(*spans: Pairs) -> tuple[Slice, list[Slice]]:
    """All images of some spans, and each span."""
    return Slice(OVERALL, "", sum(spans, Pairs(0, 0))), [Slice(SPAN, f"{n}", of) for n, of in enumerate(spans, 1)]


def findings(*spans: Pairs, margin: float = 0.02) -> list[Finding]:
    return [found.finding for found in compare(*on_spans(*spans), margin)]


@pytest.mark.parametrize("lost, gained", [(0, 0), (5, 0), (7, 2), (3, 9), (60, 35)])
def test_the_p_value_is_that_of_the_binomial_test(lost, gained):
    found = comparison.mcnemar(np.array(lost), np.array(lost + gained))

    expected = stats.binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1
    assert float(found) == pytest.approx(expected)


def test_one_image_of_fifteen_is_chance_and_seven_are_not():
    same = Pairs(100, 90)

    assert findings(Pairs(15, 14, lost=1), *[same] * 9)[1] is Finding.CHANCE
    assert findings(Pairs(15, 8, lost=7), *[same] * 9)[1] is Finding.WORSE


def test_a_loss_on_all_images_is_seen_where_no_span_shows_it_alone():
    found = findings(*[Pairs(30, 26, lost=2)] * 10)

    assert found == [Finding.WORSE] + [Finding.CHANCE] * 10


def test_a_loss_that_is_certainly_smaller_than_the_margin_is_allowed():
    large = Pairs(100_000, 90_000, lost=1000, gained=500)

    assert findings(large) == [Finding.ALLOWED] * 2
    assert findings(large, margin=0.0) == [Finding.WORSE] * 2
    assert findings(Pairs(1000, 500, lost=300), margin=1.0) == [Finding.ALLOWED] * 2


def test_a_span_of_few_images_counts_only_overall():
    overall, few, many = compare(*on_spans(Pairs(9, 0, lost=9), Pairs(100, 90)), 0.02)

    assert few.finding is Finding.FEW
    assert overall.finding is Finding.WORSE
    assert many.finding is Finding.CHANCE


def test_the_only_span_has_the_verdict_of_all_images():
    overall, span = compare(*on_spans(Pairs(100, 80, lost=12, gained=2)), 0.02)

    assert (span.finding, span.p, span.level) == (overall.finding, overall.p, overall.level)
    assert overall.level == comparison.ALPHA


def test_spans_on_which_the_models_agree_do_not_weaken_the_test_of_another_one():
    alone = compare(*on_spans(Pairs(100, 80, lost=9), Pairs(100, 90)), 0.02)
    among_many = compare(*on_spans(Pairs(100, 80, lost=9), *[Pairs(100, 90)] * 40), 0.02)

    assert alone[1].level == among_many[1].level


def test_every_guilty_span_is_named():
    bad, worse = Pairs(100, 70, lost=15, gained=1), Pairs(100, 60, lost=30)

    assert findings(bad, Pairs(100, 90), worse)[1:] == [Finding.WORSE, Finding.CHANCE, Finding.WORSE]


def test_the_interval_holds_the_difference_and_mirrors_when_the_models_are_exchanged():
    for lost, gained in itertools.product((0, 1, 5, 20), repeat=2):
        pairs = Pairs(50, 25, lost, gained)
        low, high = comparison.interval(pairs)
        assert -1 <= low <= pairs.difference <= high <= 1
        assert comparison.interval(Pairs(50, 25, gained, lost)) == pytest.approx((-high, -low))


def test_the_interval_is_that_of_tango():
    # the example of his article: one of 44 pairs differs
    assert comparison.interval(Pairs(44, 44, lost=0, gained=1)) == pytest.approx((-0.060, 0.118), abs=1e-3)


def test_power_is_the_sum_over_all_outcomes():
    images, lost, gained, level = 25, 0.3, 0.1, 0.05
    expected = sum(
        stats.multinomial.pmf([a, b, images - a - b], images, [lost, gained, 1 - lost - gained])
        for a in range(1, images + 1)
        for b in range(images - a + 1)
        if stats.binomtest(a, a + b, alternative="greater").pvalue <= level
    )

    assert comparison.power(images, lost, gained, level) == pytest.approx(expected)
    assert comparison.power(images, 0, gained, level) == 0


def test_what_could_have_been_seen_would_be_seen_in_80_of_100_cases():
    found, _ = compare(*on_spans(Pairs(1000, 900, lost=20, gained=20)), 0.02)
    loss = comparison.detectable(found, 0.02)

    seen = comparison.power(1000, 0.02 + loss, 0.02, found.level, 0.02)
    assert seen == pytest.approx(0.8, abs=0.02)
    few, _ = compare(*on_spans(Pairs(4, 4)), 0.02)
    assert comparison.detectable(few, 0.02) is None


def label(images: int, right: int) -> Slice:
    return Slice(LABEL, f"{right} of {images}", Pairs(images, right))


@pytest.mark.parametrize(
    "floor, lost",
    [(0.01, ["0 of 10", "0 of 300"]), (0.5, ["0 of 10", "0 of 300", "30 of 100"]), (0.0, [])],
)
def test_a_label_that_is_never_right_is_lost_if_it_has_enough_images(floor, lost):
    labels = [label(9, 0), label(10, 0), label(10, 4), label(300, 0), label(100, 30), label(100, 90)]

    assert [str(one.name) for one in comparison.lost_labels(labels, floor)] == lost


def test_a_gain_that_chance_does_not_explain_is_called_one():
    gained = Pairs(109, 99, gained=86)

    assert findings(gained, Pairs(100, 90)) == [Finding.BETTER, Finding.BETTER, Finding.CHANCE]
