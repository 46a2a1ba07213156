"""Preconditions of a call on the generation and metageneration of an object."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.emulators.gcs.errors import bad_request, condition_not_met, not_modified
from tests.emulators.gcs.objects import Object

_NAMES = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
PARAMETERS = frozenset(f"if{name}" for name in _NAMES)
SOURCE_PARAMETERS = frozenset(f"ifSource{name}" for name in _NAMES)


class Conditions(NamedTuple):
    """The four conditions; None for one that is not given."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, str], prefix: str = "if") -> "Conditions":
        """Reads conditions from query parameters; `prefix` is "ifSource" for those on a source object."""
        if not any(name.startswith(prefix) for name in parameters):
            return NONE
        return cls(*(number(parameters, prefix + name) for name in _NAMES))

    def check(self, found: Object | None, reading: bool = False) -> None:
        """Raises StorageError unless all conditions hold for an object; `found` is None when it does not exist."""
        if self is NONE:
            return
        generation = found.generation if found else 0  # 0: the object does not exist
        if self.generation is not None and self.generation != generation:
            raise condition_not_met()
        if self.metageneration is not None and (not found or self.metageneration != found.metageneration):
            raise condition_not_met()
        unwanted = (self.not_generation is not None and self.not_generation == generation) or (
            self.not_metageneration is not None and (not found or self.not_metageneration == found.metageneration)
        )
        if unwanted:
            raise not_modified() if reading else condition_not_met()


NONE = Conditions()


def number(parameters: Mapping[str, str], name: str) -> int | None:
    """Reads a parameter as a whole number; None when it is not given."""
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise bad_request(f"Invalid value for {name}: {text!r}")
    return int(text)
