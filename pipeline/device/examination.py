"""Examines a device model's file: its size, input and operators, how long it takes, and whether it repeats itself."""

import os
import platform
import subprocess
import sys
import tempfile

import numpy as np

from pipeline.device import file_check
from pipeline.device.litert import LiteRTModel
from pipeline.errors import UnsafeModel
from pipeline.quality.pair_gate import DeviceFile

FRESH = """
import sys, numpy
from pipeline.device.litert import LiteRTModel
numpy.save(sys.argv[3], LiteRTModel(sys.argv[1]).predict(numpy.load(sys.argv[2])))
"""


def examine(path: str, images: np.ndarray) -> DeviceFile:
    """Runs a .tflite file on float32 images [n, H, W, C], of which there must be one."""
    model = LiteRTModel(path)
    return DeviceFile(
        bytes=os.path.getsize(path),
        shape=model.shape,
        operators=model.operators,
        problem=_problem(path),
        milliseconds=model.latency(images[0]),
        machine=machine(),
        repeated=_difference_in_a_fresh_process(path, images, model.predict(images)),
    )


def _problem(path: str) -> str:
    """Returns why `evaluate` would refuse the file, "" where it would not."""
    try:
        file_check.check(path, "The device model")
    except UnsafeModel as refused:
        return refused.reason
    return ""


def _difference_in_a_fresh_process(path: str, images: np.ndarray, expected: np.ndarray) -> float | None:
    """Returns by how much a probability differs at most; None where the process fails."""
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        given, found = os.path.join(folder, "images.npy"), os.path.join(folder, "probabilities.npy")
        np.save(given, images)
        command = [sys.executable, "-c", FRESH, os.path.abspath(path), given, found]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode:
            return None
        return float(np.abs(np.load(found) - expected).max())


def machine() -> str:
    """Returns the name of this machine's processor, such as 'Intel(R) Xeon(R) CPU @ 2.20GHz'."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:  # not on macOS
        names = []
    return names[0] if names else platform.processor() or platform.machine()
