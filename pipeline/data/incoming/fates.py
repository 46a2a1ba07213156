"""Where images go when a span is made of them, or cannot be: collected ones move, imported ones stay."""

from collections.abc import Callable, Mapping
from typing import Protocol

from pipeline.data.incoming import collected, conflicts, rejected
from pipeline.data.known import Holder
from pipeline.data.manifest import name_of
from pipeline.outcomes import Conflict
from pipeline.storage.base import Source, Stage, Storage, numbered_names


class Fate(Protocol):
    """What becomes of a source. False when it has changed meanwhile and is left for another time."""

    def use(self, source: Source) -> bool:
        """It becomes part of the span."""

    def repeat(self, source: Source, holder: Holder) -> bool:
        """Its bytes are published already, or part of the span."""

    def reject(self, source: Source, reason: str) -> bool:
        """It cannot be used."""

    def erase(self, source: Source, reason: str) -> bool:
        """Its bytes were erased, and must not be kept."""

    def conflict(self, source: Source, conflict: Conflict) -> bool:
        """Its bytes are published under another label."""

    def contest(self, source: Source, conflict: Conflict) -> bool:
        """Its bytes are part of the span under another label."""

    def drop(self, contested: Mapping[Conflict, str]) -> Callable[[Conflict, bytes], None]:
        """The images that these conflicts name, with their sha256, are no part of the span any more.

        Returns what is to be called with the bytes of each.
        """


def archive(storage: Storage, source: Source, span: int) -> bool:
    """Moves a source to the archive of the span that has its bytes; False when it has changed meanwhile."""
    names = numbered_names(f"archive/{name_of(span)}/duplicates/{source.name}")
    return storage.take(source, next(name for name in names if not storage.exists(name)))


class Collected:
    """Collected images are moved to where they belong now."""

    def __init__(self, storage: Storage, stage: Stage):
        self._storage, self._stage = storage, stage
        self._waiting: dict[Conflict, str] = {}

    def use(self, source: Source) -> bool:
        return self._stage.claim(source, "sources")

    def repeat(self, source: Source, holder: Holder) -> bool:
        if holder.span is None:
            return self._stage.claim(source, "duplicates")
        return archive(self._storage, source, holder.span)

    def reject(self, source: Source, reason: str) -> bool:
        return rejected.move(self._storage, source, reason)

    def erase(self, source: Source, reason: str) -> bool:
        return rejected.erase(self._storage, source, reason)

    def conflict(self, source: Source, conflict: Conflict) -> bool:
        return conflicts.move(self._storage, conflict, source)

    def contest(self, source: Source, conflict: Conflict) -> bool:
        self._waiting[conflict] = conflicts.sha256_of(source.data)
        return True

    def drop(self, contested: Mapping[Conflict, str]) -> Callable[[Conflict, bytes], None]:
        for conflict in contested:
            self._stage.release(conflict.name, "sources")
        conflicts.move_all(self._storage, collected.FOLDER, {**contested, **self._waiting})
        return lambda conflict, data: None


class Imported:
    """A user's folder stays as it is; copies are made."""

    def __init__(self, storage: Storage, stage: Stage):
        self._storage = storage

    def use(self, source: Source) -> bool:
        return source.unchanged()

    def repeat(self, source: Source, holder: Holder) -> bool:
        return True

    def reject(self, source: Source, reason: str) -> bool:
        rejected.copy(self._storage, source, reason)
        return True

    def erase(self, source: Source, reason: str) -> bool:
        rejected.note(self._storage, source, reason)
        return True

    def conflict(self, source: Source, conflict: Conflict) -> bool:
        conflicts.copy(self._storage, conflict, source.data)
        return True

    contest = conflict

    def drop(self, contested: Mapping[Conflict, str]) -> Callable[[Conflict, bytes], None]:
        return lambda conflict, data: conflicts.copy(self._storage, conflict, data)
