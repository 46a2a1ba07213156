"""The claims about verdicts, on fewer draws than the benchmark has."""

import itertools

import pytest

from benchmarks import verdicts
from benchmarks.verdicts import DIFFERING, MARGIN, OVERALL, SPAN, Case


@pytest.mark.parametrize("spans", [1, 10, 50])
def test_of_equally_good_models_at_most_5_in_100_are_refused(spans):
    for images, differing in itertools.product((10, 100, 1000), DIFFERING):
        refused, _ = verdicts.share(Case(spans, images, differing), times=200)
        assert refused <= 0.05 + 0.03  # three standard errors of the draws


def test_an_absolute_margin_refuses_equally_good_models_the_more_spans_there_are():
    assert verdicts.share(Case(20, 100, 0.04), times=200)[1] > 0.8


@pytest.mark.parametrize("where, times", [*itertools.product((OVERALL, SPAN), (1, 2, 5))])
def test_worse_models_are_refused_as_often_as_the_exact_test_allows(where, times):
    for spans, images in ((1, 100), (1, 1000), (10, 100), (10, 1000)):
        case = Case(spans, images, 0.04, times * MARGIN, where)
        assert verdicts.share(case, times=200)[0] >= case.theory() - 0.05 - 0.05


def test_a_loss_of_twice_the_margin_on_a_thousand_images_is_refused():
    case = Case(1, 1000, 0.04, 2 * MARGIN)

    assert case.theory() > 0.9
    assert verdicts.share(case, times=200)[0] > 0.9


def test_a_model_that_lost_a_label_is_always_refused():
    assert not any(verdicts.keeps_a_lost_label(images, labels=10) for images in range(10, 1001))
    assert verdicts.keeps_a_lost_label(9, labels=10)
