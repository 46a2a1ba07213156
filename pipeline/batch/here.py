"""A released model in this process."""

import collections
import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from pipeline.batch.predictor import Classification, Predictor
from pipeline.config import Config
from pipeline.quality.scores import LabelledImage, Prediction
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release

Classify = Callable[[Iterable[bytes]], Iterable[Classification | None]]  # of encoded images, in their order


@contextlib.contextmanager
def predictor(config: Config, release: Release) -> Iterator[Predictor]:
    """Fetches, verifies and loads a release's model; yields its Predictor. Raises BrokenRelease."""
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        releases_of(config).fetch(release, folder)
        from pipeline.batch import inference  # imports TensorFlow

        yield partial(predictions, classify=partial(inference.classify, inference.load(folder)))


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
