"""The page about one evaluation: how right a released model is on what was collected."""

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.quality.scores import Evaluation, Judged
from pipeline.releases.base import Release
from pipeline.reporting import render
from pipeline.reporting.pictures import Picture, picture


@dataclass(frozen=True)
class EvaluationReport:
    """One evaluation of one release. `mistakes` and `skipped` (name, reason) may be the first few of many."""

    release: Release
    created: datetime.datetime
    threshold: float
    evaluation: Evaluation
    mistakes: Sequence[Judged] = ()
    unusable: int = 0
    skipped: Sequence[tuple[str, str]] = ()
    duplicates: int = 0
    in_spans: int = 0
    unknown_labels: Collection[str] = ()

    most_labels_in_a_matrix = 30

    @property
    def should_retrain(self) -> bool:
        return self.evaluation.accuracy is not None and self.evaluation.accuracy < self.threshold

    @cached_property
    def pictures(self) -> list[tuple[Judged, Picture | None]]:
        return [(mistake, picture(mistake.image)) for mistake in self.mistakes]


def evaluation_page(report: EvaluationReport) -> str:
    """Renders a report as one self-contained HTML document."""
    return render.page("evaluation.html", report=report, created=report.created)
