"""A released model, or its device model, on this machine: in a confined process."""

import collections
import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from pipeline.batch.model_client import ModelClient
from pipeline.batch.predictor import Classification, Predictor
from pipeline.config import Config
from pipeline.progress import Log, no_log
from pipeline.quality.scores import LabelledImage, Prediction
from pipeline.releases.base import Releases
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release

Classify = Callable[[Iterable[bytes]], Iterable[Classification | None]]  # of encoded images, in their order


@contextlib.contextmanager
def predictor(config: Config, release: Release, log: Log = no_log) -> Iterator[Predictor]:
    """Fetches and verifies a release's model, loads it in a confined process, and yields its Predictor.

    Raises BrokenRelease or UnsafeModel; predicting raises ModelFailed.
    """
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        releases_of(config).fetch(release, os.path.join(folder, "model"))
        with ModelClient(folder, release.tag, log) as model:
            yield partial(predictions, classify=model.classify)


@contextlib.contextmanager
def device_classifier(releases: Releases, release: Release, log: Log = no_log) -> Iterator[Classify]:
    """Fetches and checks a release's device model, loads it in a confined process, and yields what classifies images.

    Raises BrokenRelease or UnsafeModel; classifying raises ModelFailed.
    """
    from pipeline.device import released  # imports the schema of TensorFlow Lite, which takes a while

    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        released.fetch(releases, release, os.path.join(folder, "model"))
        with ModelClient(folder, release.tag, log) as model:
            yield model.classify


def predictions(images: Iterable[LabelledImage], classify: Classify) -> Iterator[Prediction | LabelledImage]:
    """Yields each image with its prediction, in order; one that cannot be decoded as it is.

    Holds the images that `classify` has in flight, and no more.
    """
    in_flight: collections.deque[LabelledImage] = collections.deque()

    def encoded() -> Iterator[bytes]:
        for image in images:
            in_flight.append(image)
            yield image.image

    for found in classify(encoded()):
        image = in_flight.popleft()
        if found is None:
            yield image
        else:
            yield Prediction(image.name, image.label, image.image, found.label, found.confidence)
