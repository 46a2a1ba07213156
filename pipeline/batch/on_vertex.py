"""Batch prediction on Vertex AI: the released model judges images there, and its predictions are read back."""

import base64
import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.batch.evaluation import Judge
from pipeline.cloud.calls import cloud_errors, converge, poll_intervals, read_retry
from pipeline.cloud.vertex import client, console_url, encryption, label_value, location, machine_spec
from pipeline.config import Config
from pipeline.errors import BatchPredictionFailed
from pipeline.progress import Log, no_log
from pipeline.quality.scores import Judged, Labelled
from pipeline.releases.base import Release
from pipeline.serving.model_registry import Registry, Version
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage

FOLDER = "serving/batch"  # of the workspace: what is predicted, and the predictions
SHARD_BYTES = 32 * 2**20
IMAGES_A_MACHINE = 20_000  # beyond them Vertex AI may start another one
MOST_MACHINES = 10
ENDED_WELL = ("JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED")
ENDED_BADLY = ("JOB_STATE_FAILED", "JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")


class Prediction(NamedTuple):
    """What the model makes of one image."""

    label: str
    confidence: float


@contextlib.contextmanager
def judging(config: Config, release: Release, log: Log = no_log) -> Iterator[Judge]:
    """Gives what judges images with a release's model on Vertex AI; see `judging_here` in batch/evaluation.py.

    The same images and release are predicted once: who asks again gets the job that runs or has ended.
    """
    version = Registry(config, log).upload(release)
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:

        def judge(images: Iterable[Labelled]) -> Iterator[Judged]:
            pile = Pile(os.path.join(folder, "images"), images)
            predictions = predict(config, version, pile, log)
            for digest, image in pile:
                yield Judged(image.name, image.label, image.image, *predictions[digest])

        yield judge


@dataclass(frozen=True)
class _Laid:
    """Where an image lies in a pile, and what it is."""

    digest: str
    name: str
    label: str
    offset: int
    size: int


class Pile:
    """Images in one file on this machine: more than memory holds, in the order in which they came."""

    def __init__(self, path: str, images: Iterable[Labelled]):
        self._path = path
        self._laid: list[_Laid] = []
        with open(path, "wb") as file:
            for image in images:
                digest = hashlib.sha256(image.image).hexdigest()
                self._laid.append(_Laid(digest, image.name, image.label, file.tell(), len(image.image)))
                file.write(image.image)

    def __len__(self) -> int:
        return len(self._laid)

    def __iter__(self) -> Iterator[tuple[str, Labelled]]:
        """Yields the images with the sha256 of each, as they came."""
        return self._read(self._laid)

    @property
    def digests(self) -> list[str]:
        """The sha256 of each image, sorted: the same whatever the order in which they came."""
        return sorted(laid.digest for laid in self._laid)

    def shards(self) -> Iterator[bytes]:
        """Yields JSON lines, at most some SHARD_BYTES at a time: always the same ones for the same images."""
        lines, size = [], 0
        for digest, image in self._read(sorted(self._laid, key=lambda laid: laid.digest)):
            encoded = base64.b64encode(image.image).decode()
            lines.append(json.dumps({KEY: digest, "image": {"b64": encoded}}))
            size += len(lines[-1])
            if size >= SHARD_BYTES:
                yield "\n".join([*lines, ""]).encode()
                lines, size = [], 0
        if lines:
            yield "\n".join([*lines, ""]).encode()

    def _read(self, order: Iterable[_Laid]) -> Iterator[tuple[str, Labelled]]:
        with open(self._path, "rb") as file:
            for laid in order:
                file.seek(laid.offset)
                yield laid.digest, Labelled(laid.name, laid.label, file.read(laid.size))


KEY = "key"  # field of an instance that the model does not see, and that comes back with its prediction


