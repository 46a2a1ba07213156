"""Shared fixtures: workspaces, small real images, and the local servers of Google Cloud."""

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import itertools
import json
import os
import pathlib
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata

import pytest
from PIL import Image

from pipeline import retry
from pipeline.cloud import vertex
from pipeline.config import Config
from pipeline.data import digits, reports, spans, tfrecord
from pipeline.device import description
from pipeline.orchestrators import libraries, local
from pipeline.outcomes import Escalation, Metrics, TrainingOutcome
from pipeline.releases.base import Releases
from pipeline.releases.factory import open_releases
from pipeline.releases.record import DeviceModel, Release
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage
from tests.emulators.cloud import Cloud
from tests.serving import Serving


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "cloud: uses the local servers of Google Cloud (set automatically; run by `make test-cloud`)"
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """Imports what the test files import, TensorFlow and TFX among it, in less time."""
    with libraries.imported():
        yield


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since many tests wait for a process or a lock; TensorFlow takes 2 GB in each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use the local servers, recognised by fixture or folder; files with long ones come first.

    Otherwise one process would be left with a long file when the others have nothing to do any more. First are those
    whose mark `timeout` allows the most seconds, so that the files after them find the shared training made.
    """
    longest: dict[pathlib.Path, float] = {}
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "cloud" in fixtures or "emulators" in item.path.parts:
            item.add_marker(pytest.mark.cloud)
        timeout = item.get_closest_marker("timeout")
        seconds = timeout.args[0] if timeout else float("training" in fixtures)
        longest[item.path] = max(seconds, longest.get(item.path, 0))
    items.sort(key=lambda item: -longest[item.path])


def jpeg(number: int, size: tuple[int, int] = (16, 16)) -> bytes:
    """A small JPEG, distinct for each number."""
    return encoded(noise(number, "RGB", size), "JPEG")


def noise(number: int, mode: str, size: tuple[int, int]) -> Image.Image:
    """Coarse coloured noise, distinct for each number."""
    seed = hashlib.shake_256(b"%d" % number).digest(4 * 4 * 3)
    return Image.frombytes("RGB", (4, 4), seed).resize(size).convert(mode)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


EMPTY_MODEL = b"\x08\x01"  # the content of a saved_model.pb: its version, no graph


def put(folder: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Writes {name: content} into a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def photographs(numbers: Iterable[int]) -> dict[str, bytes]:
    """JPEGs named cat/NUMBER.jpg (even numbers) and dog/NUMBER.jpg (odd ones)."""
    return {f"{('cat', 'dog')[number % 2]}/{number}.jpg": jpeg(number) for number in numbers}


def files_in(folder: pathlib.Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones included: {relative name: content}."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def examples_of(shard: bytes) -> list[tfrecord.Example]:
    return [tfrecord.parse(record) for record in tfrecord.records(io.BytesIO(shard), "a shard")]


class Workspace:
    """A workspace in a folder, read and changed without the code under test."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.address = str(root)

    def put(self, files: Mapping[str, bytes]) -> None:
        put(self.root, files)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def files(self, folder: str = "") -> dict[str, bytes]:
        """All files below one of its folders, hidden ones included: {relative name: content}."""
        return files_in(self.root / folder)

    def generation(self, name: str) -> str:
        """A value that changes whenever the file is rewritten."""
        status = (self.root / name).stat()
        return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"

    def collect(self, files: Mapping[str, bytes]) -> None:
        self.put({f"collected/{name}": data for name, data in files.items()})

    def collected(self) -> dict[str, bytes]:
        """Files in collected/, temporarily hidden ones included."""
        return self.files("collected")

    def rejected(self) -> dict[str, bytes]:
        return self.files("rejected")

    def archived(self) -> dict[str, bytes]:
        return self.files("archive")

    def examples(self) -> list[tfrecord.Example]:
        """Examples of all published spans."""
        shards = sorted(self.root.glob("spans/span-*/*/*.tfrecord"))
        published = [shard for shard in shards if (shard.parent.parent / "span.json").exists()]
        return [example for shard in published for example in examples_of(shard.read_bytes())]

    def unaccounted(self, images: Iterable[bytes]) -> str:
        """Counts images that are not in exactly one place (a published span or collected/); "" when all are."""
        images = set(images)
        # A file that is being moved back briefly has two names, but one inode.
        waiting = {path.stat().st_ino: path for path in (self.root / "collected").rglob("*.jpg")}
        places = [example.image for example in self.examples()] + [path.read_bytes() for path in waiting.values()]
        twice, lost = len(places) - len(set(places)), len(images - set(places))
        return f"{twice} doubled, {lost} lost" if twice or lost else ""


