"""Tags that releases got, kept in the workspace: none is given twice, also when its release was deleted."""

from collections.abc import Iterable

from pipeline.data.numbers import LEDGER
from pipeline.releases.record import TAG
from pipeline.storage.base import Storage


def given(storage: Storage) -> list[str]:
    """Returns all tags that were kept."""
    return list(filter(TAG.fullmatch, (entry.name.rpartition("/")[2] for entry in storage.list(LEDGER))))


def keep(storage: Storage, tags: Iterable[str]) -> None:
    """Keeps tags for ever."""
    for tag in sorted(set(tags).difference(given(storage))):
        storage.write(f"{LEDGER}/{tag}", b"", create_only=True)
