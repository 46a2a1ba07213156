"""Images of two labels, of which one is red and one is blue, and their import file."""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.emulators.vertex.import_file import ML_USE, USES

LABELS = ("fox", "jay")
USE = 8 * USES[:1] + 2 * USES[1:2] + 2 * USES[2:]  # of the images of a label


def picture(label: str, number: int) -> bytes:
    """A PNG of 32 by 32 pixels."""
    values = np.random.default_rng(number).integers(0, 120, (32, 32, 3))
    values[..., 0 if label == LABELS[0] else 2] += 120
    data = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(data, "PNG")
    return data.getvalue()


def line(uri: str, label: str = LABELS[0], use: str = USES[0]) -> dict[str, Any]:
    """One line of an import file."""
    return {
        "imageGcsUri": uri,
        "classificationAnnotation": {"displayName": label},
        "dataItemResourceLabels": {ML_USE: use, "span": "1"},
    }


def put(cloud: Any) -> str:
    """Puts the images and their import file into the bucket; returns the file's address."""
    folder = f"gs://{cloud.bucket}/pets"
    for number, (label, _) in enumerate(_images()):
        cloud.gcs.put(f"{folder}/{number}.png", picture(label, number))
    lines = [line(f"{folder}/{number}.png", label, use) for number, (label, use) in enumerate(_images())]
    cloud.gcs.put(f"{folder}/import.jsonl", "".join(f"{json.dumps(each)}\n" for each in lines).encode())
    return f"{folder}/import.jsonl"


def _images() -> Iterator[tuple[str, str]]:
    return ((label, use) for use in USE for label in LABELS)
