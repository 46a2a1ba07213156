"""Which side of the split an image is on: for training or for evaluation.

An image alone is on the side that its sha256 names, the same in every run. What belongs together is on one side: images
that are the same to the eye (likeness.py), and those of one group. They follow what is published of them. Where nothing
is, the sha256 of one of them decides, and their contents alone decide which one that is. Where an image joins what was
published on both sides, training wins, and what was for evaluation moves there by a correction.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.data import likeness

TRAIN, EVAL = "train", "eval"
_SIDES = (TRAIN, EVAL)  # by the number that a record holds

# More than so many images that are all alike, and more than such a share, are a scene rather than copies of one image:
# a camera that never moves. On one side they would leave the other one empty, so only nearer ones are kept together.
SCENE_IMAGES, SCENE_SHARE = 100, 0.1
_NEAREST = 0.05  # radius below which only equal looks are kept together


def split_of(sha256: str) -> str:
    """Returns the split of an image alone, from the hexadecimal sha256 of its bytes: the same in every run."""
    return EVAL if sha256 < "33" else TRAIN  # 51 of 256


def number_of(split: str) -> int:
    """Returns what a record holds of a split."""
    return _SIDES.index(split)


@dataclass
class Arrangement:
    """Where images go that belong together. New ones and published ones are named by their positions."""

    moved: dict[int, str] = field(default_factory=dict)  # new image: its split, where that is not its own
    published: list[int] = field(default_factory=list)  # for evaluation so far, for training from now on
    alike: dict[int, int] = field(default_factory=dict)  # new image: another one like it; published ones count from 0,
    # new ones follow


def arrange(
    published: np.ndarray,
    new: np.ndarray,
    labels: Sequence[str],
    trained: Callable[[str], bool] = lambda label: True,
) -> Arrangement:
    """Arranges new images among published ones; both are arrays of likeness.RECORD.

    `labels` are those of the new ones; `trained` says whether a label has published images for training. One that has
    none gets some of the new ones, and one that lost more than half of its images for evaluation, because they joined
    others, gets some back, where they are free to be on either side.
    """
    begin, records = len(published), np.concatenate([published, new])
    pairs = np.concatenate([_EMPTY, *likeness.near_pairs(records, begin)])
    component = components(len(records), np.concatenate([pairs, _grouped(records)]))
    component = _without_scenes(records, begin, component)
    own, sides = new["split"], new["split"].copy()
    bound = np.zeros(len(records), bool)  # components that published images decide
    found = Arrangement(alike=_partners(pairs, component, begin))
    moved: set[int] = set()
    for members in together(component, begin):
        before, now = members[members < begin], members[members >= begin] - begin
        if len(before):
            bound[component[members[0]]] = True
            side = records["split"][before].min()  # training, unless all are for evaluation
            moved.update(before[records["split"][before] != side].tolist())
        else:
            side = own[now[_order(new["image"][now]).argmin()]]
        sides[now] = side
    if moved:
        found.published = sorted(_with_neighbours(published, moved))
    balance = _Balance(component[begin:], bound, sides, new["image"], labels, trained)
    balance.give_training()
    balance.give_evaluation(Counter(labels[at] for at in np.flatnonzero(own == number_of(EVAL))))
    found.moved = {int(at): _SIDES[sides[at]] for at in np.flatnonzero(sides != own)}
    return found


_EMPTY = np.zeros((0, 2), np.int64)


def _order(keys: np.ndarray) -> np.ndarray:
    """Permutes 64-bit numbers: their first digits decide the split, so they must not decide who decides it."""
    return keys * np.uint64(0x9E3779B97F4A7C15)


def _grouped(records: np.ndarray) -> np.ndarray:
    """Returns pairs of positions that connect the images of each group."""
    grouped = np.flatnonzero(records["group"])
    _, first, inverse = np.unique(records["group"][grouped], return_index=True, return_inverse=True)
    return np.stack([grouped[first[inverse.ravel()]], grouped], axis=1) if len(grouped) else _EMPTY


def components(count: int, pairs: np.ndarray) -> np.ndarray:
    """Returns for each position the smallest one that is connected with it, int64 [count]."""
    parent = np.arange(count)
    while len(pairs):
        first, second = parent[pairs[:, 0]], parent[pairs[:, 1]]
        if (first == second).all():
            break
        np.minimum.at(parent, np.maximum(first, second), np.minimum(first, second))
        while (parent != (following := parent[parent])).any():
            parent = following
    return parent


def together(component: np.ndarray, begin: int = 0) -> Iterable[np.ndarray]:
    """Yields the members of each component of several that has one at `begin` or after."""
    several = np.flatnonzero((np.bincount(component) > 1)[component])
    order = several[np.argsort(component[several], kind="stable")]
    bounds = np.flatnonzero(np.diff(component[order])) + 1
    for members in np.split(order, bounds) if len(order) else ():
        if members[-1] >= begin:
            yield members


def _without_scenes(records: np.ndarray, begin: int, component: np.ndarray) -> np.ndarray:
    """Takes components apart that are too large, into those of looks that are nearer to each other."""
    most = max(SCENE_IMAGES, SCENE_SHARE * len(records))
    radius = likeness.RADIUS
    while (large := np.flatnonzero(np.bincount(component, minlength=len(records)) > most)).size and radius > _NEAREST:
        radius /= 2
        for first in large:
            members = np.flatnonzero(component == first)
            if (records["group"][members] != 0).all() and len(set(records["group"][members].tolist())) == 1:
                continue  # one group, however large
            inside = records[members]
            pairs = np.concatenate([_EMPTY, *likeness.near_pairs(inside, 0, radius), _grouped(inside)])
            component[members] = members[components(len(inside), pairs)]
    return component


def _partners(pairs: np.ndarray, component: np.ndarray, begin: int) -> dict[int, int]:
    """Returns {new image: the first one that it is like}, of those that are kept together."""
    pairs = pairs[component[pairs[:, 0]] == component[pairs[:, 1]]]
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[pairs[:, 1] >= begin]
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))[::-1]]  # of several the last one written stays: the first
    return dict(zip((pairs[:, 1] - begin).tolist(), pairs[:, 0].tolist(), strict=True))


def _with_neighbours(published: np.ndarray, moved: set[int]) -> set[int]:
    """Returns the images that move from evaluation to training with these, because they are like them."""
    waiting = set(moved)
    while waiting:
        rest = published["split"] == number_of(EVAL)
        rest[list(moved)] = False
        others, chosen = np.flatnonzero(rest), np.array(sorted(waiting))
        records = np.concatenate([published[others], published[chosen]])
        pairs = np.concatenate([_EMPTY, *likeness.near_pairs(records, len(others)), _grouped(records)])
        pairs = np.sort(pairs, axis=1)
        reached = pairs[(pairs[:, 0] < len(others)) & (pairs[:, 1] >= len(others))][:, 0]
        waiting = set(others[reached].tolist())
        moved |= waiting
    return moved


class _Balance:
    """Gives labels that have too few images on one side of the split some of the other one, by changing `sides`.

    What moves are components that no published image binds, those of fewest images first.
    """

    def __init__(
        self,
        component: np.ndarray,
        bound: np.ndarray,
        sides: np.ndarray,
        keys: np.ndarray,
        labels: Sequence[str],
        trained: Callable[[str], bool],
    ):
        self._sides, self._trained = sides, trained
        self._labels, numbers = np.unique(np.array(labels), return_inverse=True)
        self._numbers = numbers.ravel()
        self._grouped = np.argsort(component, kind="stable")
        self._first, self._size = (np.zeros(component.max() + 1, np.int64) for _ in range(2))
        firsts, begins, sizes = np.unique(component[self._grouped], return_index=True, return_counts=True)
        self._first[firsts], self._size[firsts] = begins, sizes
        free = np.flatnonzero(~bound[component])
        self._free = free[np.lexsort((_order(keys[free]), self._size[component[free]]))]
        self._component = component

    def give_training(self) -> None:
        """Moves one component for each label that would have no image for training."""
        for number, label in enumerate(self._labels.tolist()):
            if not self._count(number, TRAIN) and not self._trained(label):
                for together in itertools.islice(self._candidates(number, TRAIN), 1):
                    self._sides[together] = number_of(TRAIN)

    def give_evaluation(self, own: Counter[str]) -> None:
        """Moves components for each label that has less than half as many images for evaluation as in `own`.

        None moves that would make them more than twice as many, and an image alone only for a label that has no other
        for evaluation. No label loses its last image for training.
        """
        for number, label in enumerate(self._labels.tolist()):
            have = self._count(number, EVAL)
            for together in self._candidates(number, EVAL):
                if 2 * have >= own[label]:
                    break
                more = int((self._numbers[together] == number).sum())
                fits = have + more <= 2 * own[label] and (len(together) > 1 or not have)
                if fits and self._leaves_training(together):
                    self._sides[together] = number_of(EVAL)
                    have += more

    def _count(self, number: int, side: str) -> int:
        return int(((self._numbers == number) & (self._sides == number_of(side))).sum())

    def _candidates(self, number: int, side: str) -> Iterator[np.ndarray]:
        """Yields the free components with images of a label on the other side."""
        chosen = self._free[(self._numbers[self._free] == number) & (self._sides[self._free] != number_of(side))]
        for component in dict.fromkeys(self._component[chosen].tolist()):
            begin = self._first[component]
            yield self._grouped[begin : begin + self._size[component]]

    def _leaves_training(self, together: np.ndarray) -> bool:
        rest = self._sides == number_of(TRAIN)
        rest[together] = False
        left = set(self._numbers[rest].tolist())
        return all(number in left or self._trained(self._labels[number]) for number in set(self._numbers[together]))
