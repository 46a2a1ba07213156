"""What `submit --dry-run` shows: the run that would be submitted, in lines for people and fields for programs."""

import dataclasses
import os
from collections import Counter
from typing import Any

from ci.formatting import labels
from pipeline.cloud import automl_prices, prices
from pipeline.cloud.machines import format_machine, is_known
from pipeline.config import Config
from pipeline.errors import numbers
from pipeline.formatting import counted, listed, threshold
from pipeline.orchestrators import estimate, past_runs
from pipeline.orchestrators.estimate import Estimate
from pipeline.orchestrators.job_difference import differences, in_short
from pipeline.orchestrators.preview import Preview, Trained

INDENT = f"\n{'':<17}"  # of the second line about a thing


def text(config: Config, found: Preview, verbose: bool) -> str:
    """Returns what would run: a line for each thing that people ask about; with `verbose` also digests and JSON."""
    request = found.request
    lines = [f"Would submit {request.about} as {request.name}:"]
    if found.existing:
        there = f"{past_runs.id_of(found.existing)}, {past_runs.state_of(found.existing)}"
        lines = [f"Would start nothing: {request.about} is there already ({there})."]
    facts = {
        "data": data_text(found.trained),
        "compared with": found.trained.current or "nothing: it would be the first release",
        "released": released_text(config, found.automl_dollars is not None),
        "machines": machines_text(found),
        "image": f"TFX {found.image.tfx}, Python {found.image.python}, commit {found.image.commit[:12] or 'unknown'}",
        "settings": ", ".join(changed_settings(config)) or "all default",
        "last run": last_text(found, verbose),
        "from cache": f"probably {', '.join(found.cached)}" if found.cached else "nothing",
        "cost": (
            "none, as nothing would be started"
            if found.existing
            else cost_text(config, found.cost, found.automl_dollars)
        ),
    }
    lines += [f"  {name:<14} {text}" for name, text in facts.items()]
    if verbose:
        lines += [f"Compiled: {request.pipeline.digest}", f"Image: {found.image.image}", "Parameters:"]
        lines += [f"  {name}: {value}" for name, value in request.values.items()]
    return "\n".join([*lines, "Nothing was written, copied or built."])


def data_text(trained: Trained) -> str:
    """Returns 'spans 1 and 2: 50 images, 40 to train on and 10 to evaluate, cat 20, dog 30'."""
    parts, counts = [], Counter()
    for span in trained.spans:
        counts.update(span.labels)
    if trained.spans:
        images = sum(span.images for span in trained.spans)
        train, evaluation = (sum(span.count(split) for span in trained.spans) for split in ("train", "eval"))
        named = numbers(span.number for span in trained.spans)
        parts.append(
            f"span{'s' * (len(trained.spans) > 1)} {named}: {counted(images, 'image')}, {train:,} to train on and "
            f"{evaluation:,} to evaluate; {labels(counts)}"
        )
    if trained.new_span is not None:
        parts.append(f"span {trained.new_span}, of up to {counted(trained.collected, 'collected image')}")
    return "; and ".join(parts)


def released_text(config: Config, by_automl: bool = False) -> str:
    """Returns what a model needs to be released; AutoML always makes one for devices, too."""
    floor = f", and {threshold(config.label_floor)} of each label" if config.label_floor else ""
    margin = f"at most {config.accuracy_margin * 100:.10g} points worse than the current model"
    device = ""
    if config.device_model or by_automl:
        device = f"; with a device model of {threshold(config.device_accuracy_threshold)}"
    return f"from {threshold(config.accuracy_threshold)} accuracy on, {margin}{floor}{device}"


def machines_text(found: Preview) -> str:
    """Returns 'Trainer on n1-standard-4; every node on e2-standard-4', and which machines may be misspelled."""
    own = [f"{node} on {' or '.join(map(format_machine, tried))}" for node, tried in found.machines.items()]
    lines = ["; ".join([*own, f"every node on {format_machine(estimate.DEFAULT)}, Vertex AI's default"])]
    unknown = {machine.type for tried in found.machines.values() for machine in tried if not is_known(machine)}
    if unknown:
        lines.append(
            f"of a series that is not known here, which may be a mistake in writing: {listed(sorted(unknown))}"
        )
    return INDENT.join(lines)


