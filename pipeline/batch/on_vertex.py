"""Batch prediction on Vertex AI: a job runs the released model there, and its predictions are read back."""

import base64
import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.batch.predictor import Classification, Predictor
from pipeline.cloud.calls import cloud_errors, converge, poll_intervals, read_retry
from pipeline.cloud.vertex import client, console_url, encryption, label_value, location, machine_spec
from pipeline.config import Config
from pipeline.data import automl_dataset
from pipeline.errors import BatchPredictionFailed
from pipeline.progress import Log, no_log
from pipeline.quality.scores import LabelledImage, Prediction
from pipeline.releases.record import Release
from pipeline.serving.model_registry import Registry, Version
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage

FOLDER = "serving/batch"  # in the workspace: instances and predictions
SHARD_BYTES = 32 * 2**20
IMAGES_A_MACHINE = 20_000  # for each further 20,000 images Vertex AI may start another machine
MOST_MACHINES = 10
SUCCEEDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED")
FAILED = ("JOB_STATE_FAILED", "JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")


@contextlib.contextmanager
def predictor(config: Config, release: Release, log: Log = no_log) -> Iterator[Predictor]:
    """Uploads a release's model unless it is there; yields a Predictor that runs it on Vertex AI.

    The same images and release are predicted once: a second call finds the job that runs or has ended. Predicting
    raises BatchPredictionFailed or CloudRefused.
    """
    version = Registry(config, log).upload(release)
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:

        def predict(images: Iterable[LabelledImage]) -> Iterator[Prediction]:
            spool = Spool(os.path.join(folder, "images"), images)
            found = classify(config, version, spool, log)
            for digest, image in spool:
                answer = found[digest]
                yield Prediction(image.name, image.label, image.image, answer.label, answer.confidence)

        yield predict


@dataclass(frozen=True)
class _Entry:
    """An image of a spool."""

    digest: str
    name: str
    label: str
    offset: int
    size: int


class Spool:
    """Images in one local file, in the order of their arrival: they may be more than memory holds."""

    def __init__(self, path: str, images: Iterable[LabelledImage]):
        self._path = path
        self._entries: list[_Entry] = []
        offset = 0
        with open(path, "wb") as file:
            for image in images:
                digest = hashlib.sha256(image.image).hexdigest()
                self._entries.append(_Entry(digest, image.name, image.label, offset, len(image.image)))
                file.write(image.image)
                offset += len(image.image)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[str, LabelledImage]]:
        """Yields (sha256, image) in the order of arrival."""
        return self._read(self._entries)

    @property
    def digests(self) -> list[str]:
        """The sha256 of each image, sorted: independent of the order of arrival."""
        return sorted(entry.digest for entry in self._entries)

    def shards(self) -> Iterator[bytes]:
        """Yields JSON lines, about SHARD_BYTES at a time; the same images give the same shards."""
        lines, size = [], 0
        for digest, image in self._read(sorted(self._entries, key=lambda entry: entry.digest)):
            encoded = base64.b64encode(image.image).decode()
            lines.append(json.dumps({KEY: digest, "image": {"b64": encoded}}))
            size += len(lines[-1])
            if size >= SHARD_BYTES:
                yield "\n".join([*lines, ""]).encode()
                lines, size = [], 0
        if lines:
            yield "\n".join([*lines, ""]).encode()

    def _read(self, order: Iterable[_Entry]) -> Iterator[tuple[str, LabelledImage]]:
        with open(self._path, "rb") as file:
            for entry in order:
                file.seek(entry.offset)
                yield entry.digest, LabelledImage(entry.name, entry.label, file.read(entry.size))


KEY = "key"  # field of an instance that Vertex AI does not pass to the model and returns with its prediction


