"""The node ImportFile, run as its container runs it."""

import dataclasses
import json
import subprocess
import sys

import pytest

from pipeline import plan
from pipeline.config import Config
from pipeline.data import correcting, spans
from pipeline.orchestrators.spec_lint import containers
from pipeline.storage.factory import open_storage
from tests.ci.conftest import ROOT
from tests.conftest import collect, photographs
from tests.pipeline.conftest import compiled


@pytest.fixture
def config(tmp_path) -> Config:
    """Settings of a workspace with a span of 30 images."""
    workspace = str(tmp_path / "workspace")
    storage = open_storage(workspace)
    collect(storage, photographs(range(30)))
    spans.prepare(storage)
    return Config(workspace=workspace)


def run(config: Config, planned: plan.AutomlPlan, folder) -> subprocess.CompletedProcess:
    """Runs the command of the compiled pipeline with these values in place of its placeholders."""
    container = dict(containers(compiled("automl").spec))["import-file"]
    values = {
        "{{$.inputs.parameters['settings']}}": config.to_json(),
        "{{$.inputs.parameters['run']}}": planned.to_json(),
        "{{$.outputs.parameters['import_file'].output_file}}": str(folder / "import_file"),
        "{{$.outputs.parameters['instances'].output_file}}": str(folder / "instances"),
    }
    command = [*container["command"], *(values.get(text, text) for text in container["args"])]
    return subprocess.run([sys.executable, *command[1:]], cwd=ROOT, capture_output=True, text=True)


def test_it_names_the_dataset_of_the_planned_spans(config, tmp_path):
    planned = plan.automl(config, "all")
    correcting.withdraw(open_storage(config.workspace), ["cat/0.jpg"], "asked for")  # after the run was planned

    done = run(config, planned, tmp_path / "outputs")

    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "outputs" / "import_file").read_text()
    with open(listed, encoding="utf-8") as file:
        assert len(file.readlines()) == 30
    (instances,) = json.loads((tmp_path / "outputs" / "instances").read_text())
    assert instances.startswith(f"{config.workspace}/datasets/")


def test_a_span_that_is_gone_is_an_error_of_one_line(config, tmp_path):
    planned = dataclasses.replace(plan.automl(config, "all"), spans=(1, 7))

    done = run(config, planned, tmp_path / "outputs")

    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Span 7 does not exist" in done.stderr
