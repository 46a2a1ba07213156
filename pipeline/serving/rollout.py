"""Promotes and rolls back a release where it serves: on the endpoint, on devices, by `serve`, or on all of them.

The endpoint moves first. Asked twice, each part takes one step, so the same call after one that was killed in between
moves the others.
"""

from pipeline.config import Config
from pipeline.errors import NothingToRollBack, SpanloopError, UsageError
from pipeline.outcomes import RolloutOutcome, Served
from pipeline.progress import Log, no_log
from pipeline.releases.factory import releases_of
from pipeline.serving import canary, endpoint
from pipeline.serving.device_channel import DeviceChannel
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.local_traffic import LocalTraffic

ENDPOINT, DEVICES, SERVER = "endpoint", "devices", "server"
PARTS = (ENDPOINT, DEVICES, SERVER)


def promote(
    config: Config, tag: str | None = None, only: str | None = None, percent: int = 100, log: Log = no_log
) -> RolloutOutcome:
    """Gives a release all of the endpoint's traffic, and `percent` of the devices on the channel stable.

    `tag` is by default the canary, or without one the newest release. `only` is one of PARTS; without it all move that
    are configured. Raises ReleaseNotFound, NoRelease, NoDeviceModel before anything has moved.
    """
    moving = _moving(config, only)
    if DEVICES not in moving and percent != 100:
        raise UsageError("--percent is about devices: set DEVICE_CHANNEL, or leave out --only.")
    channel = DeviceChannel(config, log) if DEVICES in moving else None
    looked_at = Endpoint(config, log) if ENDPOINT in moving else channel or LocalTraffic(config)
    release = canary.candidate(looked_at.state(), releases_of(config), tag)
    if channel:
        channel.publish(release)
    return RolloutOutcome(
        endpoint.promote(config, release.tag, log) if ENDPOINT in moving else None,
        channel.reach(canary.promotion(release.tag), percent) if channel else None,
        LocalTraffic(config).promote(release.tag) if SERVER in moving else None,
    )


def roll_back(config: Config, only: str | None = None, log: Log = no_log) -> RolloutOutcome:
    """Removes the canary, or without one returns to the release before. Raises NothingToRollBack if no part can."""
    done, refusals = {}, []
    take_back = {
        ENDPOINT: lambda: endpoint.roll_back(config, log),
        DEVICES: lambda: DeviceChannel(config, log).reach(canary.roll_back),
        SERVER: lambda: LocalTraffic(config).roll_back(),
    }
    for part in _moving(config, only):
        try:
            done[part] = take_back[part]()
        except NothingToRollBack as nothing:
            refusals.append(nothing)
    if not done:
        raise refusals[0]
    for refusal in refusals:
        log(str(refusal))
    return RolloutOutcome(*map(done.get, PARTS))


def served(config: Config) -> Served:
    """Looks at the parts that are configured. What cannot be read is a problem, no error: others are to be shown."""
    traffic, channels, shares, problems = None, None, None, []
    if config.endpoint and config.in_cloud:
        try:
            traffic = endpoint.traffic(config)
            problems += [
                f"endpoint: {name} ({identifier}) has no traffic, is no release of {config.releases} and keeps a"
                " machine running: `python -m ci clean` ends it after 30 days, what `doctor` prints at once."
                for identifier, name in endpoint.unused(config).items()
            ]
        except SpanloopError as error:
            problems.append(f"endpoint: {error}")
    if config.device_channel:
        try:
            channels = DeviceChannel(config).look().channels
        except SpanloopError as error:
            problems.append(f"devices: {error}")
    try:
        local = LocalTraffic(config)
        shares = dict(local.state().traffic) if local.exists() else None
    except SpanloopError as error:
        problems.append(f"server: {error}")
    return Served(traffic, channels, shares, tuple(problems))


def _moving(config: Config, only: str | None) -> list[str]:
    """Returns the parts to move. Without any the endpoint, whose settings are then asked for."""
    if only:
        return [only]
    configured = {
        ENDPOINT: config.endpoint,
        DEVICES: config.device_channel,
        SERVER: LocalTraffic(config).exists(),
    }
    return [part for part, place in configured.items() if place] or [ENDPOINT]