def predict(config: Config, version: Version, pile: Pile, log: Log = no_log) -> dict[str, Prediction]:
    """Returns what a released model makes of each image, by the image's sha256. Raises BatchPredictionFailed."""
    storage = open_storage(config.workspace)
    jobs = client(config, "JobService")
    digest = hashlib.sha256(json.dumps([version.name, pile.digests]).encode()).hexdigest()
    folder = f"{FOLDER}/{version.tag}-{digest[:16]}"
    name = f"evaluate-{version.tag}-{digest}"

    def step() -> Any:
        asked = {"parent": location(config), "filter": f'display_name="{name}"'}
        for job in jobs.list_batch_prediction_jobs(asked, retry=read_retry()):
            if job.state.name not in ENDED_BADLY and not job.completion_stats.failed_count:
                return job
        wanted = _job(config, version, name, len(pile)) | {
            "input_config": {"instances_format": "jsonl", "gcs_source": {"uris": copied(storage, folder, pile, log)}},
            "output_config": {
                "predictions_format": "jsonl",
                "gcs_destination": {"output_uri_prefix": storage.address(f"{folder}/predictions")},
            },
        }
        return jobs.create_batch_prediction_job(parent=location(config), batch_prediction_job=wanted)

    # Jobs have no ID of ours, so two who ask at once would start two.
    with storage.exclusive("starting a batch prediction"):
        job = converge("Starting a batch prediction", step)
    with cloud_errors("Following the batch prediction"):
        job = _follow(config, jobs, job.name, log)
    found, problem = _read(storage, job.output_info.gcs_output_directory)
    missing = sum(digest not in found for digest in pile.digests)
    if missing:
        problem = f"{missing:,} of {len(pile):,} images have no prediction ({problem or 'it does not say why'})"
        raise BatchPredictionFailed(name, problem, _page(config, job.name))
    return found


def copied(storage: Storage, folder: str, pile: Pile, log: Log) -> list[str]:
    """Copies a pile as JSON lines to a folder that is named after what it holds; returns the files' addresses."""
    log(f"Copying {len(pile):,} images to {storage.address(folder)} ...")
    names = []
    for number, shard in enumerate(pile.shards()):
        names.append(f"{folder}/instances/{number:05d}.jsonl")
        storage.write(names[-1], shard, create_only=True)
    return [storage.address(name) for name in names]


def _job(config: Config, version: Version, name: str, images: int) -> dict[str, Any]:
    return {
        "display_name": name,
        "model": version.name,
        "instance_config": {"instance_type": "object", "key_field": KEY},
        "dedicated_resources": {
            "machine_spec": machine_spec(config.server),
            "starting_replica_count": 1,
            "max_replica_count": min(MOST_MACHINES, 1 + images // IMAGES_A_MACHINE),
        },
        "labels": {"release": label_value(version.tag)},
        "encryption_spec": encryption(config),
    }


def _follow(config: Config, jobs: Any, name: str, log: Log) -> Any:
    """Waits for a job, and says when its state changes; raises BatchPredictionFailed."""
    shown = ""
    for pause in poll_intervals():
        job = jobs.get_batch_prediction_job(name=name, retry=read_retry())
        state = job.state.name
        if state != shown:
            log(f"Batch prediction: {state.removeprefix('JOB_STATE_').lower()}, {_page(config, name)}")
            shown = state
        if state in ENDED_WELL:
            return job
        if state in ENDED_BADLY:
            raise BatchPredictionFailed(job.display_name, job.error.message or state, _page(config, name))
        time.sleep(pause)


def _page(config: Config, job: str) -> str:
    return console_url(config, f"locations/{config.region}/batch-predictions/{job.rpartition('/')[2]}")


def _read(storage: Storage, address: str) -> tuple[dict[str, Prediction], str]:
    """Returns the predictions in a folder, in files of any number and order, and the first problem that is told."""
    folder = address.removeprefix(storage.address()).strip("/")
    found: dict[str, Prediction] = {}
    problem = ""
    for entry in storage.list(folder):
        for line in storage.read(entry.name).splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # files of errors have messages in them, and how many images met each
                problem = problem or line.decode(errors="replace")
                continue
            if "prediction" in row:
                prediction = row["prediction"]
                found[row[KEY]] = Prediction(prediction["label"], float(prediction["confidence"]))
            else:
                problem = problem or str(row.get("error", row))
    return found, problem
