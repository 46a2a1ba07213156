"""The page about a workspace's past: accuracy of its models over time, releases, refusals, evaluations, what serves."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.data.reports import EvaluationReport, TrainingReport
from pipeline.formatting import counted, device_percent, listed, percent
from pipeline.outcomes import Metrics
from pipeline.reporting import render

PAGE = "history.html"


@dataclass(frozen=True)
class Event:
    """A training or an evaluation: a point of the chart and an entry of the list."""

    name: str  # such as "model-3", "training", "evaluation"
    tone: str  # "after": released; "before": not good enough; "soft": an evaluation on collected images
    accuracy: float | None
    said: str
    created: str
    details: Sequence[str] = ()
    page: str | None = None  # relative to the page


@dataclass(frozen=True)
class Course:
    """How right the released models were on one span or label, from release to release."""

    name: str
    values: Sequence[tuple[int, float]]  # (number of the release from 0 on, accuracy)
    releases: int

    @property
    def first(self) -> float:
        return self.values[0][1]

    @property
    def now(self) -> float:
        return self.values[-1][1]

    @property
    def points(self) -> str:
        """The polyline in a box of 100 by 100; a single value is a short line at its release."""
        last = max(1, self.releases - 1)
        begin = max(0, self.values[0][0] - 0.2)
        drawn = self.values if len(self.values) > 1 else [(begin, self.now), (begin + 0.2, self.now)]
        return " ".join(f"{100 * at / last:.2f},{100 * (1 - value):.2f}" for at, value in drawn)


@dataclass(frozen=True)
class History:
    """All reports of a workspace, oldest first, and what serves."""

    reports: Sequence[TrainingReport | EvaluationReport]
    created: datetime.datetime
    serves: str | None  # tag of the newest release
    traffic: Mapping[str, int]  # {tag: percent} on the endpoint; empty without one
    threshold: float

    most_events = 200
    most_rows = 100

    @cached_property
    def events(self) -> list[Event]:
        found, trained = [], set()
        for report in self.reports:
            if isinstance(report, TrainingReport):
                found.append(_trained(report, trained))
                trained.update(report.outcome.spans)
            else:
                found.append(_evaluated(report))
        return found

    @cached_property
    def released(self) -> list[TrainingReport]:
        """The first training of each release."""
        found = {}
        for report in self.reports:
            if isinstance(report, TrainingReport) and report.outcome.release:
                found.setdefault(report.outcome.release, report)
        return list(found.values())

    @property
    def newest(self) -> TrainingReport | None:
        return self.released[-1] if self.released else None

    @property
    def refused(self) -> int:
        return sum(event.tone == "before" and event.name == "training" for event in self.events)

    @property
    def evaluations(self) -> int:
        return sum(isinstance(report, EvaluationReport) for report in self.reports)

    @property
    def low(self) -> float:
        """Where the chart's axis begins: a multiple of 10 %."""
        values = [event.accuracy for event in self.events if event.accuracy is not None]
        return max(0.0, int(min([*values, self.threshold]) * 10 - 0.5) / 10)

    @property
    def spans(self) -> list[Course]:
        return self._courses(lambda metrics: metrics.per_span)

    @property
    def labels(self) -> list[Course]:
        return self._courses(lambda metrics: metrics.per_label)

    def count(self, courses: str) -> int:
        """Returns how many spans or labels the released models were evaluated on."""
        return len({name for report in self.released for name in getattr(report.outcome.metrics, f"per_{courses}")})

    def _courses(self, part: Callable[[Metrics], Mapping[str, float | None]]) -> list[Course]:
        """Returns all in their order, or of too many those that are worst now."""
        values: dict[str, list[tuple[int, float]]] = {}
        for number, report in enumerate(self.released):
            for name, accuracy in part(report.outcome.metrics).items():
                if accuracy is not None:
                    values.setdefault(name, []).append((number, accuracy))
        found = [Course(name, of, len(self.released)) for name, of in values.items()]
        if len(found) > self.most_rows:
            found = sorted(found, key=lambda course: (course.now, course.name))[: self.most_rows]
        return found


def _trained(report: TrainingReport, trained: set[int]) -> Event:
    outcome = report.outcome
    spans = f"{'span' if len(outcome.spans) == 1 else 'spans'} {listed(outcome.spans)}"
    kind = "Retrained" if trained and set(outcome.spans) - trained else "Trained"
    device = device_percent(outcome.device and outcome.device.metrics.accuracy)
    right = f"{percent(outcome.metrics.accuracy)} of {counted(outcome.metrics.images, 'image')} right{device}"
    ended = f"released as {outcome.release}" if outcome.release else "not released"
    return Event(
        name=outcome.release or "training",
        tone="after" if outcome.release else "before",
        accuracy=outcome.metrics.accuracy,
        said=f"{kind} on {spans}: {right}, {ended}",
        created=report.created,
        details=outcome.reasons,
        page=_relative(outcome.page),
    )


def _evaluated(report: EvaluationReport) -> Event:
    outcome = report.outcome
    if not outcome.images:
        said = f"None of {counted(outcome.collected, 'collected image')} could be evaluated"
    else:
        device = device_percent(outcome.device and outcome.device.accuracy)
        right = f"{percent(outcome.accuracy)} of {counted(outcome.images, 'collected image')} right{device}"
        said = f"{outcome.release} gets {right}: {'retrain' if outcome.should_retrain else 'keep it'}"
    return Event(
        "evaluation",
        "soft",
        outcome.accuracy,
        said,
        report.created,
        page=_relative(f"{report.address}/report.html") if outcome.images else None,
    )


def _relative(address: str | None) -> str | None:
    """Returns the address of a report's page as seen from this one, which lies beside the reports' folders."""
    return "/".join(address.split("/")[-2:]) if address else None


def history_page(history: History) -> str:
    """Renders a workspace's past as one self-contained HTML document."""
    return render.page("history.html", history=history, created=history.created)
