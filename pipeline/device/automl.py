"""AutoML's exported device model, made one that apps here run: float32 pixels in [0, 1] in, float32 probabilities out.

AutoML exports a network of 8-bit numbers that takes uint8 pixels and gives uint8 probabilities, with its labels in a
text file: https://cloud.google.com/vertex-ai/docs/export/export-edge-model. Three operators before and one behind the
network, which every runtime has, change what it takes and gives and nothing else.
"""

import io
import os
import zipfile

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.device import description
from pipeline.device.description import Description, UnusableDeviceModel
from pipeline.device.file_check import IDENTIFIER
from pipeline.device.input import InputSpec
from pipeline.releases.model_ops import TFLITE as OPERATORS

TFLITE = "tflite"
LABEL_FILES = ("dict.txt", "labels.txt", "label.txt", "labelmap.txt")
QUANTIZATION = "int8"


def adapt(exported: bytes, labels: bytes | None, folder: str) -> None:
    """Writes an exported file as a device model, `tflite` and device.json, to a folder.

    `labels` is the content of the text file beside it, None where there is none: the labels are then in the file
    itself. Raises UnusableDeviceModel.
    """
    names = _labels(exported if labels is None else labels, inside=labels is None)
    model, spec = _adapted(exported, len(names))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, TFLITE), "wb") as file:
        file.write(model)
    described = Description(names, spec, QUANTIZATION, parameters=0)
    with open(os.path.join(folder, description.FILE), "w", encoding="utf-8") as file:
        file.write(described.to_json())


def _labels(data: bytes, inside: bool) -> tuple[str, ...]:
    """Returns the labels of a text file, or of the one that is packed behind the network (TFLite metadata)."""
    if inside:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                (name,) = (name for name in packed.namelist() if name.endswith(".txt"))
                data = packed.read(name)
        except (zipfile.BadZipFile, ValueError):
            raise UnusableDeviceModel(
                "AutoML's export has no label file, neither beside the model nor inside of it: export it again."
            ) from None
    found = tuple(line.strip() for line in data.decode().splitlines() if line.strip())
    if len(set(found)) != len(found) or not found:
        raise UnusableDeviceModel("AutoML's label file names no label, or one twice.")
    return found


def _adapted(exported: bytes, labels: int) -> tuple[bytes, InputSpec]:
    """Returns the file with its new input and output, and what it takes."""
    if exported[4:8] != IDENTIFIER:
        raise UnusableDeviceModel("AutoML's export is no TensorFlow Lite model.")
    model = schema.ModelT.InitFromPackedBuf(exported)
    graph = model.subgraphs[0]
    if len(model.subgraphs) != 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnusableDeviceModel("AutoML's model has not one input and one output.")
    pixels, scores = (graph.tensors[int(ends[0])] for ends in (graph.inputs, graph.outputs))
    shape, given = list(map(int, pixels.shape)), list(map(int, scores.shape))
    for tensor, name in ((pixels, "input"), (scores, "output")):
        if tensor.type != schema.TensorType.UINT8 or tensor.quantization is None or tensor.quantization.scale is None:
            raise UnusableDeviceModel(f"AutoML's model has an {name} that is not of 8-bit numbers without a sign.")
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
        raise UnusableDeviceModel(f"AutoML's model takes {shape}, not one image of three colours.")
    if given != [1, labels]:
        raise UnusableDeviceModel(f"AutoML's model gives {given}, but its label file names {labels} labels.")
    _Surgery(model).change_ends(shape, given)
    builder = schema.flatbuffers.Builder(len(exported))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output()), InputSpec(shape[1], shape[2], shape[3])


class _Surgery:
    """Adds operators and tensors to a model of one graph."""

    def __init__(self, model: schema.ModelT):
        self._model, self._graph = model, model.subgraphs[0]

    def change_ends(self, shape: list[int], given: list[int]) -> None:
        """Makes the input float32 `image` in [0, 1] and the output float32 `probabilities`."""
        graph = self._graph
        pixels, scores = int(graph.inputs[0]), int(graph.outputs[0])
        scale, zero = (np.ravel(of)[0] for of in self._quantization(pixels))
        image, scaled, shifted = (self._tensor(name, shape) for name in ("image", "scaled", "shifted"))
        probabilities = self._tensor("probabilities", given)
        # The network reads the number q of a pixel as scale * (q - zero); q has to be 255 * image.
        before = [
            self._operator("MUL", [image, self._constant("levels", 255 * scale)], scaled),
            self._operator("ADD", [scaled, self._constant("zero", -scale * zero)], shifted),
            self._operator("QUANTIZE", [shifted], pixels),
        ]
        graph.operators = [*before, *graph.operators, self._operator("DEQUANTIZE", [scores], probabilities)]
        graph.inputs, graph.outputs = [image], [probabilities]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs, signature.outputs = [_named("image", image)], [_named("probabilities", probabilities)]
        self._model.signatureDefs = [signature]
        self._model.metadata, self._model.metadataBuffer = None, None  # of the exported input and output

    def _quantization(self, tensor: int) -> tuple[np.ndarray, np.ndarray]:
        of = self._graph.tensors[tensor].quantization
        return of.scale, of.zeroPoint

    def _tensor(self, name: str, shape: list[int], buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, schema.TensorType.FLOAT32, buffer
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _constant(self, name: str, value: float) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.float32(value).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return self._tensor(name, [1], len(self._model.buffers) - 1)

    def _operator(self, name: str, inputs: list[int], output: int) -> schema.OperatorT:
        assert name in OPERATORS
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
        self._model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        if name in _OPTIONS:
            operator.builtinOptionsType, operator.builtinOptions = _OPTIONS[name][0], _OPTIONS[name][1]()
        return operator


_OPTIONS = {
    "MUL": (schema.BuiltinOptions.MulOptions, schema.MulOptionsT),
    "ADD": (schema.BuiltinOptions.AddOptions, schema.AddOptionsT),
}


def _named(name: str, tensor: int) -> schema.TensorMapT:
    of = schema.TensorMapT()
    of.name, of.tensorIndex = name, tensor
    return of
