"""Batch requests: many moves and deletions of objects, up to a hundred in a request."""

import concurrent.futures
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import urlencode

from pipeline import retry
from pipeline.storage.bucket_client import Client, moving, refusal, unanswered

CALLS = 100  # in a request, by https://cloud.google.com/storage/docs/batch
REQUESTS = 8  # at a time

_BOUNDARY = "spanloop-9d2a71c6e3"
_PART = re.compile(rb"Content-ID: <response-(\d+)>.*?\r\n\r\nHTTP/1\.\d (\d{3}).*?\r\n\r\n(.*?)\r\n--", re.S | re.I)


class Call(NamedTuple):
    """A call in a batch request, without a body."""

    method: str
    path: str
    parameters: dict[str, str]
    accept: tuple[int, ...]  # expected statuses; others are errors
    display_name: str  # of the object, for errors


def move(client: Client, name: str, generation: str, to: str) -> Call:
    """Returns the call that `Client.move` makes."""
    return Call("POST", *moving(client.bucket, name, generation, to), (200, 404, 412), client.display_name(name))


def delete(client: Client, name: str, generation: str) -> Call:
    """Returns the call that deletes this generation."""
    return Call(
        "DELETE", client.path(name), {"ifGenerationMatch": generation}, (204, 404, 412), client.display_name(name)
    )


def perform(client: Client, calls: Iterable[Call]) -> Iterator[int]:
    """Makes calls and yields their statuses in order. Each has a precondition, so repeating it is safe."""
    calls = iter(calls)
    packs = iter(lambda: list(itertools.islice(calls, CALLS)), [])
    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        waiting = [pool.submit(_together, client, pack) for pack in itertools.islice(packs, REQUESTS)]
        while waiting:
            yield from waiting.pop(0).result()
            waiting += [pool.submit(_together, client, pack) for pack in itertools.islice(packs, 1)]


def _together(client: Client, calls: list[Call]) -> list[int]:
    """Makes calls in one request, and repeats those with transient failures."""
    statuses = [0] * len(calls)
    left = list(range(len(calls)))
    try:
        for attempt in retry.attempts(retry.STORAGE, retry.Transient):
            with attempt:
                for number, (status, body) in _ask(client, calls, left).items():
                    if status not in calls[number].accept and status not in (401, *retry.STORAGE.statuses):
                        raise refusal(calls[number].display_name, status, body)
                    statuses[number] = status
                left = [number for number in left if statuses[number] not in calls[number].accept]
                if left:
                    raise retry.Transient(f"status {statuses[left[0]]}")
    except retry.Transient as error:
        raise unanswered(calls[left[0]].display_name, error) from error
    return statuses


def _ask(client: Client, calls: list[Call], numbers: list[int]) -> dict[int, tuple[int, bytes]]:
    """Returns {number: (status, body)}; calls without an answer are missing."""
    lines = []
    for number in numbers:
        call = calls[number]
        lines.append(
            f"--{_BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n"
            f"{call.method} {call.path}?{urlencode(call.parameters)} HTTP/1.1\r\nContent-Length: 0\r\n\r\n\r\n"
        )
    body = "".join([*lines, f"--{_BOUNDARY}--\r\n"]).encode()
    headers = {"Content-Type": f"multipart/mixed; boundary={_BOUNDARY}"}
    answer = client.call("POST", "/batch/storage/v1", f"gs://{client.bucket}", None, headers, body)
    return {int(number): (int(status), body) for number, status, body in _PART.findall(answer.body)}
