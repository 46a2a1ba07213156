"""Predicts labels of images with the device model, the cloud model, or both."""

import contextlib
import hashlib
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ci.outcome import Outcome, command
from ci.progress import Count, log
from ci.streams import one_line
from pipeline.config import Config
from pipeline.data.images import MOST_BYTES
from pipeline.errors import UsageError
from pipeline.formatting import counted, listed, milliseconds, percent

if TYPE_CHECKING:
    from apps.client.answers import Answer, CloudModel
    from apps.client.device import OnDevice
    from apps.client.installation import Update
    from apps.client.policy import Client, Mode, Result

GROUP = "models"

ENDINGS = (".jpg", ".jpeg", ".png")  # of what is taken from folders


@command
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True))
@click.option(
    "--on",
    "mode",
    type=click.Choice(["device", "cloud", "escalate", "layered"]),
    default="escalate",
    show_default=True,
    help="Who answers: one of both; the device, and the cloud where it is unsure; or layered, see --question.",
)
@click.option("--channel", metavar="ADDRESS", help="Install the device model from here.  [default: DEVICE_CHANNEL]")
@click.option(
    "--public-key",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Key that has to have signed it, PEM.  [default: DEVICE_PUBLIC_KEY, or that of DEVICE_SIGNING_KEY]",
)
@click.option("--beta", is_flag=True, help="Follow the channel beta instead of stable.")
@click.option("--app-folder", metavar="DIR", help="Where the device model is installed.  [default: in ~/.local/share]")
@click.option("--server", metavar="URL", help="Server of the cloud model.  [default: VERTEX_ENDPOINT]")
@click.option(
    "--budget",
    metavar="SECONDS",
    type=click.FloatRange(0, 600, min_open=True),
    default=2.0,
    show_default=True,
    help="Time for an answer of the cloud; then the device's answer counts.",
)
@click.option(
    "--threshold",
    metavar="T",
    type=click.FloatRange(0, 1),
    help="Confidence below which the cloud is asked.  [default: what the device model was released with]",
)
@click.option(
    "--question",
    metavar="LABEL,...",
    help="layered: ask the cloud only where the device says that a picture shows one of these labels.",
)
@click.option(
    "--keep",
    metavar="DIR",
    help="Keep hard cases to be labelled: in this folder, gs://bucket/prefix, or http://.../unlabelled of `serve`.",
)
def predict(config: Config, files: Sequence[str], mode: str, keep: str | None, **options: Any) -> Outcome:
    """Predicts labels of JPEGs and PNGs, or of those in folders, with the models of one release.

    Where neither a channel nor a server is set, the models of the newest release run on this machine.
    """
    from apps.client.hard_cases import HardCases, open_place

    paths = list(images_of(files))
    with opened(config, mode, **options) as setup:
        kept = HardCases(open_place(keep), setup.client.threshold) if keep else None
        found: list[tuple[str, Result]] = []
        with Count("Predicting") as progress:
            for path, result in zip(paths, setup.client.predict_all(map(content, paths)), strict=True):
                found.append((path, result))
                if kept and result.answer:
                    kept.offer(content(path), result)
                progress(len(found))
    summary = Summary(setup, found, kept.kept if kept else None)
    return Outcome("\n".join(summary.lines()), exit_code=int(summary.unanswered > 0), **summary.to_json())


def images_of(files: Iterable[str]) -> Iterator[str]:
    """Yields the files, and of folders the JPEGs and PNGs below them, sorted. Raises UsageError for an empty folder."""
    for file in files:
        if not os.path.isdir(file):
            yield file
            continue
        inside = [os.path.join(at, name) for at, _, names in os.walk(file) for name in names]
        images = sorted(path for path in inside if path.lower().endswith(ENDINGS))
        if not images:
            raise UsageError(f"There is no JPEG or PNG in {file}: name files or another folder.")
        yield from images


def content(path: str) -> bytes:
    """Returns what a file holds; of one that is too large for a picture no more than shows it."""
    with open(path, "rb") as file:
        return file.read(MOST_BYTES + 1)


