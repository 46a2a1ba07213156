"""Is a model good enough to be released? What it needs, and a verdict whose reasons name counts."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from pipeline.config import Config
from pipeline.formatting import percent, threshold
from pipeline.outcomes import Metrics, SliceVerdict
from pipeline.quality import comparison
from pipeline.quality.comparison import LABEL, OVERALL, SPAN, Comparison, Finding, Slice
from pipeline.quality.tally import Tally

MOST_EXAMINED = 200  # slices of which it is worked out which loss they could have shown


@dataclass(frozen=True)
class Requirements:
    """What a model needs to be released."""

    threshold: float  # accuracy on all images
    margin: float  # loss of accuracy against the current model that is allowed
    label_floor: float  # share of each label's images; 0: none

    @classmethod
    def of(cls, config: Config) -> "Requirements":
        return cls(config.accuracy_threshold, config.accuracy_margin, config.label_floor)

    @classmethod
    def of_device(cls, config: Config) -> "Requirements":
        """What the device model needs on its own."""
        return cls(config.device_accuracy_threshold, config.accuracy_margin, config.label_floor)

    def to_json(self) -> str:
        """Returns what `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Requirements":
        """Returns the requirements that `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Tallies:
    """What the Evaluator counted on the images that were kept out of training."""

    overall: Tally
    spans: Mapping[str, Tally]  # {number: tally}
    labels: Mapping[str, Tally]

    @property
    def slices(self) -> list[Slice]:
        """Every span and label, spans first."""
        kinds = ((SPAN, self.spans), (LABEL, self.labels))
        return [Slice(kind, name, tally.pairs) for kind, tallies in kinds for name, tally in tallies.items()]

    def metrics(self, current: bool = False) -> Metrics:
        """Returns the accuracy of the candidate, or of the current model, on all images and on each slice."""

        def share(tally: Tally) -> float | None:
            right = tally.pairs.current_right if current else tally.right
            return right / tally.images if tally.images else None

        return Metrics(
            share(self.overall),
            self.overall.images,
            {span: share(tally) for span, tally in self.spans.items()},
            {label: share(tally) for label, tally in self.labels.items()},
        )

    @property
    def unlearned(self) -> dict[str, int]:
        """{label that no training image has: images}: the candidate cannot but get them wrong."""
        return {label: tally.unknown for label, tally in self.labels.items() if tally.unknown}


@dataclass(frozen=True)
class Verdict:
    """A decision. `reasons` say why a model is not released; there are none when it is."""

    reasons: tuple[str, ...]
    slices: tuple[SliceVerdict, ...]  # all images first, then spans and labels

    @property
    def blessed(self) -> bool:
        return not self.reasons


def decide(tallies: Tallies, requirements: Requirements, current: str) -> Verdict:
    """Decides about a candidate. `current` is the tag of the model that it was compared with, "" without one."""
    overall = Slice(OVERALL, "", tallies.overall.pairs)
    if current:
        compared = comparison.compare(overall, tallies.slices, requirements.margin)
        slices = tuple(_compared(found, requirements.margin, len(compared)) for found in compared)
    else:
        slices = tuple(
            SliceVerdict(one.kind, one.name, one.pairs.images, one.pairs.right) for one in [overall, *tallies.slices]
        )
    reasons = [
        *_too_low(tallies.overall, requirements.threshold),
        *map(partial(_worse, current), (of for of in slices if of.finding == Finding.WORSE.value)),
        *_lost_labels(tallies, requirements.label_floor),
    ]
    if reasons and (answer := constant_answer(tallies)):
        reasons.insert(0, f"every image is taken for {answer!r}: the network diverged or learned nothing")
    return Verdict(tuple(reasons), slices)


def constant_answer(tallies: Tallies) -> str:
    """Returns the label that all images of several labels are taken for, "" when there is no such label."""
    answers = {predicted for _, predicted in tallies.overall.confusion}
    learned = set(tallies.labels).difference(tallies.unlearned)
    return answers.pop() if len(answers) == 1 and len(learned) > 1 else ""


def _compared(found: Comparison, margin: float, slices: int) -> SliceVerdict:
    pairs = found.slice.pairs
    return SliceVerdict(
        kind=found.slice.kind,
        name=found.slice.name,
        images=pairs.images,
        right=pairs.right,
        current_right=pairs.current_right,
        lost=pairs.lost,
        gained=pairs.gained,
        finding=found.finding.value,
        p=found.p,
        level=found.level,
        interval=comparison.interval(pairs),
        detectable=(
            comparison.detectable(found, margin) if slices <= MOST_EXAMINED or found.slice.kind == OVERALL else None
        ),
    )


def _worse(current: str, of: SliceVerdict) -> str:
    return f"{of.sentence(current)} ({of.lost:,} lost, {of.gained:,} gained)"


def _too_low(tally: Tally, needed: float) -> Iterator[str]:
    if tally.images and tally.right / tally.images < needed:
        accuracy = percent(tally.right / tally.images)
        yield (
            f"overall: {tally.right:,} of {tally.images:,} right ({accuracy}), below the threshold {threshold(needed)}"
        )


def _lost_labels(tallies: Tallies, floor: float) -> Iterator[str]:
    labels = [one for one in tallies.slices if one.kind == LABEL]
    for lost in comparison.lost_labels(labels, floor):
        right, images = lost.pairs.right, lost.pairs.images
        if right:
            yield f"{lost}: {right:,} of {images:,} right, certainly below the LABEL_FLOOR {threshold(floor)}"
        else:
            why = "no image of it was for training" if tallies.labels[lost.name].unknown else "the model never sees it"
            yield f"{lost}: none of {images:,} right: {why} (LABEL_FLOOR)"
