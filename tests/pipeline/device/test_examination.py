"""What is known of a device model's file before it is released."""

import numpy as np

from pipeline.device.examination import examine, machine


def test_a_file_is_examined_where_it_is_evaluated(bright_or_dark):
    path = bright_or_dark / "tflite"

    found = examine(str(path), np.random.default_rng(0).random((4, 8, 8, 3), np.float32))

    assert found.bytes == path.stat().st_size
    assert found.shape == (1, 8, 8, 3)
    assert {"FULLY_CONNECTED", "SOFTMAX"} <= set(found.operators) and found.problem == ""
    assert 0 < found.milliseconds < 100
    assert found.machine == machine() != ""
    assert found.repeated == 0.0


def test_a_fresh_process_that_fails_is_noticed(bright_or_dark, monkeypatch):
    monkeypatch.setattr("pipeline.device.examination.FRESH", "import sys; sys.exit(1)")

    assert examine(str(bright_or_dark / "tflite"), np.zeros((1, 8, 8, 3), np.float32)).repeated is None
