import hashlib
import json

from tests.conftest import IMAGE
from tests.pipeline.conftest import compiled


def test_a_pipeline_is_compiled_to_a_file_without_any_network(ci, tmp_path):
    nobody = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    job = tmp_path / "job.json"

    done = ci("compile", "--pipeline", "retraining", "--output", job, "--json", PIPELINE_IMAGE=IMAGE, **nobody)

    assert done.code == 0, done.err
    text = job.read_bytes()
    assert done.told["output"] == str(job)
    assert done.told["digest"] == hashlib.sha256(text).hexdigest() == compiled("retraining").digest
    assert json.loads(text)["pipelineSpec"]["schemaVersion"] == "2.1.0"
    assert done.told["parameters"] == ["commit", "modules", "selection", "settings", "workspace"]
    assert len(done.err.splitlines()) == 1  # TFX has nothing to add


def test_what_is_missing_is_said_at_once(ci, tmp_path):
    done = ci("compile", "--pipeline", "training", "--output", tmp_path / "job.json")
    assert done.code == 2 and "PIPELINE_IMAGE" in done.err and len(done.err.splitlines()) == 1

    done = ci("compile", "--pipeline", "serving", "--output", tmp_path / "job.json")
    assert done.code == 2 and "training" in done.err
