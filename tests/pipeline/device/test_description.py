"""device.json is read back as it was written, and one that cannot be used is named."""

import json

import pytest

from pipeline.device import description
from pipeline.device.description import Description, UnusableDeviceModel
from pipeline.device.input import InputSpec

GOOD = Description(("cat", "dog"), InputSpec(64, 64, 3), "fp16", 1234)


def test_a_description_is_read_as_it_was_written(tmp_path):
    (tmp_path / description.FILE).write_text(GOOD.to_json())

    assert description.read(str(tmp_path)) == GOOD


def test_a_model_without_one_is_refused(tmp_path):
    with pytest.raises(UnusableDeviceModel, match="has no device.json: its run_fn in device.py"):
        description.read(str(tmp_path))


@pytest.mark.parametrize("field", ["labels", "input", "quantization", "parameters"])
def test_a_missing_field_is_named(field):
    fields = {name: value for name, value in json.loads(GOOD.to_json()).items() if name != field}

    with pytest.raises(UnusableDeviceModel, match=field):
        Description.from_json(json.dumps(fields))


def test_an_input_that_no_app_makes_is_refused():
    fields = json.loads(GOOD.to_json())
    fields["input"]["range"] = [-1, 1]

    with pytest.raises(UnusableDeviceModel, match="range"):
        Description.from_json(json.dumps(fields))