class BucketWorkspace(Workspace):
    """A workspace in the local servers' bucket, read and changed without API calls."""

    def __init__(self, cloud: Cloud, address: str):
        self.gcs, self.address = cloud.gcs, address

    def put(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self.gcs.put(f"{self.address}/{name}", data)

    def read(self, name: str) -> bytes:
        return self.gcs.read(f"{self.address}/{name}")

    def remove(self, name: str) -> None:
        self.gcs.delete(f"{self.address}/{name}")

    def files(self, folder: str = "") -> dict[str, bytes]:
        place = f"{self.address}/{folder}".rstrip("/") + "/"
        bucket, prefix = place.removeprefix("gs://").split("/", 1)
        return {name[len(prefix) :]: self.gcs.read(f"gs://{bucket}/{name}") for name in self.gcs.names(place)}

    def generation(self, name: str) -> str:
        return str(self.gcs.find(f"{self.address}/{name}").generation)

    def examples(self) -> list[tfrecord.Example]:
        files = self.files("spans")
        published = [name.split("/")[0] for name in files if name.count("/") == 1 and name.endswith("/span.json")]
        shards = [
            data for name, data in files.items() if name.endswith(".tfrecord") and name.split("/")[0] in published
        ]
        return [example for data in shards for example in examples_of(data)]

    def unaccounted(self, images: Iterable[bytes]) -> str:
        """As for folders; a source that a published span lists but that is not archived yet counts for the span."""
        manifests = [data for name, data in self.files("spans").items() if name.endswith("/span.json")]
        listed = {(s["name"], s["generation"]) for data in manifests for s in json.loads(data)["sources"]}
        waiting = [
            data
            for name, data in self.collected().items()
            if name.endswith(".jpg") and (name, self.generation(f"collected/{name}")) not in listed
        ]
        places = [example.image for example in self.examples()] + waiting
        twice, lost = len(places) - len(set(places)), len(set(images) - set(places))
        return f"{twice} doubled, {lost} lost" if twice or lost else ""


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


class Training:
    """A training on span 1 of handwritten digits, made once for all test processes of a run.

    `workspace` is what it left, for reading alone: copy it before changing it.
    """

    def __init__(self, root: pathlib.Path):
        self._root, self.workspace = root, root / "kept"
        root.mkdir(exist_ok=True)
        with self._locked():
            # whole or absent: after a process that was killed, the next one makes everything again
            outcome = root / "outcome.pickle"
            if not outcome.exists():
                (root / "new.pickle").write_bytes(pickle.dumps(self._make()))
                (root / "new.pickle").rename(outcome)
            self.outcome: TrainingOutcome = pickle.loads(outcome.read_bytes())

    @contextlib.contextmanager
    def in_place(self) -> Iterator[pathlib.Path]:
        """The folder in which the training ran, as it left it, for one test at a time.

        Only there nodes are unchanged, because their inputs name files by absolute paths.
        """
        with self._locked():
            shutil.rmtree(self._place, ignore_errors=True)
            shutil.copytree(self.workspace, self._place)
            yield self._place

    @property
    def _place(self) -> pathlib.Path:
        return self._root / "workspace"

    def _make(self) -> TrainingOutcome:
        images = self._root / "images"
        for left in (images, self._place, self.workspace):
            shutil.rmtree(left, ignore_errors=True)
        digits.write(str(images), digits.FIRST, limit=600)
        spans.import_folder(open_storage(str(self._place)), str(images))
        outcome = local.train(Config(workspace=str(self._place)), "all")
        shutil.copytree(self._place, self.workspace)
        return outcome

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self._root / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the system takes it back from a process that was killed
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def training(tmp_path_factory) -> Training:
    own = tmp_path_factory.getbasetemp()  # with pytest-xdist a folder in that of the whole run
    return Training((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "training")


@pytest.fixture(scope="session")
def trained(training) -> tuple[pathlib.Path, TrainingOutcome]:
    """A workspace with span 1 of handwritten digits, for reading alone, and the outcome of training on it."""
    return training.workspace, training.outcome


@pytest.fixture(scope="session")
def trained_pair(training, tmp_path_factory) -> tuple[pathlib.Path, TrainingOutcome]:
    """A workspace whose release holds a model for the cloud and one for devices, and the outcome of their training.

    It is made where `trained` was, so that only the nodes of the device model run, and then moved.
    """
    workspace = tmp_path_factory.mktemp("pair") / "workspace"
    with training.in_place() as place:
        # of 600 images the small network learns little; other tests are about how good a pair has to be
        config = Config(workspace=str(place), releases=str(place / "pairs"), device_model=True, label_floor=0.0)
        outcome = local.train(dataclasses.replace(config, device_accuracy_threshold=0.3, device_agreement=0.3), "all")
        shutil.move(place, workspace)
    shutil.rmtree(workspace / "releases")
    (workspace / "pairs").rename(workspace / "releases")
    return workspace, outcome


@pytest.fixture(scope="session")
def bright_or_dark(tmp_path_factory) -> pathlib.Path:
    """Folder of a device model, `tflite` and `device.json`, that distinguishes bright images from dark ones."""
    import keras
    import numpy as np

    from modules.classification import device
    from modules.classification.settings import DeviceSettings
    from pipeline.device import conversion

    images = keras.Input((8, 8, 3))
    probabilities = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(images))
    network = keras.Model(images, probabilities)
    network.layers[-1].set_weights([np.array([[-3, 3]] * 3, np.float32), np.array([4.5, -4.5], np.float32)])
    folder = tmp_path_factory.mktemp("bright_or_dark")
    device.export(network, ["dark", "bright"], DeviceSettings(image_size=8, quantization="fp32"), str(folder / "saved"))
    path = conversion.convert(str(folder / "saved"), str(folder), "fp32", np.zeros((1, 8, 8, 3), np.float32))
    (folder / "model").mkdir()
    shutil.move(path, folder / "model" / "tflite")
    shutil.copy(folder / "saved" / "device.json", folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def automl_export() -> bytes:
    """A device model of 8-bit numbers, as AutoML exports one, that distinguishes bright images from dark ones."""
    import keras
    import numpy as np
    import tensorflow as tf

    images = keras.Input((8, 8, 3))
    probabilities = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(images))
    network = keras.Model(images, probabilities)
    network.layers[-1].set_weights([np.array([[-1.5, 1.5]] * 3, np.float32), np.zeros(2, np.float32)])
    archive, folder = keras.export.ExportArchive(), tempfile.mkdtemp()
    archive.track(network)
    archive.add_endpoint("serving_default", network, [tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")])
    archive.write_out(folder)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.full((1, 8, 8, 3), of, np.float32)] for of in np.linspace(-1, 1, 9))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    exported = converter.convert()
    shutil.rmtree(folder)
    return exported


@pytest.fixture(scope="session")
def dark_or_bright(tmp_path_factory) -> pathlib.Path:
    """Folder of a SavedModel with the signatures of a release, which says the same as `bright_or_dark`."""
    import tensorflow as tf

    labels = tf.constant(["bright", "dark"])

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def preprocess(self, image):
            decoded = tf.map_fn(
                lambda one: tf.image.resize(tf.io.decode_image(one, channels=3, expand_animations=False), [8, 8]) / 255,
                image,
                fn_output_signature=tf.TensorSpec([8, 8, 3], tf.float32),
            )
            return {"pixels": decoded, "decoded": tf.ones(tf.shape(image)[:1], tf.bool)}

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32, name="pixels")])
        def predict(self, pixels):
            bright = tf.sigmoid(18 * tf.reduce_mean(pixels, axis=[1, 2, 3]) - 9)
            probabilities = tf.stack([bright, 1 - bright], axis=1)
            return {
                "label": tf.gather(labels, tf.argmax(probabilities, axis=1)),
                "confidence": tf.reduce_max(probabilities, axis=1),
                "probabilities": probabilities,
                "all_classes": tf.tile(labels[tf.newaxis], [tf.shape(probabilities)[0], 1]),
            }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def serve(self, image):
            return self.predict(self.preprocess(image)["pixels"])

    module, folder = Module(), tmp_path_factory.mktemp("dark_or_bright")
    signatures = {"serving_default": module.serve, "preprocess": module.preprocess, "predict": module.predict}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


