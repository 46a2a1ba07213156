"""Roughly what a run on Vertex AI costs: the durations of earlier runs, or stated assumptions, times prices."""

import dataclasses
from collections.abc import Iterable, Mapping

from pipeline.cloud import prices
from pipeline.cloud.machines import format_machine
from pipeline.config import Config, Machine

# https://cloud.google.com/vertex-ai/docs/pipelines/machine-types: of a node that names no machine
DEFAULT = Machine("e2-standard-4")
# Minutes of a node that no run has shown yet, with the start of its machine.
ASSUMED = {"Trainer": 30, "DeviceTrainer": 30, "Tuner": 120}
ASSUMED_OTHERWISE = 4


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run needs, without the nodes that are cached."""

    hours: Mapping[str, float]  # {machine: hours}
    dollars: float  # of all machines that have a price, and of the run
    unpriced: tuple[str, ...]  # machines that have none
    assumed: Mapping[str, float]  # {node without a known duration: minutes}


def machines(config: Config) -> dict[str, list[Machine]]:
    """Returns the machines on which nodes run as jobs of their own: of each list the first with capacity."""
    found = {"Trainer": config.machines}
    if config.tune:
        found["Tuner"] = config.machines
    if config.device_model:
        found["DeviceTrainer"] = config.device_machines or config.machines
    return found


def estimate(config: Config, nodes: Iterable[str], seconds: Mapping[str, float], runs: int = 1) -> Estimate:
    """Estimates `runs` runs with these nodes in all; `seconds` are their durations as far as they are known."""
    hours: dict[str, float] = {}
    assumed: dict[str, float] = {}
    dollars, unpriced = runs * prices.RUN, {}
    own = machines(config)
    for node in nodes:
        if node not in seconds:
            assumed[node] = ASSUMED.get(node, ASSUMED_OTHERWISE)
        lasts = seconds[node] / 3600 if node in seconds else assumed[node] / 60
        jobs = [own[node][0]] * (config.parallel_trials if node == "Tuner" else 1) if node in own else []
        for machine in [DEFAULT, *jobs]:
            shown, price = format_machine(machine), prices.per_hour(machine)
            hours[shown] = hours.get(shown, 0.0) + lasts
            if price is None:
                unpriced[shown] = None
            else:
                dollars += lasts * price
    return Estimate(hours, dollars, tuple(unpriced), assumed)
