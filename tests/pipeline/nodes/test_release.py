"""The node Release: what it makes of AutoML's predictions and export."""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Iterable

import pytest
from PIL import Image

from pipeline import plan
from pipeline.cloud.calls import wait_for_operation
from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.data import automl_dataset, reports, spans
from pipeline.data.span import published
from pipeline.device.description import UnusableDeviceModel
from pipeline.errors import OnlyOnVertex, UndecodedImages
from pipeline.nodes import release
from pipeline.releases.factory import releases_of
from pipeline.storage.factory import open_storage
from tests.conftest import collect, encoded, noise


def shade(number: int, bright: bool) -> bytes:
    """A PNG of noise, mixed with white or black."""
    ground = Image.new("RGB", (16, 16), (235 if bright else 20,) * 3)
    return encoded(Image.blend(noise(number, "RGB", (16, 16)), ground, 0.75), "PNG")


@pytest.fixture
def config(cloud_config) -> Config:
    """Settings of a workspace with 60 bright and dark images."""
    storage = open_storage(cloud_config.workspace)
    names = [("dark", "bright")[number % 2] for number in range(60)]
    collect(storage, {f"{name}/{at}.png": shade(at, name == "bright") for at, name in enumerate(names)})
    spans.prepare(storage)
    return dataclasses.replace(cloud_config, device_milliseconds=0.0)


class Run:
    """A run of the pipeline up to the node Release, whose inputs lie in the workspace."""

    def __init__(self, config: Config, exported: bytes):
        self.config, self.plan = config, plan.automl(config, "all")
        self.storage = open_storage(config.workspace)
        self.storage.write("exports/model/model.tflite", exported)
        self.storage.write("exports/model/dict.txt", b"dark\nbright\n")
        self.predict(lambda label: label)

    @property
    def examples(self) -> Iterable:
        return [example for span in published(self.storage) for example in span.examples("eval")]

    def predict(self, answer) -> None:
        """Writes predictions; `answer` gives the label of an image by its own, None for no prediction."""
        lines = []
        for example in self.examples:
            address = self.storage.address(f"datasets/{automl_dataset.file_of(example.source, example.image)}")
            row = {"instance": automl_dataset.instance(address)}
            if label := answer(example.label):
                other = {"dark": "bright", "bright": "dark"}[label]
                row["prediction"] = {"ids": ["1", "2"], "displayNames": [label, other], "confidences": [0.9, 0.1]}
            else:
                row["error"] = {"message": "cannot be read"}
            lines.append(json.dumps(row))
        self.storage.write("predictions/prediction-1/predictions_00001.jsonl", "\n".join(lines).encode())

    def __call__(self, outputs: pathlib.Path, model: str = "") -> str:
        """Runs the node; returns the tag that it names."""
        release.main(
            argparse.Namespace(
                settings=self.config.to_json(),
                run=self.plan.to_json(),
                commit="c0ffee",
                cloud_model=model,
                predictions=self.storage.address("predictions"),
                export=json.dumps({"artifactOutputUri": self.storage.address("exports/model")}),
                released=str(outputs / "released"),
            )
        )
        return (outputs / "released").read_text()


@pytest.fixture
def run(config, automl_export) -> Run:
    return Run(config, automl_export)


@pytest.fixture
def model(config) -> str:
    """Resource name of a model on Vertex AI."""
    models = client(config, "ModelService")
    described = {"display_name": "of AutoML", "container_spec": {"image_uri": config.image}}
    started = models.upload_model({"parent": location(config), "model": described | {"artifact_uri": config.workspace}})
    wait_for_operation(models, started.operation.name, "Uploading", print)
    (found,) = models.list_models({"parent": location(config)})
    return found.name.partition("@")[0]


def test_a_good_pair_is_released_with_the_models_name_and_the_file_for_devices(run, model, tmp_path):
    tag = run(tmp_path, model)

    assert tag == "model-1"
    released = releases_of(run.config).get(tag)
    assert (released.flavour, released.cloud_model) == ("automl", f"{model}@1")
    assert released.device.labels == ("dark", "bright") and released.device.metrics.accuracy == 1.0
    assert released.metrics.accuracy == 1.0 and released.device.agreement == 1.0
    assert set(released.files) == {"model.tflite", "model-card.html"}
    report = reports.newest_training(run.storage)
    assert (report.identity, report.outcome.release, report.commit) == (run.plan.identity, tag, "c0ffee")
    with pytest.raises(OnlyOnVertex, match="evaluate --on vertex"):
        releases_of(run.config).fetch(released, str(tmp_path / "model"))
    # the run that is planned now is the one that made the release
    assert plan.automl(run.config, "all") == run.plan


def test_a_bad_cloud_model_is_refused_with_the_reasons_of_both_gates(run, tmp_path):
    run.config = dataclasses.replace(run.config, device_agreement=0.9)
    run.predict(lambda label: "dark")

    assert run(tmp_path) == ""

    outcome = reports.newest_training(run.storage).outcome
    assert not outcome.blessed and outcome.release is None
    assert any("below the threshold 80" in reason for reason in outcome.reasons)
    assert any(reason.startswith("pair: both models give the same label") for reason in outcome.reasons)
    assert not releases_of(run.config).tags()


def test_images_that_a_model_has_no_answer_for(run, tmp_path):
    run.predict(lambda label: None if label == "dark" else label)

    with pytest.raises(UndecodedImages):
        run(tmp_path)


def test_an_export_that_holds_no_model(run):
    with pytest.raises(UnusableDeviceModel, match="0 files"):
        release.fetch_export({"artifactOutputUri": run.storage.address("exports/none")}, "unused")
    with pytest.raises(UnusableDeviceModel, match="no address"):
        release.fetch_export({}, "unused")
