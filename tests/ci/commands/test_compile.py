import hashlib

from pipeline.plan import Shape
from tests.ci.conftest import ROOT
from tests.conftest import IMAGE
from tests.pipeline.conftest import compiled


def test_the_same_pipeline_compiled_elsewhere_is_the_same_text_and_takes_no_network(ci, tmp_path):
    """In a separate process: other hash seed, folder and time zone, and no network."""
    elsewhere = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "WORKSPACE": "gs://x-y-z/w"}
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    arguments = ("--pipeline", "training", "--output", "job.json", "--json")

    done = ci("compile", *arguments, cwd=tmp_path, PIPELINE_IMAGE=IMAGE, SEED="7", **elsewhere, **offline)

    assert done.code == 0, done.err
    text, here = (tmp_path / "job.json").read_bytes(), compiled("training", Shape(baseline=True))
    assert text.decode() == here.text
    assert done.json["output"] == "job.json" and done.json["parameters"] == here.parameters
    assert done.json["digest"] == hashlib.sha256(text).hexdigest() == here.digest
    assert len(done.err.splitlines()) == 1  # TFX has nothing to add


def test_what_is_missing_is_said_at_once(ci, tmp_path):
    done = ci("compile", "--pipeline", "training", "--output", tmp_path / "job.json")
    assert done.code == 2 and "PIPELINE_IMAGE" in done.err and len(done.err.splitlines()) == 1

    done = ci("compile", "--pipeline", "serving", "--output", tmp_path / "job.json")
    assert done.code == 2 and "training" in done.err
