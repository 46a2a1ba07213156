"""How numbers are written for people, in reports as in commands."""

import datetime
from collections.abc import Iterable

NARROW_SPACE = "\u202f"  # between a number and its unit: never broken, thinner than a space


def percent(share: float | None, digits: int = 1) -> str:
    """0.9724 is '97.2 %'. Rounds down to below 100 %, so that 100 % means all of them; None is a dash."""
    if share is None:
        return "–"
    shown = f"{share * 100:.{digits}f}"
    if share < 1 and float(shown) == 100:
        shown = f"{100 - 10**-digits:.{digits}f}"
    return f"{shown}{NARROW_SPACE}%"


def change(before: float | None, now: float | None) -> str:
    """How many points of percent a share has moved: '+0.8', '−1.2', '±0.0'; a dash where one is not known."""
    if before is None or now is None:
        return "–"
    shown = f"{abs(now - before) * 100:.1f}"
    sign = "±" if float(shown) == 0 else "+" if now > before else "\N{MINUS SIGN}"
    return f"{sign}{shown}"


def device_percent(accuracy: float | None) -> str:
    """', its device model 77.4 %', to follow the accuracy of a model; '' without a device model."""
    return "" if accuracy is None else f", its device model {percent(accuracy)}"


def threshold(share: float) -> str:
    """A configured share, with no more digits than it has: '80 %', '99.95 %'."""
    return f"{share * 100:.10g}{NARROW_SPACE}%"


def duration(seconds: float) -> str:
    """'4.2 s', '41 s' or '3 min 05 s'."""
    if seconds < 9.95:
        return f"{seconds:.1f}{NARROW_SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NARROW_SPACE}s"
    return f"{whole // 60}{NARROW_SPACE}min {whole % 60:02d}{NARROW_SPACE}s"


def megabytes(size: int) -> str:
    """'1.91 MB', '13 kB' of a number of bytes."""
    return f"{size / 1e6:.2f}{NARROW_SPACE}MB" if size >= 1e5 else f"{size / 1e3:.3g}{NARROW_SPACE}kB"


def milliseconds(value: float) -> str:
    """'0.26 ms', '7.1 ms', '130 ms'."""
    return f"{value:.2g}{NARROW_SPACE}ms" if value < 10 else f"{value:.0f}{NARROW_SPACE}ms"


def counted(number: int, noun: str, plural: str = "") -> str:
    """'1 image', '1,797 images'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def moment(when: datetime.datetime) -> str:
    """A time in UTC, to the minute."""
    return when.astimezone(datetime.timezone.utc).strftime("%d %B %Y, %H:%M UTC").lstrip("0")


def listed(words: Iterable) -> str:
    """'1', '1 and 2', '1, 2 and 3'."""
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last
