"""A released model on this machine: a prediction for each image, in order; what cannot be trusted is not loaded."""

import pathlib
import shutil

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from pipeline.batch import here
from pipeline.batch.on_device import DeviceClassifier
from pipeline.batch.predictor import Classification
from pipeline.config import Config
from pipeline.data import digits
from pipeline.errors import BrokenRelease, ModelFailed, UnsafeModel
from pipeline.quality.scores import LabelledImage, score
from pipeline.releases.factory import open_releases
from tests.pipeline.conftest import plain


def test_predictions_are_paired_with_their_images_in_order_whatever_is_in_flight():
    images = [LabelledImage(f"cat/{n}.png", "cat", b"%d" % n) for n in range(100)]

    def in_batches_of_seven(encoded):
        batch = []
        for image in encoded:
            batch.append(image)
            if len(batch) == 7:
                yield from map(classification, batch)
                batch = []
        yield from map(classification, batch)

    def classification(image: bytes) -> Classification:
        return Classification("cat" if int(image) % 2 else "dog", int(image) / 100)

    results = list(here.predictions(images, in_batches_of_seven))

    assert [(r.name, r.image) for r in results] == [(i.name, i.image) for i in images]
    assert [r.correct for r in results] == [n % 2 == 1 for n in range(100)]
    assert [r.confidence for r in results] == [n / 100 for n in range(100)]


def test_an_image_that_cannot_be_decoded_comes_back_without_a_prediction():
    images = [LabelledImage(f"cat/{n}.png", "cat", b"%d" % n) for n in range(3)]

    found = list(
        here.predictions(images, lambda encoded: [None if b == b"1" else Classification("cat", 1) for b in encoded])
    )

    assert found[1] is images[1]
    assert score(found)[0].images == 2


def test_a_released_model_predicts(trained_workspace):
    config = Config(workspace=str(trained_workspace))
    images = [
        LabelledImage(name, name.partition("/")[0], image) for name, image in digits.images(digits.FIRST, limit=40)
    ]

    with here.predictor(config, open_releases(config.releases).newest()) as predict:
        predictions = list(predict(images))

    assert [prediction.name for prediction in predictions] == [image.name for image in images]
    assert sum(prediction.correct for prediction in predictions) > 30


def test_a_damaged_release_is_not_loaded(trained_workspace, tmp_path):
    releases = tmp_path / "releases"
    shutil.copytree(trained_workspace / "releases", releases)
    with open(releases / "model-1" / "model.tar.gz", "ab") as archive:
        archive.write(b"x")
    config = Config(workspace=str(trained_workspace), releases=str(releases))

    with pytest.raises(BrokenRelease, match="checksum"):
        with here.predictor(config, open_releases(str(releases)).get("model-1")) as predict:
            list(predict([]))


def greedy(file: pathlib.Path) -> bytes:
    """A model that enlarges each image to 30,000 x 30,000 pixels first, which no shape in the file shows."""
    model = schema.ModelT.InitFromPackedBuf(file.read_bytes())
    (graph,) = model.subgraphs
    code, resize = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR
    resize.opcodeIndex = len(model.operatorCodes)
    resize.builtinOptionsType = schema.BuiltinOptions.ResizeNearestNeighborOptions
    resize.builtinOptions = schema.ResizeNearestNeighborOptionsT()
    data, size, enlarged = schema.BufferT(), schema.TensorT(), schema.TensorT()
    data.data = np.frombuffer(np.array([30_000, 30_000], np.int32).tobytes(), np.uint8)
    size.shape, size.type, size.buffer = [2], schema.TensorType.INT32, len(model.buffers)
    enlarged.shape, enlarged.type = [1, 8, 8, 3], schema.TensorType.FLOAT32
    first, image = len(graph.tensors), graph.inputs[0]
    for operator in graph.operators:
        operator.inputs = [first + 1 if index == image else index for index in operator.inputs]
    resize.inputs, resize.outputs = [image, first], [first + 1]
    model.operatorCodes.append(code)
    model.buffers.append(data)
    graph.tensors += [size, enlarged]
    graph.operators.insert(0, resize)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_released_device_model_predicts_as_in_this_process(bright_or_dark, publish_pair, tmp_path):
    releases = open_releases(str(tmp_path / "releases"))
    images = [plain(20), plain(250), b"no image", plain(0)]

    with here.device_classifier(releases, publish_pair(releases)) as classify:
        found = list(classify(images))

    for one, other in zip(found, DeviceClassifier(str(bright_or_dark)).classify(images), strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one[:2], one.probabilities.tolist()) == (other[:2], other.probabilities.tolist())


def test_a_device_model_that_takes_all_memory_ends_its_process(bright_or_dark, publish_pair, tmp_path):
    releases = open_releases(str(tmp_path / "releases"))
    (tmp_path / "greedy").write_bytes(greedy(bright_or_dark / "tflite"))
    release = publish_pair(releases, tmp_path / "greedy")

    with pytest.raises(ModelFailed, match="The model of release model-1 cannot be run"):
        with here.device_classifier(releases, release) as classify:
            list(classify([plain(20)]))


def test_a_damaged_device_model_is_not_loaded(bright_or_dark, publish_pair, tmp_path):
    releases = open_releases(str(tmp_path / "releases"))
    (tmp_path / "damaged").write_bytes((bright_or_dark / "tflite").read_bytes()[:-40])
    release = publish_pair(releases, tmp_path / "damaged")

    with pytest.raises(UnsafeModel, match="The device model of release model-1 is refused: its file is damaged"):
        with here.device_classifier(releases, release):
            raise AssertionError("it was loaded")
