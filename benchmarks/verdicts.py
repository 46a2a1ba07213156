"""How often a verdict refuses models that are as good as the current one, worse, or have lost a label: simulated.

Two models are compared on spans of ten labels each. Each image is lost, gained or neither, at random; nothing else goes
into a verdict. Compared are the rule of pipeline/quality/comparison.py and an absolute margin for all images and for
each span. `theory` is what the exact McNemar test alone allows at that number of images, at the level that the
correction leaves it: of the test of all images or that of the span, whichever sees more. A verdict has all those tests,
so it may refuse more; more than 5 points less would be an error.
"""

import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from pipeline.quality.comparison import (  # noqa: E402
    ALPHA,
    LABEL,
    LEAST_IMAGES,
    OVERALL,
    SPAN,
    Finding,
    Pairs,
    Slice,
    compare,
    lost_labels,
    power,
)

MARGIN = 0.02  # the default of ACCURACY_MARGIN
FLOOR = 0.01  # the default of LABEL_FLOOR
LABELS = 10
SPANS = (1, 5, 10, 20, 50)
IMAGES = (10, 30, 100, 300, 1000)  # of a span
DIFFERING = (0.005, 0.02, 0.04, 0.2, 0.6)  # share of images that exactly one of two equally good models gets right
TIMES = (1, 2, 5)  # by how many margins a worse model is worse


@dataclass(frozen=True)
class Case:
    """A candidate beside the current model."""

    spans: int
    images: int  # of each span
    differing: float
    loss: float = 0.0  # by how much it is really worse
    where: str = OVERALL  # or SPAN: on the first span only

    def theory(self) -> float:
        """What the exact test alone allows: the more significant one of the tests of all images and of a span."""
        gained = self.differing / 2
        whole = self.spans * self.images
        others = LABELS + (self.spans if self.spans > 1 else 0)
        seen = power(whole, gained + self.loss / (self.spans if self.where == SPAN else 1), gained, ALPHA / 2)
        if self.spans > 1:
            seen = max(seen, power(self.images, gained + self.loss, gained, ALPHA / 2 / others))
        return seen

    def draws(self, times: int, seed: int) -> Iterator[np.ndarray]:
        """Yields the numbers [spans, labels, (images, lost, gained)] of one verdict after another."""
        generator = np.random.default_rng(seed)
        sizes = np.full((self.spans, LABELS), self.images // LABELS)
        gained = self.differing / 2
        shares = np.empty((self.spans, LABELS, 3))
        shares[...] = gained + self.loss, gained, 1 - 2 * gained - self.loss
        if self.where == SPAN:
            shares[1:] = gained, gained, 1 - 2 * gained
        for _ in range(times):
            drawn = generator.multinomial(sizes, shares)
            yield np.concatenate([sizes[..., np.newaxis], drawn[..., :2]], axis=2)


def slices(numbers: np.ndarray) -> tuple[Slice, list[Slice]]:
    """Returns what is compared: all images, and those of each span and label."""

    def pairs(of: np.ndarray) -> Pairs:
        images, lost, gained = map(int, of)
        return Pairs(images, images - lost, lost, gained)

    spans = [Slice(SPAN, str(number), pairs(of)) for number, of in enumerate(numbers.sum(1), 1)]
    labels = [Slice(LABEL, str(number), pairs(of)) for number, of in enumerate(numbers.sum(0))]
    return Slice(OVERALL, "", pairs(numbers.sum((0, 1)))), [*spans, *labels]


def refused(numbers: np.ndarray) -> bool:
    """True when a verdict refuses the candidate."""
    return any(found.finding is Finding.WORSE for found in compare(*slices(numbers), MARGIN))


def refused_by_absolute_margin(numbers: np.ndarray) -> bool:
    """True when the candidate's accuracy is lower by more than the margin, on all images or on one span."""
    parts = np.concatenate([numbers.sum(1), numbers.sum((0, 1))[np.newaxis]])
    return bool(np.any((parts[:, 1] - parts[:, 2]) / parts[:, 0] > MARGIN))


def share(case: Case, times: int, seed: int = 0) -> tuple[float, float]:
    """Returns which share of verdicts refuses, by the comparison and by the absolute margin."""
    drawn = [(refused(numbers), refused_by_absolute_margin(numbers)) for numbers in case.draws(times, seed)]
    ours, before = np.mean(drawn, axis=0).tolist()
    return ours, before


def keeps_a_lost_label(images: int, labels: int) -> bool:
    """True when a model that gets none of a label's `images` right is not refused."""
    others = [Slice(LABEL, str(number), Pairs(100, 90)) for number in range(labels - 1)]
    return not list(lost_labels([Slice(LABEL, "lost", Pairs(images, 0)), *others], FLOOR))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of Markdown."""
    for row in (heads, ["---:"] * len(heads), *rows):
        print(f"| {' | '.join(row)} |", flush=True)


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def equal_models(times: int) -> float:
    """Prints how often equally good models are refused; returns the largest share."""
    print(f"\nRefused of equally good models, in percent (before: absolute margin), {times:,} verdicts each\n")
    rows, largest = [], 0.0
    for spans, images in itertools.product(SPANS, IMAGES):
        found = [share(Case(spans, images, differing), times) for differing in DIFFERING]
        largest = max(largest, *(ours for ours, _ in found))
        rows.append([f"{spans}", f"{images:,}", *(f"{percent(ours)} ({percent(before)})" for ours, before in found)])
    table(["spans", "images each", *(f"{100 * differing:g} % differ" for differing in DIFFERING)], rows)
    return largest


def worse_models(times: int, differing: float = 0.04) -> float:
    """Prints how often worse models are refused; returns by how much this falls short of the theory at most."""
    print(
        f"\nRefused of models that are really worse, in percent: here / theory (before: absolute margin);"
        f" {100 * differing:g} % of the images differ besides, {times:,} verdicts each\n"
    )
    rows, short = [], 0.0
    for spans, images in itertools.product(SPANS, IMAGES):
        row = [f"{spans}", f"{images:,}"]
        for where, by in itertools.product((OVERALL, SPAN), TIMES):
            case = Case(spans, images, differing, by * MARGIN, where)
            ours, before = share(case, times)
            short = max(short, case.theory() - ours)
            row.append(f"{percent(ours)} / {percent(case.theory())} ({percent(before)})")
        rows.append(row)
    places = {OVERALL: "overall", SPAN: "on a span"}
    table(
        ["spans", "images each", *(f"{by} x margin {places[where]}" for where in places for by in TIMES)],
        rows,
    )
    return short


def main() -> None:
    import measure

    largest = equal_models(1000)
    short = worse_models(400)
    kept = [images for images in range(LEAST_IMAGES, 1001) if keeps_a_lost_label(images, LABELS)]
    print(f"\nlargest share of equally good models that is refused: {percent(largest)} %")
    print(f"worse models: at most {percent(short)} points fewer than the exact test alone refuses")
    print(f"models that lost a label of {LEAST_IMAGES} to 1,000 images and are not refused: {len(kept)}")
    if short > 0.05 or kept:
        sys.exit("error: worse models pass more often than they should")
    measure.finish("verdicts", 100 * largest, 100 * ALPHA, "% of equals refused", 1.0)


if __name__ == "__main__":
    main()
