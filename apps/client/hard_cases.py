"""Keeps pictures that are hard for the models, so that they can be labelled and collected; only where it is asked for.

<sha256>.jpg   the picture as it came
<sha256>.json  what the models said of it, why it is kept, and since when; the page in a browser writes the same
"""

import datetime
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from apps.client.answers import Answer
from apps.client.policy import Result
from pipeline.storage.base import Storage

UNSURE = 0.5  # confidence below which an answer is kept where no threshold is known


def why_hard(result: Result, threshold: float | None) -> Sequence[str]:
    """Returns why a picture is worth a label: the models disagree, or the first one asked is unsure."""
    first = result.device or result.cloud
    if first is None:
        return []
    least = UNSURE if threshold is None else threshold
    return ["disagreement"] * result.disagree + ["low confidence"] * (not first.confidence >= least)


class HardCases:
    """A folder, or gs://bucket/prefix, that takes hard pictures; each of them once."""

    def __init__(self, storage: Storage, threshold: float | None):
        self._storage, self._threshold = storage, threshold
        self.kept = 0

    def offer(self, picture: bytes, result: Result) -> None:
        """Keeps a picture if it is hard and not there yet; the note is written last."""
        reasons = why_hard(result, self._threshold)
        if not reasons:
            return
        name = hashlib.sha256(picture).hexdigest()
        ending = "png" if picture.startswith(b"\x89PNG") else "jpg"
        now = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        note = {"why": reasons, "device": _noted(result.device), "cloud": _noted(result.cloud), "kept": now}
        new = self._storage.write(f"{name}.{ending}", picture, create_only=True)
        self._storage.write(f"{name}.json", f"{json.dumps(note, indent=1)}\n".encode(), create_only=True)
        self.kept += new


def _noted(answer: Answer | None) -> dict[str, Any] | None:
    return answer and {"label": answer.label, "confidence": round(answer.confidence, 4), "model": answer.model}
