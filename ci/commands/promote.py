"""Gives a release all of the endpoint's traffic, and all devices."""

from collections.abc import Mapping

import click

from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.outcomes import ChannelState, RolloutOutcome
from pipeline.serving import rollout

GROUP = "Google Cloud"


@command
@click.argument("tag", required=False)
@click.option("--only", type=click.Choice(rollout.PARTS), help="Move one of them.")
@click.option(
    "--percent",
    type=click.IntRange(0, 100),
    default=100,
    show_default=True,
    help="Percent of the devices on stable that get it; the others keep the release before. Repeat it with more.",
)
def promote(config: Config, tag: str | None, only: str | None, percent: int) -> Outcome:
    """Gives the release TAG all traffic of the endpoint, and the devices on the channel stable.

    Without TAG it promotes the canary; if there is none, the newest release. A release that was rolled back is promoted
    again only by its TAG. The endpoint (VERTEX_ENDPOINT), devices (DEVICE_CHANNEL) and what `serve` serves of this
    workspace move together, where they are there.
    """
    done = rollout.promote(config, tag or None, only, percent, log)  # a button's empty field is an empty argument
    return Outcome(summary(done, config), **done.to_json())


def summary(done: RolloutOutcome, config: Config) -> str:
    """Returns what the endpoint and devices serve as text, a line each."""
    lines = []
    if done.endpoint:
        changed = "" if done.endpoint.changed else " (as it was already)"
        lines.append(f"{config.endpoint}: {traffic_text(done.endpoint.traffic)}{changed}.")
    if done.devices:
        changed = "" if done.devices.changed else " (as it was already)"
        lines.append(f"devices: {channels_text(done.devices.channels)}{changed}.")
    if done.server:
        changed = "" if done.server.changed else " (as it was already)"
        lines.append(f"server: {traffic_text(done.server.traffic)}{changed}.")
    return "\n".join(lines)


def traffic_text(traffic: Mapping[str, int]) -> str:
    """Returns 'model-2 90 %, model-3 10 %'."""
    return ", ".join(f"{model} {share} %" for model, share in traffic.items())


def channels_text(channels: Mapping[str, ChannelState]) -> str:
    """Returns 'stable model-2 100 %, beta model-3 10 % (others model-2)'."""
    texts = []
    for name, channel in channels.items():
        others = f" (others {channel.previous or 'what they have'})" if channel.percent < 100 else ""
        texts.append(f"{name} {channel.tag} {channel.percent} %{others}")
    return ", ".join(texts)
