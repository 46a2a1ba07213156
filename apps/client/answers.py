"""What a model says of a picture, and why it says nothing."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """A model's label for a picture."""

    label: str
    confidence: float  # probability of `label`
    probabilities: Mapping[str, float] = field(default_factory=dict)  # by label; empty where the model gives none
    model: str = ""  # release or version that answered, "" where it does not say
    seconds: float = 0.0  # until it was there
    sent: int = 0  # bytes of the request


class BadPicture(Exception):
    """Bytes that are no picture which a model could see; the message says why."""


class Unanswered(Exception):
    """The cloud model gave no answer; the message says why.

    `rests`: whether the next picture would fare no better. `retry_after`: seconds that the server asked to wait.
    """

    def __init__(
        self, why: str, *, rests: bool = True, retry_after: float | None = None, seconds: float = 0.0, sent: int = 0
    ):
        super().__init__(why)
        self.rests, self.retry_after, self.seconds, self.sent = rests, retry_after, seconds, sent


class DeviceModel(Protocol):
    """A model in this process."""

    model: str  # tag of its release
    threshold: float | None  # confidence below which the cloud model should be asked; None: never
    labels: tuple[str, ...]

    def answer(self, picture: bytes) -> Answer:
        """Returns the answer for a PNG or JPEG. Raises BadPicture."""


class CloudModel(Protocol):
    """A model elsewhere. Several pictures may be asked about at a time."""

    def ask(self, picture: bytes) -> "Future[Answer]":
        """Begins to ask about a PNG or JPEG. The result comes within the time budget, or is Unanswered."""

    def close(self) -> None:
        """Gives back connections and processes."""
