"""When GitHub ends schedules."""

import datetime

from ci.github.schedule import schedule

PUSHED = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)


def days(number: float) -> datetime.timedelta:
    return datetime.timedelta(days=number)


def test_it_warns_two_weeks_before():
    assert not schedule(PUSHED, PUSHED + days(45.9)).soon
    found = schedule(PUSHED, PUSHED + days(46))
    assert found.soon and found.idle_days == 46 and found.ends == PUSHED + days(60)
    assert schedule(PUSHED, PUSHED + days(100)).soon


def test_times_of_other_zones_are_the_same_moments():
    there = datetime.timezone(datetime.timedelta(hours=-8))
    assert schedule(PUSHED.astimezone(there), PUSHED + days(1)) == schedule(PUSHED, PUSHED + days(1))
    assert schedule(PUSHED + days(1), PUSHED).idle_days == 0, "clocks differ"
