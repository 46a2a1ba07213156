import datetime

import pytest

from pipeline.formatting import (
    change,
    counted,
    device_percent,
    duration,
    listed,
    megabytes,
    milliseconds,
    moment,
    percent,
    threshold,
)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.9724, "97.2"), (1, "100.0"), (0.99999, "99.9"), (0, "0.0"), (0.5, "50.0")],
)
def test_a_share_is_shown_in_percent_and_only_all_is_100(share, shown):
    assert percent(share) == f"{shown}\u202f%"


def test_no_share_is_a_dash():
    assert percent(None) == "–"


def test_a_whole_percent_below_all_is_never_100():
    assert percent(0.996, 0) == "99\u202f%"


def test_a_chosen_share_has_the_digits_that_it_was_given():
    assert [threshold(share) for share in (0.8, 0.9995, 1)] == ["80\u202f%", "99.95\u202f%", "100\u202f%"]


def test_durations_read_as_people_say_them():
    assert [duration(seconds) for seconds in (0.34, 9.96, 59.4, 59.6, 185)] == [
        "0.3\u202fs",
        "10\u202fs",
        "59\u202fs",
        "1\u202fmin 00\u202fs",
        "3\u202fmin 05\u202fs",
    ]


def test_numbers_agree_with_their_nouns():
    assert [counted(n, "image") for n in (0, 1, 1797)] == ["0 images", "1 image", "1,797 images"]
    assert [listed(words) for words in ([1], [1, 2], [1, 2, 11])] == ["1", "1 and 2", "1, 2 and 11"]


def test_times_are_in_utc():
    tokyo = datetime.timezone(datetime.timedelta(hours=9))

    assert moment(datetime.datetime(2026, 11, 2, 5, 0, tzinfo=tokyo)) == "1 November 2026, 20:00 UTC"


@pytest.mark.parametrize(
    ("before", "now", "shown"),
    [(0.9, 0.925, "+2.5"), (0.9, 0.88, "−2.0"), (0.9, 0.9001, "±0.0"), (0, 1, "+100.0"), (None, 0.9, "–")],
)
def test_a_change_is_told_in_points_with_its_sign(before, now, shown):
    assert change(before, now) == shown


@pytest.mark.parametrize("size, shown", [(13_016, "13\u202fkB"), (99, "0.099\u202fkB"), (1_910_000, "1.91\u202fMB")])
def test_sizes_are_in_decimal_units(size, shown):
    assert megabytes(size) == shown


def test_short_times_keep_two_digits():
    assert [milliseconds(of) for of in (0.0107, 0.26, 7.12, 130)] == [
        "0.011\u202fms",
        "0.26\u202fms",
        "7.1\u202fms",
        "130\u202fms",
    ]


def test_a_device_model_is_named_where_there_is_one():
    assert device_percent(None) == "" and device_percent(0.774) == ", its device model 77.4\u202f%"
