"""Numbers of spans: none is given twice, also when its span was deleted."""

from pipeline.data.manifest import FOLDER, MAX_NUMBER, name_of, number_of
from pipeline.errors import UsageError
from pipeline.storage.base import Stage, Storage

LEDGER = "numbers"  # an empty file for each number that was given, written only where there is none


def begin(storage: Storage, stage: Stage) -> int:
    """Returns the number of the next span, and makes it the stage's."""
    number = 1 + max(_given(storage), default=0)
    while number <= MAX_NUMBER and not stage.take(name_of(number)):
        number += 1
    if number > MAX_NUMBER:
        raise UsageError(f"There is no number after {MAX_NUMBER}: move the folder of that span away.")
    return number


def take(storage: Storage, number: int) -> bool:
    """Takes a number for ever, just before its span is published; False when another process was faster."""
    return storage.write(f"{LEDGER}/{name_of(number)}", b"", create_only=True)


def _given(storage: Storage) -> list[int]:
    names = [*storage.folders(FOLDER), *storage.folders("archive")]
    names += [entry.name.rpartition("/")[2] for entry in storage.list(LEDGER)]
    return [number for number in map(number_of, names) if number]
