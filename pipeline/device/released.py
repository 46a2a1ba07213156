"""The device model of a release as a folder: `tflite` and device.json."""

import os

from pipeline.device import description, file_check
from pipeline.device.description import Description
from pipeline.device.input import InputSpec
from pipeline.errors import BrokenRelease
from pipeline.releases.base import Releases
from pipeline.releases.record import RECORD, Release

TFLITE = "tflite"  # the name that TFX and TFMA give the file in a model's folder


def fetch(releases: Releases, release: Release, folder: str) -> None:
    """Writes the device model of a release, which has one, to a new folder. Raises BrokenRelease or UnsafeModel."""
    device = release.device
    os.makedirs(folder)
    file_check.fetch(releases, release, os.path.join(folder, TFLITE))
    try:
        taken = InputSpec.from_json(device.input)
    except ValueError as error:
        raise BrokenRelease(release.tag, f"{RECORD} has a device model that no app can use: {error}") from None
    # its parameters count while it is converted only
    described = Description(device.labels, taken, device.quantization, parameters=0)
    with open(os.path.join(folder, description.FILE), "w", encoding="utf-8") as file:
        file.write(described.to_json())