@dataclass
class Setup:
    """A client, and what it was made of."""

    client: "Client"
    notes: list[str] = field(default_factory=list)  # lines for people
    update: "Update | None" = None  # of the device model; None where no channel is followed


@contextlib.contextmanager
def opened(
    config: Config,
    mode: str,
    *,
    channel: str | None,
    public_key: str | None,
    beta: bool,
    app_folder: str | None,
    server: str | None,
    budget: float,
    threshold: float | None,
    question: str | None,
) -> Iterator[Setup]:
    """Yields the client that the options and settings describe."""
    from apps.client.policy import Client, Mode

    labels = tuple(filter(None, map(str.strip, (question or "").split(","))))
    of = Mode(mode)
    if (of is Mode.LAYERED) != bool(labels):
        raise UsageError(
            "--on layered needs the labels in question, such as --question cat,dog; no other mode has any."
        )
    channel = channel or config.device_channel
    with contextlib.ExitStack() as stack:
        notes: list[str] = []
        device, update = None, None
        if of.uses_device and channel:
            device, update = installed(config, channel, public_key, "beta" if beta else "stable", app_folder)
            notes += [f"Kept {update.tag}: {update.kept}."] if update.kept else []
        elif of.uses_device:
            device = stack.enter_context(released_device(config))
        if device and (unknown := set(labels).difference(device.labels)):
            raise UsageError(f"{device.model} has no label {listed(sorted(unknown))}, but {listed(device.labels)}.")
        cloud = cloud_model(config, of, server, budget)
        if cloud:
            stack.callback(cloud.close)
        yield Setup(Client(of, device, cloud, threshold=threshold, question=labels), notes, update)


def installed(
    config: Config, channel: str, public_key: str | None, name: str, folder: str | None
) -> "tuple[OnDevice, Update]":
    """Returns the device model that follows a channel, and what the last look at it came to."""
    from apps.client.channel import open_channel
    from apps.client.installation import Installation, NothingInstalled
    from pipeline.serving.device_manifest import DocumentRefused
    from pipeline.serving.device_signing import read_public_key, trusted_key

    if not (public_key or config.device_public_key or config.device_signing_key):
        raise UsageError(
            "Name the public key that signs for devices: DEVICE_PUBLIC_KEY or --public-key FILE, see"
            " docs/devices.md#make-a-key."
        )
    key = read_public_key(public_key, "--public-key") if public_key else trusted_key(config)
    task = config.modules.rpartition(".")[2]
    installation = Installation(folder or default_folder(channel, key, task, name), [key], task, name)
    update = installation.update(open_channel(channel))
    try:
        device = installation.open()
    except DocumentRefused as refused:
        raise NothingInstalled(channel, str(refused)) from None
    if device is None:
        raise NothingInstalled(channel, update.kept or "it has no release for this device yet")
    return device, update


def default_folder(channel: str, key: str, task: str, name: str) -> str:
    """Returns where a client of this channel and key has its model: one folder for each of them."""
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    digest = hashlib.sha256(f"{channel}\n{key}".encode()).hexdigest()[:12]
    return os.path.join(data, "spanloop", f"{task}-{name}-{digest}")


def released_device(config: Config) -> "contextlib.AbstractContextManager[OnDevice]":
    from apps.client import released
    from pipeline.releases.factory import releases_of

    releases = releases_of(config)
    return released.device_model(releases, released.newest(releases))


def cloud_model(config: Config, mode: "Mode", server: str | None, budget: float) -> "CloudModel | None":
    """Returns the cloud model: of a server, of the endpoint, or of the newest release on this machine."""
    if not mode.uses_cloud:
        return None
    if server:
        from apps.client.server import Server

        return Server(server, config.modules.rpartition(".")[2], budget)
    if config.endpoint:
        from apps.client.vertex import VertexEndpoint

        return VertexEndpoint(config, budget)
    from apps.client import released
    from pipeline.releases.factory import releases_of

    releases = releases_of(config)
    return released.ConfinedModel(releases, released.newest(releases), log)


