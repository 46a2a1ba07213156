"""The node that converts: from what `run_fn` of the device model exported to a file for devices."""

import dataclasses
import json
import pathlib

import pytest
from tfx.components.trainer.fn_args_utils import FnArgs

from modules.classification import device
from pipeline.components import tfx_api as tfx
from pipeline.components.device_converter import DeviceConverter
from pipeline.device import description
from pipeline.device.conversion import ConversionFailed
from pipeline.device.litert import LiteRTModel


def newest(workspace: pathlib.Path, node: str, output: str) -> pathlib.Path:
    return max(workspace.glob(f"**/training/{node}/{output}/*"), key=lambda folder: int(folder.name))


@pytest.fixture(scope="module")
def nodes(trained, tmp_path_factory):
    """Artifacts of a training's examples, and of a device model that was trained on them for two epochs."""
    root = tmp_path_factory.mktemp("device")
    examples = newest(trained[0], "SpanExampleGen", "examples")
    arguments = FnArgs(
        transform_output=str(newest(trained[0], "Transform", "transform_graph")),
        train_files=[str(examples / "Split-train" / "*")],
        eval_files=[str(examples / "Split-eval" / "*")],
        serving_model_dir=str(root / "model" / "Format-Serving"),
        model_run_dir=str(root / "run"),
        custom_config={"seed": 0, "checkpoints": str(root / "checkpoints")},
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device, "DEVICE", dataclasses.replace(device.DEVICE, epochs=2))
        device.run_fn(arguments)
    return root, artifact(tfx.artifacts.Model, root / "model"), artifact(tfx.artifacts.Examples, examples)


def artifact(kind, path):
    made = kind()
    made.uri = str(path)
    return made


@pytest.fixture
def convert(nodes, tmp_path):
    """Function that runs the node with given parameters; returns its output's folder."""
    _, model, examples = nodes

    def run(**parameters: str) -> pathlib.Path:
        output = artifact(tfx.artifacts.Model, tmp_path / f"output-{len(list(tmp_path.iterdir()))}")
        DeviceConverter.test_call(model=model, examples=examples, device_model=output, **parameters)
        return pathlib.Path(output.uri)

    return run


def test_the_device_model_is_converted_as_its_task_says(convert):
    output = convert()

    assert {path.name for path in (output / "Format-Serving").iterdir()} == {"tflite", "labels.txt", "device.json"}
    described = description.read(str(output / "Format-Serving"))
    assert described.quantization == "fp16"
    assert (output / "Format-Serving/labels.txt").read_text().splitlines() == list(described.labels)
    model = LiteRTModel(str(output / "Format-Serving/tflite"))
    assert model.shape == (1, described.input.height, described.input.width, described.input.channels)

    compared = json.loads((output / "conversion.json").read_text())
    assert compared["quantization"] == "fp16"
    assert set(compared["variants"]) == {"fp32", "fp16", "dynamic", "int8"}
    shipped = compared["variants"]["fp16"]
    assert shipped["bytes"] == (output / "Format-Serving/tflite").stat().st_size
    assert shipped["largest_difference"] < 0.01
    assert shipped["labels_changed"] <= compared["images"] * 0.02


def test_another_quantization_needs_no_other_training(convert):
    output = convert(quantization="dynamic", variants="[]")

    assert description.read(str(output / "Format-Serving")).quantization == "dynamic"
    compared = json.loads((output / "conversion.json").read_text())
    assert list(compared["variants"]) == ["dynamic"]


def test_a_quantization_that_cannot_be_made_stops_the_run(convert):
    with pytest.raises(ConversionFailed, match="int2: it is not one of"):
        convert(quantization="int2")


def test_another_variant_that_cannot_be_made_is_noted(convert):
    output = convert(variants='["int2"]')

    compared = json.loads((output / "conversion.json").read_text())
    assert "cannot be converted to int2" in compared["variants"]["int2"]["error"]


def test_training_leaves_its_curves_and_no_checkpoints(nodes):
    root = nodes[0]

    assert len(json.loads((root / "run/epochs.json").read_text())) == 2
    assert not (root / "checkpoints-device").exists()
