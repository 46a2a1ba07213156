"""A model in a process of its own: predictions of a good one, and what a hostile one finds there."""

import itertools
import os
import shutil
import subprocess
import sys
import time

import pytest

from pipeline.batch import inference
from pipeline.batch.model_client import ModelClient
from pipeline.confinement import ROOT
from pipeline.data import digits
from pipeline.errors import ModelFailed


@pytest.fixture(scope="module")
def scans():
    return [image for _, image in digits.images(digits.FIRST, limit=50)]


@pytest.fixture(scope="module")
def client(saved_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    shutil.copytree(saved_model, folder / "model")
    with ModelClient(str(folder), "model-1") as client:
        yield client


def test_predictions_are_those_of_this_process(client, saved_model, scans):
    images = [*scans, b"no picture", b"", scans[0]]
    here, there = list(inference.classify(inference.load(saved_model), images)), list(client.classify(images))
    assert [found is None for found in there] == [False] * 50 + [True, True, False]
    for one, other in zip(filter(None, here), filter(None, there), strict=True):
        assert (one.label, one.confidence) == (other.label, pytest.approx(other.confidence, abs=1e-5))
        assert other.probabilities.tolist() == pytest.approx(one.probabilities.tolist(), abs=1e-5)


def test_one_process_answers_one_batch_after_another(client, scans):
    assert [len(list(client.classify(scans[:count]))) for count in (3, 0, 50)] == [3, 0, 50]


def test_an_error_of_the_images_is_raised_after_what_was_predicted(client, scans):
    def images():
        yield from scans[:20]
        raise ZeroDivisionError

    found = []
    with pytest.raises(ZeroDivisionError):
        found.extend(client.classify(images()))
    assert len(list(client.classify(scans[:2]))) == 2


def reader(tmp_path, path: str) -> str:
    """Makes a model whose label for any image is the content of a file; the check of graphs would refuse it."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def preprocess(image):
        return {"pixels": tf.zeros([tf.size(image), 1, 1, 1]), "decoded": tf.ones([tf.size(image)], tf.bool)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1, 1, 1], tf.float32, name="pixels")])
    def predict(pixels):
        ones = pixels[:, 0, 0, :] + 1
        return {
            "label": tf.fill([tf.shape(pixels)[0]], tf.io.read_file(path)),
            "confidence": ones[:, 0],
            "probabilities": ones,
        }

    module.preprocess, module.predict = preprocess, predict
    tf.saved_model.save(module, str(tmp_path / "model"), {"preprocess": preprocess, "predict": predict})
    return str(tmp_path)


def test_the_environment_of_a_model_holds_no_credentials(tmp_path, monkeypatch):
    for name in ("GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "ANYTHING"):
        monkeypatch.setenv(name, "a secret")
    lines = []
    with ModelClient(reader(tmp_path, "/proc/self/environ"), "model-1", lines.append) as client:
        (found,) = client.classify([b"any"])
    variables = dict(pair.split("=", 1) for pair in found.label.split("\0") if pair)
    own = str(tmp_path / "temporary")
    assert (variables["HOME"], variables["TMPDIR"], variables["PYTHONPATH"]) == (own, own, ROOT)
    assert "a secret" not in found.label and not {"GITHUB_TOKEN", "ANYTHING"} & set(variables)
    assert len(lines) <= 1 and all("cannot keep" in line for line in lines)


def test_a_model_that_reads_a_file_of_the_user_fails_and_says_why(tmp_path):
    (tmp_path / "secret").write_text("a secret")
    lines = []
    with ModelClient(reader(tmp_path, str(tmp_path / "secret")), "model-7", lines.append) as client:
        if lines:
            pytest.skip(lines[0])
        with pytest.raises(ModelFailed, match="model of release model-7 cannot be run: .*Permission denied"):
            list(client.classify(itertools.repeat(b"any")))
        with pytest.raises(ModelFailed):
            list(client.classify([b"any"]))


def test_what_is_no_model_is_an_error_and_leaves_no_process(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelFailed, match="SavedModel file does not exist"), ModelClient(str(tmp_path), "model-1"):
        raise AssertionError("it was loaded")


def test_a_process_ends_with_the_one_that_started_it(tmp_path, saved_model):
    shutil.copytree(saved_model, tmp_path / "model")
    program = (
        "import os, sys\nfrom pipeline.batch.model_client import ModelClient\n"
        "with ModelClient(sys.argv[1], 'model-1') as client:\n"
        "    print(client._process.pid, flush=True)\n    os.kill(os.getpid(), 9)"
    )
    command, environment = [sys.executable, "-c", program, str(tmp_path)], {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    until = time.monotonic() + 60
    while os.path.exists(f"/proc/{int(done.stdout)}/cmdline") and time.monotonic() < until:
        time.sleep(0.1)
    assert time.monotonic() < until, "its stdin is closed, so it ends"
