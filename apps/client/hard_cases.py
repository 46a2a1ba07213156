"""Keeps pictures that are hard for the models, so that they can be labelled and collected; only where it is asked for.

<sha256>.jpg   the picture as it came
<sha256>.json  what the models said of it, why it is kept, and since when; the page in a browser writes the same
"""

import datetime
import json
import os
import time
from collections.abc import Sequence
from typing import Any, Protocol

import requests

from apps.client.answers import Answer
from apps.client.policy import Result
from pipeline.data.incoming import unlabelled
from pipeline.errors import SpanloopError
from pipeline.storage.factory import open_storage

UNSURE = 0.5  # confidence below which an answer is kept where no threshold is known
TIMEOUT = (5, 90)  # seconds: to connect, and until a server has checked a picture
TRIES, LONGEST_WAIT = 5, 30.0  # of an upload that a server is too busy for, and seconds between two of them


class UploadRefused(SpanloopError):
    """A server does not take a hard case; `reason` is what it answered."""

    def __init__(self, url: str, reason: str):
        self.url, self.reason = url, " ".join(reason.split())[:300]
        super().__init__(
            f"{url}: {self.reason}. What was uploaded before stays there; repeat it, or keep hard cases in a folder:"
            " docs/devices.md#how-hard-cases-come-back."
        )


class Place(Protocol):
    """Where hard cases are kept."""

    def write(self, name: str, data: bytes, create_only: bool = False) -> bool:
        """Writes a whole file. Returns False without writing when `create_only` and the name is taken."""


class ServerFolder:
    """The folder of a server that takes hard cases by PUT, and never overwrites one: `python -m ci serve`."""

    def __init__(self, url: str):
        self._url = url.rstrip("/")

    def write(self, name: str, data: bytes, create_only: bool = True) -> bool:
        """Uploads a file; False where it is there already. Raises UploadRefused."""
        url, tries = f"{self._url}/{name}", 1
        while (response := self._put(url, data)).status_code == 429 and tries < TRIES:
            given = response.headers.get("Retry-After", "")
            time.sleep(min(LONGEST_WAIT, float(given) if given.isdecimal() else 1.0))
            tries += 1
        if response.status_code not in (200, 201, 204):
            raise UploadRefused(url, f"the server answers {response.status_code}: {response.text[:200]}")
        return response.status_code == 201

    def _put(self, url: str, data: bytes) -> requests.Response:
        try:
            return requests.put(url, data=data, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            raise UploadRefused(url, f"it cannot be reached ({error})") from None


def open_place(address: str) -> Place:
    """Returns a folder, gs://bucket/prefix, or the folder of a server by its http or https URL."""
    return ServerFolder(address) if address.startswith(("http://", "https://")) else open_storage(address)


def why_hard(result: Result, threshold: float | None) -> Sequence[str]:
    """Returns why a picture is worth a label: the models disagree, or the first one asked is unsure."""
    first = result.device or result.cloud
    if first is None:
        return []
    least = UNSURE if threshold is None else threshold
    return ["disagreement"] * result.disagree + ["low confidence"] * (not first.confidence >= least)


class HardCases:
    """Takes hard pictures to a place, each of them once."""

    def __init__(self, place: Place, threshold: float | None):
        self._place, self._threshold = place, threshold
        self.kept = 0

    def offer(self, picture: bytes, result: Result) -> None:
        """Keeps a picture if it is hard and not there yet; the note is written last."""
        reasons = why_hard(result, self._threshold)
        if not reasons:
            return
        name = unlabelled.name_of(picture)
        now = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        note = {"why": reasons, "device": _noted(result.device), "cloud": _noted(result.cloud), "kept": now}
        new = self._place.write(name, picture, create_only=True)
        note_name = f"{os.path.splitext(name)[0]}.json"
        self._place.write(note_name, f"{json.dumps(note, indent=1)}\n".encode(), create_only=True)
        self.kept += new


def _noted(answer: Answer | None) -> dict[str, Any] | None:
    return answer and {"label": answer.label, "confidence": round(answer.confidence, 4), "model": answer.model}
