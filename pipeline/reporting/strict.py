"""Strict reader of untrusted JSON: each field is checked for type and size, unknown ones are refused."""

import json
import math
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Refused(ValueError):
    """The JSON differs from what is expected; the message holds none of its values."""


def load(text: str, most: int) -> Any:
    """Parses JSON of at most `most` characters, without repeated fields and without infinite numbers."""
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
    if len(digits) > 15:  # Python takes long to convert a million digits
        raise Refused("a number is too long")
    return int(digits)


def _finite(digits: str) -> float:
    if len(digits) > 40 or not math.isfinite(float(digits)):
        raise Refused("a number is too long")
    return float(digits)


def _not_finite(word: str) -> NoReturn:
    raise Refused("a number is not finite")


class Fields:
    """The fields of one JSON object, each taken once by name and type; `fields` checks that none is left over."""

    def __init__(self, value: Any, of: str):
        if not isinstance(value, dict):
            raise Refused(f"{of} is no object")
        self._left, self._of = dict(value), of

    def text(self, name: str, most: int = 300, pattern: str = "") -> str:
        """Takes text of at most `most` characters that matches `pattern`."""
        return self._check(name, self._take(name), _text(most, pattern))

    def choice(self, name: str, among: Collection[str]) -> str:
        """Takes one of the texts in `among`."""
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
        """Takes an object {name: share} of at most `most` names of at most `longest` characters."""
        found = self._check(name, self._take(name), lambda value: isinstance(value, dict) and len(value) <= most)
        for key, value in found.items():
            self._check(name, key, _text(longest))
            self._check(name, value, lambda value: value is None or _number(1)(value))
        return found

    def each(self, name: str, most: int, item: Callable[[Any], T]) -> tuple[T, ...]:
        """Takes a list of at most `most` items, each read by `item`."""
        found = self._check(name, self._take(name), lambda value: isinstance(value, list) and len(value) <= most)
        return tuple(map(item, found))

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
        """Takes a value that `read` converts."""
        return read(self._take(name))

    def maybe(self, name: str, take: Callable[[], T]) -> T | None:
        """Takes null, or calls `take`."""
        return take() if self._left.get(name, self) is not None else self._left.pop(name)

    def finish(self) -> None:
        """Raises Refused when a field is left over."""
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
def fields(value: Any, of: str) -> Iterator[Fields]:
    """Yields the fields of the object `value`, called `of` in messages; raises Refused when one is left over."""
    found = Fields(value, of)
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