@pytest.fixture
def pair_of_hand(bright_or_dark, dark_or_bright) -> Callable[[Releases], Release]:
    """Function that releases `dark_or_bright` and `bright_or_dark` together; no training is needed."""

    def publish(releases: Releases) -> Release:
        described = description.read(str(bright_or_dark))
        file = bright_or_dark / "tflite"
        return releases.publish(
            str(dark_or_bright),
            identity="by hand",
            commit="",
            modules_digest="",
            spans=[1],
            labels=["bright", "dark"],
            metrics=Metrics(),
            previous=None,
            device=DeviceModel(
                file="model.tflite",
                bytes=file.stat().st_size,
                labels=described.labels,
                input=described.input.to_json(),
                quantization="fp32",
                metrics=Metrics(),
                agreement=None,
                escalation=Escalation(threshold=0.8, escalated=0.1, accuracy=0.9),
            ),
            device_file=str(file),
        )

    return publish


@pytest.fixture
def trained_workspace(trained) -> pathlib.Path:
    """A workspace with span 1 and the release model-1, shared by all tests: copy it before changing it."""
    return trained[0]


@pytest.fixture
def trained_copy(trained_workspace, tmp_path) -> pathlib.Path:
    """A copy of that workspace, which the test may change; a training in it runs every node."""
    return shutil.copytree(trained_workspace, tmp_path / "workspace")


