"""Which model answers: the device's, the cloud's, or first one and then the other.

- `device` and `cloud`: that model alone.
- `escalate`: the device answers where its confidence reaches the threshold of its manifest, the cloud elsewhere.
- `layered`: the device answers a yes/no question, whether a picture shows one of the labels in question; only for a yes
  the cloud is asked which one.

Where the cloud does not answer within its time budget, the device's answer counts. A server that failed is then left
alone for a while: a client without a network answers as fast as the device.
"""

import collections
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from apps.client.answers import Answer, BadPicture, CloudModel, DeviceModel, Unanswered
from pipeline.data.images import MOST_BYTES


class Mode(str, Enum):
    """Who answers."""

    DEVICE = "device"
    CLOUD = "cloud"
    ESCALATE = "escalate"
    LAYERED = "layered"

    @property
    def uses_device(self) -> bool:
        return self is not Mode.CLOUD

    @property
    def uses_cloud(self) -> bool:
        return self is not Mode.DEVICE


@dataclass(frozen=True)
class Result:
    """What became of a picture. Without an answer of either model, `problem` says why."""

    device: Answer | None = None
    cloud: Answer | None = None
    asked: bool = False  # whether the picture was sent to the cloud
    wanted: bool = False  # whether the cloud should have answered
    yes: bool | None = None  # what the device says to the question of `layered`
    problem: str = ""  # why the cloud did not answer though wanted, or why the picture cannot be seen
    sent: int = 0  # bytes
    seconds: float = 0.0  # until the answer was there

    @property
    def answer(self) -> Answer | None:
        return self.cloud or self.device

    @property
    def by(self) -> str:
        """Returns "cloud", "device", or "" without an answer."""
        return "cloud" if self.cloud else "device" if self.device else ""

    @property
    def disagree(self) -> bool:
        """True when both models answered, with different labels."""
        return bool(self.device and self.cloud) and self.device.label != self.cloud.label


FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds after a failure, doubled with each further one


class Rest:
    """When a server that failed is asked again: after the seconds that it named, or else after 1, 2, 4 ... 60."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._next, self._until, self._why = clock, FIRST_REST, 0.0, ""

    @property
    def why(self) -> str:
        """Why the server is not asked now; "" where it may be."""
        return self._why if self._clock() < self._until else ""

    def failed(self, failure: Unanswered) -> None:
        if failure.rests and not self.why:  # of several requests that failed together, the first one counts
            self._until = self._clock() + max(self._next, min(failure.retry_after or 0.0, LONGEST_REST))
            self._next, self._why = min(2 * self._next, LONGEST_REST), str(failure)

    def answered(self) -> None:
        self._next, self._until = FIRST_REST, 0.0


class Client:
    """Answers for pictures in one of the modes.

    `threshold` replaces that of the device model. `question` are the labels of the yes/no question of `layered`.
    """

    def __init__(
        self,
        mode: Mode,
        device: DeviceModel | None,
        cloud: CloudModel | None,
        *,
        threshold: float | None = None,
        question: Collection[str] = (),
        rest: Rest | None = None,
    ):
        self.mode, self.device, self.cloud = mode, device, cloud
        self.threshold = threshold if threshold is not None or device is None else device.threshold
        self._question = frozenset(question)
        self._rest = rest or Rest()

    def predict(self, picture: bytes) -> Result:
        """Returns what the models say of a PNG or JPEG, or why they do not."""
        return self._begin(picture)()

    def predict_all(self, pictures: Iterable[bytes], together: int = 8) -> Iterator[Result]:
        """Yields what `predict` returns for each picture, in order; so many are with the cloud at a time."""
        waiting: collections.deque[Callable[[], Result]] = collections.deque()
        for picture in pictures:
            waiting.append(self._begin(picture))
            if len(waiting) >= together:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def _begin(self, picture: bytes) -> Callable[[], Result]:
        """Takes the device's answer and asks the cloud where it is wanted; returns what waits for the result."""
        device, yes = None, None
        if len(picture) > MOST_BYTES:
            return lambda: Result(problem=f"it has more than {MOST_BYTES >> 20} MB")
        if self.mode.uses_device:
            try:
                device = self.device.answer(picture)
            except BadPicture as bad:
                problem = str(bad)
                return lambda: Result(problem=problem)
            if self.mode is Mode.LAYERED:
                device, yes = self._answered(device)
        wanted = self.mode is Mode.CLOUD or bool(yes) or (self.mode is Mode.ESCALATE and self._is_unsure(device))
        so_far = Result(device, wanted=wanted, yes=yes, seconds=device.seconds if device else 0.0)
        if not wanted:
            return lambda: so_far
        if device and (why := self._rest.why):
            return lambda: _with_failure(so_far, Unanswered(f"not asked again so soon: {why}"), asked=False)
        asked = self.cloud.ask(picture)

        def finish() -> Result:
            try:
                cloud = asked.result()
            except Unanswered as failure:
                self._rest.failed(failure)
                return _with_failure(so_far, failure, asked=True)
            self._rest.answered()
            seconds = so_far.seconds + cloud.seconds
            return Result(device, cloud, asked=True, wanted=True, yes=yes, sent=cloud.sent, seconds=seconds)

        return finish

    def _is_unsure(self, answer: Answer) -> bool:
        # written so that a confidence that is no number is unsure, too
        return self.threshold is not None and not answer.confidence >= self.threshold

    def _answered(self, answer: Answer) -> tuple[Answer, bool]:
        """Returns the device's answer to the question, and whether it is a yes.

        It is a yes where the labels in question have at least half of the probability. The label is then the most
        probable one in question, otherwise the most probable one of the others.
        """
        share = sum(answer.probabilities.get(label, 0.0) for label in self._question)
        yes = share >= 0.5
        among = {label: of for label, of in answer.probabilities.items() if (label in self._question) == yes}
        label = max(among, key=among.__getitem__)
        return Answer(label, among[label], answer.probabilities, answer.model, answer.seconds), yes


def _with_failure(so_far: Result, failure: Unanswered, asked: bool) -> Result:
    return Result(
        so_far.device,
        asked=asked,
        wanted=True,
        yes=so_far.yes,
        problem=str(failure),
        sent=failure.sent,
        seconds=so_far.seconds + failure.seconds,
    )
