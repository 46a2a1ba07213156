"""The program that runs a model: several batches at a time, answered in their order."""

import io
import os
import threading

import numpy as np
import pytest

from pipeline.serving.server.model_process import Runner, answer_batches, message, read


class Numbers:
    """A model of one number, which is done with the first batch, of ones, only after the second one."""

    inputs = {"number": {"dtype": "float32", "shape": [], "images": False}}

    def __init__(self):
        self._second = threading.Event()

    def run(self, columns):
        numbers = columns["number"]
        if numbers[0] < 0:
            raise RuntimeError("the model has failed")
        if numbers[0] == 1:
            assert self._second.wait(60)
        else:
            self._second.set()
        return {"double": 2 * numbers}


def runner() -> Runner:
    made = Runner(Numbers())
    made.batches = 2  # also on one processor
    return made


def batch(*numbers: float) -> bytes:
    column = np.array(numbers, np.float32)
    head = {"columns": {"number": {"dtype": "float32", "shape": column.shape}}, "parts": [1] * len(numbers)}
    return message(head, column.tobytes())


def test_two_batches_are_computed_at_a_time_and_answered_in_their_order():
    answers = io.BytesIO()

    answer_batches(runner(), io.BytesIO(batch(1) + batch(2, 3) + batch(4)), answers)

    answers.seek(0)
    assert [read(answers) for _ in range(4)] == [
        ({"parts": [{"rows": [3]}]}, b"2.0"),
        ({"parts": [{"rows": [3]}, {"rows": [3]}]}, b"4.06.0"),
        ({"parts": [{"rows": [3]}]}, b"8.0"),
        None,
    ]


def test_a_model_that_fails_ends_the_program_without_another_batch():
    reads, writes = os.pipe()
    with open(reads, "rb") as requests, open(writes, "wb") as more:
        more.write(batch(-1))
        more.flush()
        with pytest.raises(RuntimeError, match="has failed"):
            answer_batches(runner(), requests, io.BytesIO())