@pytest.fixture
def trained_in_place(training) -> Iterator[pathlib.Path]:
    """That workspace where it was trained, so that nodes are unchanged; one test at a time has it and may change it."""
    with training.in_place() as place:
        yield place


@pytest.fixture
def retry_waits(monkeypatch) -> list[float]:
    """Lets retries come at once; returns the seconds that they would have waited."""
    waits: list[float] = []
    monkeypatch.setattr(retry, "sleep", waits.append)
    return waits


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cloud_servers() -> Iterator[Cloud]:
    """Local servers of Google Cloud, started when the first test uses them."""
    with Cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(cloud_servers) -> Iterator[Cloud]:
    """The local servers after a reset. The test fails when a client tries to reach any other host."""
    cloud_servers.reset()
    yield cloud_servers
    assert not cloud_servers.refused, "clients tried to reach hosts that no local server has"


@pytest.fixture
def cloud_environment(cloud, monkeypatch) -> Cloud:
    """The local servers, with the clients of this process directed to them."""
    vertex.cached_client.cache_clear()
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    return cloud


@pytest.fixture
def gs_workspace(cloud) -> str:
    """Address of an empty workspace in the local servers' bucket, distinct for each test."""
    return f"gs://{cloud.bucket}/workspace-{next(_numbers)}"


@pytest.fixture(scope="session")
def saved_model(trained, tmp_path_factory) -> str:
    """Folder of a trained SavedModel."""
    releases = open_releases(str(trained[0] / "releases"))
    return releases.fetch(releases.newest(), str(tmp_path_factory.mktemp("saved_model")))


@pytest.fixture
def serving(cloud_environment, gs_workspace, saved_model) -> Serving:
    """A workspace in the local servers' bucket whose releases are served on an endpoint."""
    return Serving(cloud_environment, gs_workspace, saved_model)


# The pipelines' image; a name only, no such image is built.
IMAGE = f"europe-west1-docker.pkg.dev/spanloop-local/images/pipelines@sha256:{'1a' * 32}"


def record_image(storage: Storage, image: str, **differing: str) -> None:
    """Writes the record that `build-image` makes of an image; `differing` replaces fields."""
    here = {"tfx": metadata.version("tfx"), "python": ".".join(map(str, sys.version_info[:2]))}
    record = {"image": image, "commit": "c0ffee", "content": "0", **here, **differing}
    storage.write(f"images/{image.rpartition(':')[2]}.json", json.dumps(record).encode())


def report_training(storage: Storage, spans: Iterable[int], release: str | None = None, identity: str = "") -> None:
    """Writes the report of a training on these spans."""
    outcome = TrainingOutcome(tuple(spans), release is not None, Metrics(accuracy=0.75, images=40), release)
    reports.save_training(storage, outcome, identity=identity, modules_digest="", commit="")


def collect(storage: Storage, files: Mapping[str, bytes]) -> None:
    """Writes images into collected/."""
    for name, data in files.items():
        storage.write(f"collected/{name}", data)


@pytest.fixture
def cloud_config(cloud_environment, gs_workspace) -> Config:
    """Settings for the local servers; the workspace has a record of the image."""
    record_image(open_storage(gs_workspace), IMAGE)
    cloud = cloud_environment
    return Config(
        workspace=gs_workspace,
        project=cloud.project,
        region=cloud.region,
        image=IMAGE,
        service_account=cloud.account,
    )


@pytest.fixture
def span_in_bucket(cloud_config) -> None:
    """Prepares span 1 of the workspace in the bucket from 30 images."""
    storage = open_storage(cloud_config.workspace)
    collect(storage, photographs(range(30)))
    spans.prepare(storage)