@dataclass(frozen=True)
class Summary:
    """The results of one call, for people and for programs."""

    setup: Setup
    found: Sequence[tuple[str, "Result"]]
    kept: int | None  # None where nothing was to be kept

    @property
    def unanswered(self) -> int:
        return sum(result.answer is None for _, result in self.found)

    def _by(self, who: str) -> list["Result"]:
        return [result for _, result in self.found if result.by == who]

    @property
    def calls(self) -> int:
        return sum(result.asked for _, result in self.found)

    @property
    def sent(self) -> int:
        return sum(result.sent for _, result in self.found)

    def _median(self, who: str) -> float | None:
        """Returns the median time until an answer of the device, or of the cloud, in seconds."""
        times = [result.seconds for result in self._by(who)]
        return statistics.median(times) if times else None

    def lines(self) -> Iterator[str]:
        yield from table(self.found)
        yield ""
        total, by = len(self.found), {who: len(self._by(who)) for who in ("device", "cloud")}
        shares = [f"the {who} {count:,} ({percent(count / total)})" for who, count in by.items() if count]
        yield f"{counted(total, 'image')}: {', '.join(shares) + ' answered' if shares else 'no answer'}."
        if self.setup.client.mode.uses_cloud:
            calls, saved = counted(self.calls, "call"), total - self.calls
            yield f"{calls} of the cloud with {self.sent:,} bytes, {saved:,} saved."
        times = {who: self._median(who) for who in by}
        if shown := [f"{who} {milliseconds(1000 * of)}" for who, of in times.items() if of is not None]:
            yield f"Median time until an answer: {', '.join(shown)}."
        if failed := [result for _, result in self.found if result.wanted and not result.cloud]:
            why = one_line(failed[0].problem)
            yield f"The cloud did not answer for {counted(len(failed), 'image')}; the first time: {why}."
        yield from self.setup.notes
        if self.kept is not None:
            cases = counted(self.kept, "hard case")
            yield f"{cases} kept; label and collect them: docs/devices.md#how-hard-cases-come-back."

    def to_json(self) -> dict[str, Any]:
        client, update = self.setup.client, self.setup.update
        clouds = sorted({result.cloud.model for _, result in self.found if result.cloud and result.cloud.model})
        return {
            "on": client.mode.value,
            "images": len(self.found),
            "unanswered": self.unanswered,
            "by_device": len(self._by("device")),
            "by_cloud": len(self._by("cloud")),
            "calls": self.calls,
            "calls_saved": len(self.found) - self.calls if client.mode.uses_cloud else 0,
            "bytes_sent": self.sent,
            "threshold": client.threshold,
            "device_model": client.device.model if client.device else None,
            "cloud_models": clouds,
            "update": update and {"tag": update.tag, "changed": update.changed, "kept": update.kept},
            "median_seconds": {who: self._median(who) for who in ("device", "cloud")},
            "kept": self.kept,
            "predictions": [prediction(path, result) for path, result in self.found],
        }


def prediction(path: str, result: "Result") -> dict[str, Any]:
    """Returns a result as JSON."""
    answer = result.answer
    return {
        "file": path,
        "label": answer and answer.label,
        "confidence": answer and answer.confidence,
        "by": result.by or None,
        "seconds": round(result.seconds, 6),
        "bytes_sent": result.sent,
        "device": _answer(result.device),
        "cloud": _answer(result.cloud),
        "yes": result.yes,
        "problem": result.problem,
    }


def _answer(answer: "Answer | None") -> Mapping[str, Any] | None:
    return answer and {"label": answer.label, "confidence": answer.confidence, "model": answer.model}


def table(found: Sequence[tuple[str, "Result"]]) -> Iterator[str]:
    """Yields the results as aligned columns: file, label, confidence, who answered, its time, what the other says."""
    rows = [("file", "label", "sure", "by", "time", "")]
    for path, result in found:
        answer = result.answer
        if answer is None:
            rows.append((one_line(path), "–", "", "", "", one_line(result.problem)))
            continue
        other = f"device: {one_line(result.device.label)}" if result.disagree else ""
        time, sure = milliseconds(1000 * result.seconds), percent(answer.confidence, 0)
        rows.append((one_line(path), one_line(answer.label), sure, result.by, time, other))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)]
        yield "  ".join([*cells, row[5]]).rstrip()
