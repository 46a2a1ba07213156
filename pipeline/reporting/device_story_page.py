"""The page about the demo of both models: what the app answered online, without a network, and after its update."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.quality.scores import Score
from pipeline.releases.record import Release
from pipeline.reporting import render
from pipeline.reporting.pair import Choices, choices
from pipeline.reporting.pictures import Picture, picture
from pipeline.reporting.story_page import Step, chapters


@dataclass(frozen=True)
class Question:
    """A picture on which the device was unsure and wrong, and the cloud right."""

    image: bytes
    device: str
    device_confidence: float
    cloud: str
    cloud_confidence: float


@dataclass(frozen=True)
class Act:
    """What the app answered for the same pictures of a camera."""

    title: str
    camera: str
    mode: str  # device, cloud or escalate
    model: str  # release of the device model, or of the cloud model where that answered alone
    right: Score
    by_device: int  # answers
    by_cloud: int
    calls: int
    sent: int  # bytes
    seconds: Mapping[str, float | None]  # {device, cloud: median until an answer}
    questions: Sequence[Question] = ()

    @property
    def answered(self) -> str:
        return f"{self.by_device:,} of {self.right.images:,} pictures"


@dataclass(frozen=True)
class DeviceStory:
    """Two releases of two models each, and what an app made of them."""

    created: datetime.datetime
    workspace: str
    steps: Sequence[Step]
    acts: Mapping[str, Act]  # online, device, cloud, cut, changed, updated: in this order
    old: Release
    new: Release
    sizes: Mapping[str, int]  # {cloud, device: bytes of the new release's file}

    @property
    def seconds(self) -> float:
        return max(step.ended for step in self.steps)

    @property
    def chapters(self) -> list[tuple[str, list[Step]]]:
        return chapters(self.steps)

    @property
    def stairs(self) -> list[tuple[str, str, str, Score]]:
        """(title, tone, release, score) of what happens to one app, in order."""
        shown = [self.acts[name] for name in ("online", "cut", "changed", "updated")]
        return [(act.title, "after" if act.model == self.new.tag else "before", act.model, act.right) for act in shown]

    @property
    def routes(self) -> list[Act]:
        """The three ways to answer for the same pictures, online."""
        return [self.acts[name] for name in ("device", "online", "cloud")]

    @property
    def choices(self) -> Choices | None:
        device = self.new.device
        return choices(device.escalation, self.new.metrics.accuracy) if device else None

    @cached_property
    def questions(self) -> list[tuple[Question, Picture | None]]:
        asked = [question for name in ("online", "updated") for question in self.acts[name].questions]
        return [(question, picture(question.image)) for question in asked]


def device_story_page(story: DeviceStory) -> str:
    """Renders a story as one self-contained HTML document."""
    return render.page("device_story.html", story=story, created=story.created)