def changed_settings(config: Config) -> list[str]:
    """Returns the settings of the environment that are not default, without places, accounts and secrets."""
    default = Config()
    changed = {
        field.metadata["variable"]
        for field in dataclasses.fields(Config)
        if getattr(config, field.name) != getattr(default, field.name)
    }
    shown = (setting for setting in config.settings(os.environ) if setting.variable in changed - NOT_SHOWN)
    return [f"{setting.variable}={setting.value}" for setting in shown if setting.origin == "environment"]


# They name where things are, not what happens, or stand in other lines.
NOT_SHOWN = frozenset(
    "WORKSPACE RELEASES GCP_PROJECT GCP_REGION BUILD_REGION PIPELINE_IMAGE IMAGE_REPOSITORY PIPELINE_SERVICE_ACCOUNT"
    " BUILD_SERVICE_ACCOUNT RELEASE_TOKEN_SECRET GITHUB_TOKEN".split()
)


def last_text(found: Preview, verbose: bool) -> str:
    """Returns how the last run ended, and what would be different now."""
    if found.last is None:
        return "none yet"
    changed = (differences if verbose else in_short)(found.last, found.job)
    lines = [f"{past_runs.id_of(found.last)}, {past_runs.state_of(found.last)}"]
    lines += changed or ["the same in everything"]
    return INDENT.join(lines)


def cost_text(config: Config, cost: Estimate, automl_dollars: float | None = None) -> str:
    """Returns roughly what a run costs, with AutoML also what its trainings cost at most, and on what that rests."""
    hours = ", ".join(f"{lasting:.1f} h of {machine}" for machine, lasting in cost.hours.items())
    lines = [f"about ${cost.dollars:.2f}: {hours or 'no machine'}, and ${prices.RUN:.2f} a run"]
    if cost.unpriced:
        lines.append(f"without {', '.join(cost.unpriced)}, whose price is not known here")
    if cost.assumed:
        minutes = ", ".join(f"{node} {lasting}" for node, lasting in cost.assumed.items() if node in estimate.ASSUMED)
        others = f"{estimate.ASSUMED_OTHERWISE} min for each {'other ' if minutes else ''}node"
        lines.append(f"assumed, as no run has shown it: {f'{minutes} min, ' if minutes else ''}{others}")
    else:
        lines.append("with the durations of the last runs")
    if automl_dollars is not None:
        lines.append(f"and at most ${automl_dollars:,.2f} for AutoML's trainings: {automl_prices.ADDRESS}")
    if config.dataflow_workers:
        lines.append("and Dataflow's workers, which are not counted")
    price = prices.per_hour(config.server) if automl_dollars is None else automl_prices.DEPLOYED
    if config.endpoint and price:
        served = f"{counted(config.replicas.least, 'machine')} of the endpoint"
        lines.append(f"and about ${price * config.replicas.least:.2f} an hour for {served}, as long as it serves")
    lines.append(f"prices of us-central1, {prices.DATE}; regions differ: {prices.ADDRESS}")
    return INDENT.join(lines)


def fields(found: Preview) -> dict[str, Any]:
    """Returns the same for programs."""
    trained, cost = found.trained, found.cost
    return {
        "job": found.request.name,
        "state": found.existing and past_runs.state_of(found.existing),
        "submitted": False,
        "digest": found.request.pipeline.digest,
        "image": found.image.image,
        "parameters": dict(found.request.values),
        "spans": [{"span": span.number, "images": span.images, "labels": span.labels} for span in trained.spans],
        "new_span": trained.new_span,
        "collected": trained.collected,
        "current": trained.current or None,
        "machines": {node: list(map(format_machine, tried)) for node, tried in found.machines.items()},
        "last": found.last and found.last["name"],
        "changed": differences(found.last, found.job) if found.last else [],
        "cached": found.cached,
        "automl_dollars": found.automl_dollars,
        "cost": {**dataclasses.asdict(cost), "prices": prices.ADDRESS, "of": prices.DATE},
    }