def classify(config: Config, version: Version, spool: Spool, log: Log = no_log) -> dict[str, Classification]:
    """Returns the model's answer for each image by the image's sha256. Raises BatchPredictionFailed."""
    storage = open_storage(config.workspace)
    jobs = client(config, "JobService")
    digest = hashlib.sha256(json.dumps([version.name, spool.digests]).encode()).hexdigest()
    folder = f"{FOLDER}/{version.tag}-{digest[:16]}"
    name = f"evaluate-{version.tag}-{digest}"

    def step() -> Any:
        asked = {"parent": location(config), "filter": f'display_name="{name}"'}
        for job in jobs.list_batch_prediction_jobs(asked, retry=read_retry()):
            if job.state.name not in FAILED and not job.completion_stats.failed_count:
                return job
        wanted = _job(config, version, name, len(spool)) | {
            "input_config": {
                "instances_format": "jsonl",
                "gcs_source": {"uris": copy_instances(storage, folder, spool, log, version.of_automl)},
            },
            "output_config": {
                "predictions_format": "jsonl",
                "gcs_destination": {"output_uri_prefix": storage.address(f"{folder}/predictions")},
            },
        }
        return jobs.create_batch_prediction_job(parent=location(config), batch_prediction_job=wanted)

    # A client cannot choose a job's ID, so two concurrent calls would start two jobs.
    with storage.exclusive("starting a batch prediction"):
        job = converge("Starting a batch prediction", step)
    with cloud_errors("Following the batch prediction"):
        job = _follow(config, jobs, job.name, log)
    found, problem = read_answers(storage, job.output_info.gcs_output_directory)
    missing = sum(digest not in found for digest in spool.digests)
    if missing:
        problem = f"{missing:,} of {len(spool):,} images have no prediction ({problem or 'no reason given'})"
        raise BatchPredictionFailed(name, problem, _page(config, job.name))
    return found


def copy_instances(storage: Storage, folder: str, spool: Spool, log: Log, of_automl: bool = False) -> list[str]:
    """Writes images as JSON lines to a folder whose name depends on them; returns the addresses of the files.

    For a model of AutoML they name the images, which become files of the workspace's datasets.
    """
    log(f"Copying {len(spool):,} images to {storage.address(folder)} ...")
    names = []
    for number, shard in enumerate([_listed(storage, spool)] if of_automl else spool.shards()):
        names.append(f"{folder}/instances/{number:05d}.jsonl")
        storage.write(names[-1], shard, create_only=True)
    return [storage.address(name) for name in names]


def _listed(storage: Storage, spool: Spool) -> bytes:
    """Writes images that are not there yet; returns instances that name all of them."""
    datasets = open_storage(storage.address(automl_dataset.FOLDER))
    lines = []
    for digest, image in spool:
        name = automl_dataset.file_of(digest, image.image)
        datasets.write(name, image.image, create_only=True, durable=False)
        lines.append(json.dumps(automl_dataset.instance(datasets.address(name))))
    return "\n".join([*sorted(lines), ""]).encode()


def _job(config: Config, version: Version, name: str, images: int) -> dict[str, Any]:
    job = {
        "display_name": name,
        "model": version.name,
        "labels": {"release": label_value(version.tag)},
        "encryption_spec": encryption(config),
    }
    if version.of_automl:  # Vertex AI chooses the machines
        return job | {"model_parameters": automl_dataset.ALL_LABELS}
    return job | {
        "instance_config": {"instance_type": "object", "key_field": KEY},
        "dedicated_resources": {
            "machine_spec": machine_spec(config.server),
            "starting_replica_count": 1,
            "max_replica_count": min(MOST_MACHINES, 1 + images // IMAGES_A_MACHINE),
        },
    }


def _follow(config: Config, jobs: Any, name: str, log: Log) -> Any:
    """Waits until a job has ended and logs each change of its state. Raises BatchPredictionFailed."""
    shown = ""
    for pause in poll_intervals():
        job = jobs.get_batch_prediction_job(name=name, retry=read_retry())
        state = job.state.name
        if state != shown:
            log(f"Batch prediction: {state.removeprefix('JOB_STATE_').lower()}, {_page(config, name)}")
            shown = state
        if state in SUCCEEDED:
            return job
        if state in FAILED:
            raise BatchPredictionFailed(job.display_name, job.error.message or state, _page(config, name))
        time.sleep(pause)


def _page(config: Config, job: str) -> str:
    return console_url(config, f"locations/{config.region}/batch-predictions/{job.rpartition('/')[2]}")


def read_answers(storage: Storage, address: str) -> tuple[dict[str, Classification], str]:
    """Returns the answers in the files of a folder by the image's sha256, and the first error message among them."""
    folder = address.removeprefix(storage.address()).strip("/")
    found: dict[str, Classification] = {}
    problem = ""
    for entry in storage.list(folder):
        for line in storage.read(entry.name).splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # files of errors hold plain messages with the number of images
                problem = problem or line.decode(errors="replace")
                continue
            prediction = row.get("prediction")
            if prediction and "displayNames" in prediction:
                digest = automl_dataset.digest_of(row["instance"]["content"])
                confidence, label = max(zip(prediction["confidences"], prediction["displayNames"], strict=True))
                found[digest] = Classification(label, float(confidence))
            elif prediction:
                found[row[KEY]] = Classification(prediction["label"], float(prediction["confidence"]))
            else:
                problem = problem or str(row.get("error", row))
    return found, problem
