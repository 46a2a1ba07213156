"""Runs a device model as devices do: by LiteRT, one image at a time on one thread."""

import time
from collections.abc import Iterable

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class LiteRTModel:
    """A .tflite file with a static float32 input `image` [1, H, W, C] and one output `probabilities` [1, labels]."""

    def __init__(self, path: str):
        """Raises ValueError for a file that is no model, or one with other inputs and outputs."""
        # two threads take 2.5 to 7 times the CPU of one for models of this size
        self._interpreter = Interpreter(model_path=path, num_threads=1)
        self._interpreter.allocate_tensors()
        signatures = self._interpreter.get_signature_list()
        if signatures.get("serving_default") != {"inputs": ["image"], "outputs": ["probabilities"]}:
            raise ValueError(f"{path} has the signatures {signatures}, not image -> probabilities")
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self.shape: tuple[int, ...] = tuple(map(int, self._input["shape_signature"]))  # -1 where it is not static
        for details in (self._input, self._output):
            if details["dtype"] != np.float32:
                raise ValueError(f"{path} has a {details['dtype'].__name__} tensor {details['name']}, not float32")

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the operators that a runtime needs, sorted."""
        # the only list of them; DELEGATE stands for those that XNNPACK takes over, which are also listed one by one
        found = {operator["op_name"] for operator in self._interpreter._get_ops_details()}
        return tuple(sorted(found - {"DELEGATE"}))

    @property
    def outputs(self) -> int:
        """Number of probabilities that it gives."""
        return int(self._output["shape"][-1])

    def predict(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Runs float32 images [n, H, W, C] in [0, 1], see input.py; returns probabilities, float32 [n, labels]."""
        rows = [self._run(image) for image in images]
        return np.stack(rows) if rows else np.empty((0, self.outputs), np.float32)

    def latency(self, image: np.ndarray, seconds: float = 1.0) -> float:
        """Returns the median time of a prediction in milliseconds, of as many as fit into `seconds`."""
        self._run(image)  # the first call allocates
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            began = time.perf_counter()
            self._run(image)
            times.append(time.perf_counter() - began)
        return float(np.median(times)) * 1e3

    def _run(self, image: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input["index"], np.asarray(image, np.float32)[np.newaxis])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])[0].copy()
