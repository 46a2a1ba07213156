"""JSON that strangers wrote, read so strictly that what comes out can be relied on."""

import json
import math
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Refused(ValueError):
    """It is not what was expected; the message holds nothing of it."""


def load(text: str, most: int) -> Any:
    """Reads JSON of at most so many characters, in which no field is doubled and no number endless."""
    if len(text) > most:
        raise Refused(f"it is longer than {most:,} characters")
    try:
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_not_finite, parse_int=_whole, parse_float=_finite
        )
    except Refused:
        raise
    except (ValueError, RecursionError):
        raise Refused("it is no JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused("a field is there twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > 15:  # Python would take its time with a million of them
        raise Refused("a number is too long")
    return int(digits)


def _finite(digits: str) -> float:
    if len(digits) > 40 or not math.isfinite(float(digits)):
        raise Refused("a number is too long")
    return float(digits)


def _not_finite(word: str) -> NoReturn:
    raise Refused("a number is not finite")


class Fields:
    """The fields of one JSON object, to be taken once each by name and kind: `fields` sees that none is left over."""

    def __init__(self, told: Any, of: str):
        if not isinstance(told, dict):
            raise Refused(f"{of} is no object")
        self._left, self._of = dict(told), of

    def text(self, name: str, most: int = 300, pattern: str = "") -> str:
        """Takes text, which matches `pattern` if there is one."""
        return self._check(name, self._take(name), _text(most, pattern))

    def choice(self, name: str, among: Collection[str]) -> str:
        """Takes one of a few words."""
        return self._check(name, self._take(name), lambda value: isinstance(value, str) and value in among)

    def flag(self, name: str) -> bool:
        """Takes true or false."""
        return self._check(name, self._take(name), lambda value: isinstance(value, bool))

    def whole(self, name: str, most: int) -> int:
        """Takes a whole number from 0 on."""
        return self._check(name, self._take(name), lambda value: type(value) is int and 0 <= value <= most)

    def number(self, name: str, most: float) -> float:
        """Takes a number from 0 on."""
        return float(self._check(name, self._take(name), _number(most)))

    def share(self, name: str) -> float | None:
        """Takes a number from 0 to 1, or null."""
        return self._check(name, self._take(name), lambda value: value is None or _number(1)(value))

    def shares(self, name: str, most: int, longest: int) -> dict[str, float | None]:
        """Takes an object of shares by names, at most so many and so long."""
        told = self._check(name, self._take(name), lambda value: isinstance(value, dict) and len(value) <= most)
        for key, value in told.items():
            self._check(name, key, _text(longest))
            self._check(name, value, lambda value: value is None or _number(1)(value))
        return told

    def each(self, name: str, most: int, item: Callable[[Any], T]) -> tuple[T, ...]:
        """Takes a list of at most so many items, each of which `item` reads."""
        told = self._check(name, self._take(name), lambda value: isinstance(value, list) and len(value) <= most)
        return tuple(map(item, told))

    def texts(self, name: str, most: int, longest: int) -> tuple[str, ...]:
        """Takes a list of text."""
        return self.each(name, most, lambda value: self._check(name, value, _text(longest)))

    def wholes(self, name: str, most: int, largest: int) -> tuple[int, ...]:
        """Takes a list of whole numbers from 1 on."""
        return self.each(
            name,
            most,
            lambda value: self._check(name, value, lambda value: type(value) is int and 1 <= value <= largest),
        )

    def read(self, name: str, read: Callable[[Any], T]) -> T:
        """Takes what `read` reads."""
        return read(self._take(name))

    def maybe(self, name: str, take: Callable[[], T]) -> T | None:
        """Takes null, or what `take` takes."""
        return take() if self._left.get(name, self) is not None else self._left.pop(name)

    def finish(self) -> None:
        """Sees that no field is left over."""
        if self._left:
            raise Refused(f"{self._of} has fields that it must not have")

    def _take(self, name: str) -> Any:
        if name not in self._left:
            raise Refused(f"{self._of} has no field {name!r}")
        return self._left.pop(name)

    def _check(self, name: str, value: T, fine: Callable[[Any], bool]) -> T:
        if not fine(value):
            raise Refused(f"{name!r} of {self._of} is not as it has to be")
        return value


@contextmanager
def fields(told: Any, of: str) -> Iterator[Fields]:
    """Gives the fields of an object to be taken; raises Refused when one is not as it has to be or is left over."""
    found = Fields(told, of)
    yield found
    found.finish()


def _text(most: int, pattern: str = "") -> Callable[[Any], bool]:
    def fine(value: Any) -> bool:
        return (
            isinstance(value, str) and len(value) <= most and (not pattern or bool(re.fullmatch(pattern, value, re.A)))
        )

    return fine


def _number(most: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and 0 <= value <= most
