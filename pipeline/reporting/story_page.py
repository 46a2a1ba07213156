"""The page about one demo: its steps, and how they changed the model."""

import datetime
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.quality.scores import Evaluation, Prediction, Score
from pipeline.releases.record import Release
from pipeline.reporting import render
from pipeline.reporting.pictures import Picture, picture


@dataclass(frozen=True)
class Step:
    """One command of the story, as it was typed, its result, and its times (seconds since the story began)."""

    chapter: str
    command: str
    said: str
    began: float
    seconds: float

    @property
    def ended(self) -> float:
        return self.began + self.seconds


def chapters(steps: Sequence[Step]) -> list[tuple[str, list[Step]]]:
    """Groups steps by their chapter, in order."""
    return [(name, list(of)) for name, of in itertools.groupby(steps, lambda step: step.chapter)]


@dataclass(frozen=True)
class Span:
    """A span of the story: its camera, and its images by split."""

    number: int
    camera: str
    train: int
    eval: int


@dataclass(frozen=True)
class Story:
    """Two releases on images that neither was trained on: each span's eval split, and the images that arrived last."""

    created: datetime.datetime
    workspace: str
    threshold: float
    steps: Sequence[Step]
    spans: Sequence[Span]  # of the first camera, of the changed one
    old: Release
    new: Release
    on_spans: Mapping[str, Mapping[int, Evaluation]]  # {tag: {span: evaluation on its eval split}}
    fresh: Mapping[str, Evaluation]  # {tag: evaluation of the changed camera's images that are in no span}
    corrected: Sequence[
        tuple[Prediction, Prediction]
    ]  # of the old release (wrong) and of the new one (correct), on one image
    strips: Sequence[tuple[str, Sequence[bytes]]]  # a few images of each camera

    @property
    def seconds(self) -> float:
        return max(step.ended for step in self.steps)

    @property
    def chapters(self) -> list[tuple[str, list[Step]]]:
        return chapters(self.steps)

    @property
    def before(self) -> Evaluation:
        return self.fresh[self.old.tag]

    @property
    def after(self) -> Evaluation:
        return self.fresh[self.new.tag]

    @property
    def stairs(self) -> list[tuple[str, str, str, Score]]:
        """(act, tone, release, score) of the model in service."""
        first = self.on_spans[self.old.tag][self.spans[0].number]
        return [
            ("The first camera", "before", self.old.tag, first.overall),
            ("The camera changes", "before", self.old.tag, self.before.overall),
            ("After the loop", "after", self.new.tag, self.after.overall),
        ]

    @cached_property
    def corrected_pictures(self) -> list[tuple[Prediction, Prediction, Picture | None]]:
        return [(before, after, picture(before.image)) for before, after in self.corrected]

    @cached_property
    def strip_pictures(self) -> list[tuple[str, list[Picture | None]]]:
        return [(camera, [picture(image) for image in images]) for camera, images in self.strips]


def story_page(story: Story) -> str:
    """Renders a story as one self-contained HTML document."""
    return render.page("story.html", story=story, created=story.created)
