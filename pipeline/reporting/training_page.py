"""The page about one training: what its model gets right, why it was released or not, and what to try."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.outcomes import SliceVerdict, TrainingOutcome
from pipeline.quality.release_gate import Requirements
from pipeline.quality.scores import Evaluation, Prediction
from pipeline.reporting import advice, render
from pipeline.reporting.pair import Pair
from pipeline.reporting.pictures import Picture, picture


@dataclass(frozen=True)
class Line:
    """A curve: `points` has x from 0 to 100 and y from 0 (top) to 100."""

    tone: str
    name: str
    points: str


@dataclass(frozen=True)
class Chart:
    """A value by epoch, in training and on the images that were kept out of it."""

    title: str
    low: str  # label of the lower end of the axis
    high: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class TrainingPage:
    """One training. `curves` are the values of each epoch, empty where the model's code keeps none."""

    outcome: TrainingOutcome
    requirements: Requirements
    created: datetime.datetime
    evaluation: Evaluation
    mistakes: Sequence[Prediction] = ()
    curves: Sequence[Mapping[str, float]] = ()
    lineage: Mapping[str, str] = ()
    pair: Pair | None = None  # None where one model was trained

    most_labels_in_a_matrix = 30
    most_rows = 100

    @property
    def name(self) -> str:
        return self.outcome.release or "the new model"

    @property
    def overall(self) -> SliceVerdict:
        return self.outcome.slices[0]

    def rows(self, kind: str) -> list[SliceVerdict]:
        """Returns all slices of a kind in their order, or of too many those that are worst."""
        found = [verdict for verdict in self.outcome.slices if verdict.kind == kind]
        if len(found) > self.most_rows:
            found = sorted(found, key=lambda verdict: (verdict.right / verdict.images, verdict.name))[: self.most_rows]
        return found

    def count(self, kind: str) -> int:
        """Returns how many slices there are of a kind."""
        return sum(verdict.kind == kind for verdict in self.outcome.slices)

    @property
    def advice(self) -> list[str]:
        return advice.advice(self.outcome, self.requirements, self.curves, self.evaluation)

    @cached_property
    def pictures(self) -> list[tuple[Prediction, Picture | None]]:
        return [(mistake, picture(mistake.image)) for mistake in self.mistakes]

    @property
    def charts(self) -> list[Chart]:
        accuracy = _chart("Accuracy by epoch", self.curves, "accuracy", "val_accuracy", 1.0)
        loss = _chart("Loss by epoch", self.curves, "loss", "val_loss", None)
        return [chart for chart in (accuracy, loss) if chart]


def _chart(
    title: str, curves: Sequence[Mapping[str, float]], train: str, validation: str, top: float | None
) -> Chart | None:
    series = {
        ("after", "on training images"): [epoch[train] for epoch in curves if train in epoch],
        ("before", "on images kept out of training"): [epoch[validation] for epoch in curves if validation in epoch],
    }
    values = [value for points in series.values() for value in points]
    if not values or len(curves) < 2:
        return None
    high = top or max(values) or 1.0
    lines = [
        Line(
            tone,
            name,
            " ".join(
                f"{100 * at / (len(points) - 1):.2f},{100 * (1 - value / high):.2f}" for at, value in enumerate(points)
            ),
        )
        for (tone, name), points in series.items()
        if len(points) > 1
    ]
    return Chart(title, "0", "100 %" if top else f"{high:.2f}", lines)


def training_page(page: TrainingPage) -> str:
    """Renders a training as one self-contained HTML document."""
    return render.page("training.html", page=page, outcome=page.outcome, created=page.created)
