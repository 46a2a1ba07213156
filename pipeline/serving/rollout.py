"""Promotes and rolls back a release where it serves: on the endpoint, on devices, or on both.

The endpoint moves first. Asked twice, each half takes one step, so the same call after one that was killed in between
moves the other half.
"""

from pipeline.config import Config
from pipeline.errors import NothingToRollBack, SpanloopError, UsageError
from pipeline.outcomes import RolloutOutcome, Served
from pipeline.progress import Log, no_log
from pipeline.releases.factory import releases_of
from pipeline.serving import canary, endpoint
from pipeline.serving.device_channel import DeviceChannel
from pipeline.serving.endpoint import Endpoint

ENDPOINT, DEVICES = "endpoint", "devices"


def promote(
    config: Config, tag: str | None = None, only: str | None = None, percent: int = 100, log: Log = no_log
) -> RolloutOutcome:
    """Gives a release all of the endpoint's traffic, and `percent` of the devices on the channel stable.

    `tag` is by default the canary, or without one the newest release. `only` is ENDPOINT or DEVICES; without it both
    move that are configured. Raises ReleaseNotFound, NoRelease, NoDeviceModel before anything has moved.
    """
    moving = _moving(config, only)
    releases = releases_of(config)
    if DEVICES not in moving:
        if percent != 100:
            raise UsageError("--percent is about devices: set DEVICE_CHANNEL, or leave out --only endpoint.")
        return RolloutOutcome(endpoint=endpoint.promote(config, tag, log))
    channel = DeviceChannel(config, log)
    looked_at = Endpoint(config, log) if ENDPOINT in moving else channel
    release = canary.candidate(looked_at.state(), releases, tag)
    channel.publish(release)
    served = endpoint.promote(config, release.tag, log) if ENDPOINT in moving else None
    return RolloutOutcome(served, channel.reach(canary.promotion(release.tag), percent))


def roll_back(config: Config, only: str | None = None, log: Log = no_log) -> RolloutOutcome:
    """Removes the canary, or without one returns to the release before. Raises NothingToRollBack if no half can."""
    done, refusals = {}, []
    for half in _moving(config, only):
        try:
            if half == ENDPOINT:
                done[half] = endpoint.roll_back(config, log)
            else:
                done[half] = DeviceChannel(config, log).reach(canary.roll_back)
        except NothingToRollBack as nothing:
            refusals.append(nothing)
    if not done:
        raise refusals[0]
    for refusal in refusals:
        log(str(refusal))
    return RolloutOutcome(done.get(ENDPOINT), done.get(DEVICES))


def served(config: Config) -> Served:
    """Looks at the halves that are configured. What cannot be read is a problem, no error: others are to be shown."""
    traffic, channels, problems = None, None, []
    if config.endpoint and config.in_cloud:
        try:
            traffic = endpoint.traffic(config)
        except SpanloopError as error:
            problems.append(f"endpoint: {error}")
    if config.device_channel:
        try:
            channels = DeviceChannel(config).look().channels
        except SpanloopError as error:
            problems.append(f"devices: {error}")
    return Served(traffic, channels, tuple(problems))


def _moving(config: Config, only: str | None) -> list[str]:
    """Returns the halves to move. Without any the endpoint, whose settings are then asked for."""
    if only:
        return [only]
    configured = {ENDPOINT: config.endpoint, DEVICES: config.device_channel}
    return [half for half, place in configured.items() if place] or [ENDPOINT]
