"""Who gets which share of an endpoint's traffic: plain decisions, nothing is called.

A goal may be asked for again at any moment, also halfway: of what came of it, it makes the same once more.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.errors import NothingToRollBack

PROMOTED, PREVIOUS, ROLLED_BACK = "promoted", "previous", "rolled-back"  # labels of an endpoint, each with a tag


@dataclass(frozen=True)
class State:
    """What an endpoint serves. A model of ours goes by its release's tag, anybody else's by `id:` and its ID."""

    traffic: Mapping[str, int]  # percent for each model that is deployed
    labels: Mapping[str, str]
    endpoint: str = ""  # its display name

    @property
    def promoted(self) -> str:
        """Returns the tag of the model that serves until another one is promoted, "" before the first."""
        return self._tag(PROMOTED)

    @property
    def previous(self) -> str:
        """Returns the tag that was promoted before, "" when there is none to go back to."""
        return self._tag(PREVIOUS)

    @property
    def rolled_back(self) -> str:
        """Returns the tag that the last roll back took away, "" when a promotion came after it."""
        return self._tag(ROLLED_BACK)

    @property
    def canaries(self) -> list[str]:
        """Returns our models that are deployed and were not promoted, newest first."""
        tried = (model for model in self.traffic if ours(model) and model not in (self.promoted, self.previous))
        return sorted(tried, key=number, reverse=True)

    def _tag(self, label: str) -> str:
        value = self.labels.get(label, "")
        return value if ours(value) else ""

    def become(self, traffic: Mapping[str, int], **labels: str) -> "State":
        """Returns a state with other traffic and these labels changed, or gone where they are ""."""
        changed = {**self.labels, **{name.replace("_", "-"): value for name, value in labels.items()}}
        return State(traffic, {name: value for name, value in changed.items() if value}, self.endpoint)


Goal = Callable[[State], State]


def number(tag: str) -> int:
    """Returns 2 for "model-2"."""
    return int(tag.removeprefix("model-"))


def ours(model: str) -> bool:
    """True when a model goes by the tag of a release."""
    return re.fullmatch(r"model-[1-9]\d*", model, re.ASCII) is not None


def promotion(tag: str) -> Goal:
    """Gives a model all of the traffic and undeploys our others; remembers the one that was promoted before."""

    def goal(state: State) -> State:
        before = state.previous if state.promoted == tag else state.promoted
        return state.become(_all_to(tag, state), promoted=tag, previous=before, rolled_back="")

    return goal


def canary(tag: str, percent: int) -> Goal:
    """Gives a new model `percent` of the traffic; all of it where nothing else serves.

    Nothing changes for a model that is not newer than what is or was deployed: it had its turn, whoever asks again.
    """

    def goal(state: State) -> State:
        others = {model: share for model, share in state.traffic.items() if share or _stays(model, state)}
        if others.pop(tag, 0):
            return state.become({**others, tag: state.traffic[tag]})
        if not is_news(tag, state):
            return state
        for older in state.canaries:
            others.pop(older, None)
        if percent == 100 or not sum(others.values()):
            return promotion(tag)(state)
        return state.become({**scaled(others, 100 - percent), tag: percent})

    return goal


def is_news(tag: str, state: State) -> bool:
    """True when a model is newer than each that is promoted, was rolled back, or is being tried."""
    others = [state.promoted, state.rolled_back, *(model for model in state.canaries if model != tag)]
    return all(number(tag) > number(other) for other in others if other)


def roll_back(state: State) -> State:
    """Takes the last step back, once: the model that is being tried or else the last promotion.

    Raises NothingToRollBack when neither is there.
    """
    if state.promoted and state.canaries:
        return state.become(_all_to(state.promoted, state), rolled_back=state.canaries[0])
    if state.promoted and state.rolled_back:
        return state.become(_all_to(state.promoted, state))  # the last step was this one
    if not state.previous:
        raise NothingToRollBack(state.endpoint, state.promoted)
    to = _all_to(state.previous, state)
    return state.become(to, promoted=state.previous, previous="", rolled_back=state.promoted)


def scaled(shares: Mapping[str, int], total: int) -> dict[str, int]:
    """Returns whole numbers in the proportions of `shares`, as near as they get, that add up to `total`."""
    whole = sum(shares.values())
    rounded = {model: share * total // whole for model, share in shares.items()}
    left = {model: share * total % whole for model, share in shares.items()}
    for model in sorted(left, key=left.get, reverse=True)[: total - sum(rounded.values())]:
        rounded[model] += 1
    return rounded


def _stays(model: str, state: State) -> bool:
    """True for what is kept deployed without traffic: what serves by default, and what we did not put there."""
    return model == state.promoted or not ours(model)


def _all_to(tag: str, state: State) -> dict[str, int]:
    return {**{model: 0 for model in state.traffic if not ours(model)}, tag: 100}
