"""The page about one evaluation: a released model on the collected images."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.outcomes import EvaluationOutcome
from pipeline.quality.scores import Evaluation, Prediction
from pipeline.releases.record import Release
from pipeline.reporting import render
from pipeline.reporting.pictures import Picture, picture


@dataclass(frozen=True)
class EvaluationPage:
    """One evaluation of one release. `mistakes` may be the first few of many."""

    release: Release
    created: datetime.datetime
    outcome: EvaluationOutcome
    evaluation: Evaluation
    mistakes: Sequence[Prediction] = ()

    most_labels_in_a_matrix = 30

    @cached_property
    def pictures(self) -> list[tuple[Prediction, Picture | None]]:
        return [(mistake, picture(mistake.image)) for mistake in self.mistakes]


def evaluation_page(page: EvaluationPage) -> str:
    """Renders an evaluation as one self-contained HTML document."""
    return render.page("evaluation.html", page=page, outcome=page.outcome, created=page.created)
