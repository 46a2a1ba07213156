"""Is a candidate worse than the current model? Paired comparison on the same images, corrected for their number.

Each slice (all images, those of a span, those of a label) has two tests:

- the exact McNemar test (https://doi.org/10.1007/BF02295996): were the two models equally good, an image that exactly
  one of them gets right would be a fair coin, so the images that the candidate lost are binomial with a share of 1/2;
- Tango's score test of non-inferiority (https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B):
  is the loss certainly smaller than the margin?

A candidate is refused for a slice on which it lost significantly and not certainly less than the margin. All tests of
one verdict together refuse at most a share ALPHA of candidates that are as good as the current model.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy import special

ALPHA = 0.05  # the most equally good candidates that chance may refuse, all slices together
BEYOND = 0.025  # how often a loss as large as the margin may pass as certainly smaller: one side of a 95 % interval
LEAST_IMAGES = 10  # of a slice that is compared on its own, and of a label that must not be lost
OVERALL, SPAN, LABEL = "overall", "span", "label"


@dataclass(frozen=True)
class Pairs:
    """How two models do on the same images."""

    images: int
    right: int  # by the candidate
    lost: int = 0  # right by the current model, wrong by the candidate
    gained: int = 0  # the other way round

    @property
    def current_right(self) -> int:
        return self.right + self.lost - self.gained

    @property
    def difference(self) -> float:
        """By how much the candidate's accuracy is above that of the current model."""
        return (self.gained - self.lost) / self.images

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(
            self.images + other.images, self.right + other.right, self.lost + other.lost, self.gained + other.gained
        )


@dataclass(frozen=True)
class Slice:
    """Images that are evaluated together: all, those of one span or those of one label."""

    kind: str  # OVERALL, SPAN or LABEL
    name: str  # of the span or label, "" overall
    pairs: Pairs

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


class Finding(str, Enum):
    """What a comparison came to; only WORSE refuses a model."""

    WORSE = "worse than chance explains"
    ALLOWED = "worse, but by less than the margin"
    BETTER = "better than chance explains"
    CHANCE = "within chance"
    FEW = "too few images"


@dataclass(frozen=True)
class Comparison:
    """A slice, and whether the candidate is worse on it."""

    slice: Slice
    finding: Finding
    p: float  # probability of at least as many lost images if both models were equally good
    level: float  # the largest p that counts as significant; 0 when it was not tested


def compare(overall: Slice, slices: Sequence[Slice], margin: float) -> list[Comparison]:
    """Compares candidate and current on all images and on each slice; the comparison of all images comes first.

    Half of ALPHA is spent on all images, half on the slices (Holm's correction). A slice whose models differ on so few
    images that they could not be significant does not count (Tarone's correction, https://doi.org/10.2307/2531456); so
    ALPHA is spent on all images alone when none counts. The levels depend on nothing but how many images the models
    differ on, which says nothing about the better one.
    """
    tested = [one.pairs for one in slices if _has_a_test(one, overall)]
    lost = np.array([pairs.lost for pairs in tested], dtype=np.int64)
    discordant = lost + np.array([pairs.gained for pairs in tested], dtype=np.int64)
    p_values = mcnemar(lost, discordant)
    counting = tests_that_count(discordant, ALPHA / 2)
    tests = zip(p_values.tolist(), holm(p_values, discordant, ALPHA / 2, counting), strict=True)
    whole = _compared(overall, _p(overall.pairs), ALPHA / 2 if counting else ALPHA, margin)
    found = [whole]
    for one in slices:
        if _has_a_test(one, overall):
            found.append(_compared(one, *next(tests), margin))
        elif one.pairs.images == overall.pairs.images:  # the only span
            found.append(dataclasses.replace(whole, slice=one))
        else:
            found.append(Comparison(one, Finding.FEW, _p(one.pairs), 0.0))
    return found


def _has_a_test(one: Slice, overall: Slice) -> bool:
    return LEAST_IMAGES <= one.pairs.images < overall.pairs.images


def _compared(one: Slice, p: float, level: float, margin: float) -> Comparison:
    if p > level:
        gain = float(mcnemar(np.array(one.pairs.gained), np.array(one.pairs.lost + one.pairs.gained)))
        return Comparison(one, Finding.BETTER if gain <= level else Finding.CHANCE, p, level)
    certainly_less = loss_score(one.pairs.lost, one.pairs.gained, one.pairs.images, margin) <= special.ndtri(BEYOND)
    return Comparison(one, Finding.ALLOWED if certainly_less else Finding.WORSE, p, level)


def _p(pairs: Pairs) -> float:
    return float(mcnemar(np.array(pairs.lost), np.array(pairs.lost + pairs.gained)))


def mcnemar(lost: np.ndarray, discordant: np.ndarray) -> np.ndarray:
    """Returns the one-sided exact p-values: the probability of `lost` or more heads in `discordant` tosses."""
    return np.where(lost > 0, special.bdtrc(np.maximum(lost - 1, 0), discordant, 0.5), 1.0)


def loss_score(lost: np.ndarray, gained: np.ndarray, images: float, margin: float) -> np.ndarray:
    """Returns Tango's score: below -1.96 the loss is certainly (97.5 %) smaller than the margin."""
    lost, gained = np.asarray(lost, dtype=float), np.asarray(gained, dtype=float)
    # The most probable share of gained images if the loss were the margin solves a quadratic equation.
    a, b = 2 * images, (2 * images - lost + gained) * margin - lost - gained
    c = -gained * margin * (1 - margin)
    share = (np.sqrt(np.maximum(b * b - 4 * a * c, 0)) - b) / (2 * a)
    variance = images * (2 * share + margin * (1 - margin))
    over = lost - gained - images * margin
    with np.errstate(divide="ignore", invalid="ignore"):
        score = over / np.sqrt(np.maximum(variance, 0))
    # without variance (margins of 0 and 1) nothing but the sign is left
    return np.where(variance > 0, score, np.where(over < 0, -np.inf, np.inf))


