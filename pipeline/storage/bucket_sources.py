"""Reads the objects of a bucket, several at the same time, and yields them in order."""

import collections
import concurrent.futures
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.errors import ObjectNotFound
from pipeline.storage.base import too_large
from pipeline.storage.bucket_client import THREADS
from pipeline.storage.bucket_objects import Objects

# Limits of what is read ahead, in objects and in bytes.
AHEAD, AHEAD_BYTES = 16 * THREADS, 64 * 2**20
# A thread reads several objects: handing over a single one takes as much CPU as reading it.
IN_A_ROW, IN_A_ROW_BYTES = 16, 2**20


class BucketSource:
    """An object that was read. A generation never changes, so its data are one whole image."""

    __slots__ = ("name", "data", "problem", "generation", "object")

    def __init__(self, name: str, whole_name: str, generation: str, data: bytes = b"", problem: str = ""):
        self.name, self.object, self.generation, self.data, self.problem = name, whole_name, generation, data, problem

    def unchanged(self) -> bool:
        return True


class Wanted(NamedTuple):
    """An object of a listing."""

    name: str  # relative to the folder
    object: str
    generation: str
    size: int
    problem: str  # why it is not read, or ""
    is_packed: bool = False  # stored as gzip, by `gsutil cp -z` or the like, so `size` is not that of the image


def read_all(objects: Objects, wanted: Iterable[Wanted], max_bytes: int) -> Iterator[BucketSource]:
    """Reads objects of up to `max_bytes` in order; skips those that are gone."""
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        waiting: collections.deque[tuple[int, int, concurrent.futures.Future]] = collections.deque()
        names = size = 0
        try:
            for row in _rows(wanted):
                of_row = sum(one.size for one in row if not one.problem)
                while waiting and (names + len(row) > AHEAD or size + of_row > AHEAD_BYTES):
                    names_read, size_read, read = waiting.popleft()
                    names, size = names - names_read, size - size_read
                    yield from read.result()
                waiting.append((len(row), of_row, pool.submit(_row, objects, row, max_bytes)))
                names, size = names + len(row), size + of_row
            while waiting:
                yield from waiting.popleft()[2].result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _row(objects: Objects, row: list[Wanted], max_bytes: int) -> list[BucketSource]:
    found = []
    for one in row:
        data, generation, problem = b"", one.generation, one.problem
        try:
            if one.is_packed and not problem:
                unpacked = objects.unpack(one.object, generation, max_bytes)
                data, problem = (b"", too_large(max_bytes)) if unpacked is None else (unpacked, "")
            elif not problem:
                data, generation = objects.read(one.object)
        except ObjectNotFound:
            continue
        found.append(BucketSource(one.name, one.object, generation, data, problem))
    return found


def _rows(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    row, size = [], 0
    for one in wanted:
        row.append(one)
        size += 0 if one.problem else one.size
        if len(row) == IN_A_ROW or size > IN_A_ROW_BYTES:
            yield row
            row, size = [], 0
    if row:
        yield row


def each_in_order(function, items: Iterable, ahead: int = THREADS) -> Iterator:
    """Yields function(item) for each item in order, with several calls at the same time."""
    items = iter(items)
    with concurrent.futures.ThreadPoolExecutor(ahead) as pool:
        waiting = collections.deque(pool.submit(function, item) for item in itertools.islice(items, ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
