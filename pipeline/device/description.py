"""device.json: what the device model takes and gives. Written beside it in training, read by everything after."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.device.input import InputSpec
from pipeline.errors import SpanloopError

FILE = "device.json"


class UnusableDeviceModel(SpanloopError):
    """A device model is not what the pipeline expects of one."""


@dataclass(frozen=True)
class Description:
    """A device model's labels, in the order of its probabilities, its input, and what the task says of it."""

    labels: tuple[str, ...]
    input: InputSpec
    quantization: str  # one of conversion.VARIANTS
    parameters: int  # numbers that the network consists of

    @classmethod
    def from_json(cls, text: str | bytes) -> "Description":
        """Reads a device.json. Raises UnusableDeviceModel."""
        try:
            given: Mapping[str, Any] = json.loads(text)
            return cls(
                labels=tuple(map(str, given["labels"])),
                input=InputSpec.from_json(given["input"]),
                quantization=str(given["quantization"]),
                parameters=int(given["parameters"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UnusableDeviceModel(f"{FILE} of the device model cannot be used: {error!r}.") from error

    def to_json(self) -> str:
        """Returns what `from_json` reads."""
        written = {"labels": self.labels, "input": self.input.to_json()}
        return json.dumps(written | {"quantization": self.quantization, "parameters": self.parameters}, indent=1)


def read(folder: str) -> Description:
    """Reads the device.json in a local folder. Raises UnusableDeviceModel, also when there is none."""
    try:
        with open(os.path.join(folder, FILE), "rb") as file:
            return Description.from_json(file.read())
    except FileNotFoundError:
        raise UnusableDeviceModel(f"The device model has no {FILE}: its run_fn in device.py has to write it.") from None