def interval(pairs: Pairs) -> tuple[float, float]:
    """Returns the 95 % interval of the difference of the accuracies, by Tango's score."""

    def bound(lost: int, gained: int) -> float:
        """The largest loss that the data do not exclude."""
        low, high = -1.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            # a negative loss is a gain: the same test with the models exchanged
            score = (
                loss_score(lost, gained, pairs.images, middle)
                if middle >= 0
                else -loss_score(gained, lost, pairs.images, -middle)
            )
            low, high = (low, middle) if score <= special.ndtri(BEYOND) else (middle, high)
        return (low + high) / 2

    return -bound(pairs.lost, pairs.gained), bound(pairs.gained, pairs.lost)


def tests_that_count(discordant: np.ndarray, level: float) -> int:
    """Returns Tarone's number of tests: the least k such that at most k of them can reach a p of `level` / k at all.

    0 when none could reach `level` if it were the only one.
    """
    least = np.sort(np.exp2(-discordant.astype(float)))
    for k in range(1, len(least) + 1):
        able = np.searchsorted(least, level / k, side="right")
        if able <= k:
            return k if able else 0
    return 0


def holm(p_values: np.ndarray, discordant: np.ndarray, level: float, counting: int) -> list[float]:
    """Returns the level of each test after Holm's step-down correction for the `counting` ones.

    The others, which cannot be significant, have the level that they would have if they counted too.
    """
    levels = np.full(len(p_values), level / (counting + 1))
    if counting:
        (able,) = np.nonzero(np.exp2(-discordant.astype(float)) <= level / counting)
        rejected = 0
        for test in able[np.argsort(p_values[able])]:
            levels[test] = level / (counting - rejected)
            rejected += bool(p_values[test] <= levels[test])
    return levels.tolist()


def power(images: int, lost: float, gained: float, level: float, margin: float | None = None) -> float:
    """Returns how often the exact test refuses a candidate that really loses and gains these shares of images.

    Exact: a sum over all numbers of images on which the models differ. With a `margin`, a loss that is certainly
    smaller is not refused.
    """
    differ = lost + gained
    if not lost or not images:
        return 0.0
    spread = 8 * math.sqrt(images * differ * (1 - differ)) + 10
    discordant = np.arange(max(0, math.floor(images * differ - spread)), min(images, images * differ + spread) + 1)
    discordant = discordant.astype(np.int64)
    chance = _binomial(discordant, images, differ)
    needed = critical(discordant, level)
    if margin is not None:
        needed = np.maximum(needed, _beyond_margin(discordant, images, margin))
    share = min(1.0, lost / differ)
    reached = np.where(needed <= discordant, special.bdtrc(np.clip(needed - 1, 0, discordant), discordant, share), 0.0)
    return float(np.sum(chance * np.where(discordant > 0, reached, 0.0)))


def critical(discordant: np.ndarray, level: float) -> np.ndarray:
    """Returns the least number of lost images that is significant; `discordant` + 1 where none is."""
    return _least(discordant, lambda lost: mcnemar(lost, discordant) <= level)


def _beyond_margin(discordant: np.ndarray, images: int, margin: float) -> np.ndarray:
    limit = special.ndtri(BEYOND)
    return _least(discordant, lambda lost: loss_score(lost, discordant - lost, images, margin) > limit)


def _least(discordant: np.ndarray, holds) -> np.ndarray:
    """Finds by bisection the least number of lost images for which something holds that holds for all above."""
    low, high = np.zeros_like(discordant), discordant + 1
    while np.any(low < high):
        middle = (low + high) // 2
        true = np.where(middle <= discordant, holds(np.minimum(middle, discordant)), True)
        low, high = np.where(true, low, middle + 1), np.where(true, middle, high)
    return low


def _binomial(successes: np.ndarray, trials: int, share: float) -> np.ndarray:
    log = special.gammaln(trials + 1) - special.gammaln(successes + 1) - special.gammaln(trials - successes + 1)
    return np.exp(log + special.xlogy(successes, share) + special.xlog1py(trials - successes, -share))


def detectable(comparison: Comparison, margin: float, often: float = 0.8) -> float | None:
    """Returns the least true loss of accuracy that these images would have shown in 80 of 100 cases.

    The candidate is taken to gain as many images as it did. None when no loss would have been seen so often.
    """
    pairs = comparison.slice.pairs
    gained = pairs.gained / pairs.images
    if not comparison.level or power(pairs.images, 1 - gained, gained, comparison.level, margin) < often:
        return None
    low, high = 0.0, 1 - gained
    while high - low > 1e-3:
        middle = (low + high) / 2
        seen = power(pairs.images, middle, gained, comparison.level, margin) >= often
        low, high = (low, middle) if seen else (middle, high)
    return max(0.0, high - gained)


def lost_labels(labels: Sequence[Slice], floor: float) -> Iterator[Slice]:
    """Yields the labels of which a model gets none right, or certainly a smaller share than `floor`; none at floor 0.

    Labels with fewer than LEAST_IMAGES images are left out. Certainly means: the exact upper bound
    (Clopper-Pearson) of the share lies below the floor, at ALPHA for all labels together.
    """
    counted = [one for one in labels if one.pairs.images >= LEAST_IMAGES]
    for one in counted:
        right, images = one.pairs.right, one.pairs.images
        if floor and (right == 0 or special.bdtr(right, images, floor) <= ALPHA / len(counted)):
            yield one
