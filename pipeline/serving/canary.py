"""The canary policy: which model gets which share of an endpoint's traffic, or of devices. Without calls of an API.

A goal is idempotent: applied to its own result, or to a state halfway there, it returns the same state.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.errors import NoRelease, NothingToRollBack
from pipeline.releases.base import Releases
from pipeline.releases.record import Release

PROMOTED, PREVIOUS, ROLLED_BACK = "promoted", "previous", "rolled-back"  # labels of an endpoint, each with a tag


@dataclass(frozen=True)
class State:
    """What an endpoint serves. A released model has its release's tag as its name, any other `id:` and its ID."""

    traffic: Mapping[str, int]  # percent, for each deployed model
    labels: Mapping[str, str]
    endpoint: str = ""  # its display name

    @property
    def promoted(self) -> str:
        """Returns the tag of the model that serves until another one is promoted, "" before the first."""
        return self._tag(PROMOTED)

    @property
    def previous(self) -> str:
        """Returns the tag that was promoted before, "" without one to return to."""
        return self._tag(PREVIOUS)

    @property
    def rolled_back(self) -> str:
        """Returns the tag that the last roll back removed, "" after a later promotion."""
        return self._tag(ROLLED_BACK)

    @property
    def canaries(self) -> list[str]:
        """Returns the released models that are deployed and were not promoted, newest first."""
        tried = (model for model in self.traffic if is_release(model) and model not in (self.promoted, self.previous))
        return sorted(tried, key=number, reverse=True)

    def _tag(self, label: str) -> str:
        value = self.labels.get(label, "")
        return value if is_release(value) else ""

    def replace(self, traffic: Mapping[str, int], **labels: str) -> "State":
        """Returns a state with new traffic and with these labels changed, or removed where they are ""."""
        changed = {**self.labels, **{name.replace("_", "-"): value for name, value in labels.items()}}
        return State(traffic, {name: value for name, value in changed.items() if value}, self.endpoint)


Goal = Callable[[State], State]


def number(tag: str) -> int:
    """Returns 2 for "model-2"."""
    return int(tag.removeprefix("model-"))


def is_release(model: str) -> bool:
    """True for the name of a released model."""
    return re.fullmatch(r"model-[1-9]\d*", model, re.ASCII) is not None


def promotion(tag: str) -> Goal:
    """Gives a model all of the traffic and undeploys the other releases; records which was promoted before."""

    def goal(state: State) -> State:
        before = state.previous if state.promoted == tag else state.promoted
        return state.replace(_all_to(tag, state), promoted=tag, previous=before, rolled_back="")

    return goal


def canary(tag: str, percent: int) -> Goal:
    """Gives a new model `percent` of the traffic; all of it where no other model serves.

    Changes nothing for a model that is not newer than those that are or were deployed.
    """

    def goal(state: State) -> State:
        others = {model: share for model, share in state.traffic.items() if share or _stays(model, state)}
        if others.pop(tag, 0):
            return state.replace({**others, tag: state.traffic[tag]})
        if not is_newer(tag, state):
            return state
        for older in state.canaries:
            others.pop(older, None)
        if percent == 100 or not sum(others.values()):
            return promotion(tag)(state)
        return state.replace({**scaled(others, 100 - percent), tag: percent})

    return goal


def candidate(state: State, releases: Releases, tag: str | None = None) -> Release:
    """Returns the release to promote: `tag`, else the canary, a newer one, the promoted one, or the newest.

    Raises ReleaseNotFound or NoRelease.
    """
    if tag is None:
        newest = releases.tags()[:1]
        new = [tag for tag in newest if is_newer(tag, state)]
        tag = next(filter(None, [*state.canaries, *new, state.promoted, *newest]), None)
    if tag is None:
        raise NoRelease(releases.address)
    return releases.get(tag)


def is_newer(tag: str, state: State) -> bool:
    """True when a model is newer than the promoted one, the one rolled back, and each canary."""
    others = [state.promoted, state.rolled_back, *(model for model in state.canaries if model != tag)]
    return all(number(tag) > number(other) for other in others if other)


def roll_back(state: State) -> State:
    """Removes the canary, or without one undoes the last promotion, once.

    Raises NothingToRollBack without either.
    """
    if state.promoted and state.canaries:
        return state.replace(_all_to(state.promoted, state), rolled_back=state.canaries[0])
    if state.promoted and state.rolled_back:
        return state.replace(_all_to(state.promoted, state))  # the last step was this one
    if not state.previous:
        raise NothingToRollBack(state.endpoint, state.promoted)
    to = _all_to(state.previous, state)
    return state.replace(to, promoted=state.previous, previous="", rolled_back=state.promoted)


def scaled(shares: Mapping[str, int], total: int) -> dict[str, int]:
    """Returns integers that sum to `total`, in proportions as close to those of `shares` as possible."""
    whole = sum(shares.values())
    rounded = {model: share * total // whole for model, share in shares.items()}
    left = {model: share * total % whole for model, share in shares.items()}
    for model in sorted(left, key=left.get, reverse=True)[: total - sum(rounded.values())]:
        rounded[model] += 1
    return rounded


def _stays(model: str, state: State) -> bool:
    """True for a model that stays deployed without traffic: the promoted one, and those deployed by others."""
    return model == state.promoted or not is_release(model)


def _all_to(tag: str, state: State) -> dict[str, int]:
    return {**{model: 0 for model in state.traffic if not is_release(model)}, tag: 100}
