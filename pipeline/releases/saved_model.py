"""Checks what a SavedModel can do by reading its graph; nothing of it is loaded or run.

The file is a message of https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/saved_model.proto.
It is read by its wire format, https://protobuf.dev/programming-guides/encoding/: importing TensorFlow for the classes
of the message takes five seconds.
"""

import collections
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from pipeline.errors import UnsafeModel
from pipeline.releases.model_ops import ALLOWED, READS_ASSET, RESTORING, SAVING

FILE = "saved_model.pb"
OTHERS = ("saved_model.pbtxt", "saved_model.cpb")  # TensorFlow may load one of these instead
LARGEST = 512 << 20  # bytes of a graph, of which parts are copied; weights are in files of their own
MAIN = ""  # name of the graph that is no function's

# Numbers of fields: of SavedModel,
META_GRAPHS = 2
# of MetaGraphDef,
GRAPH, SAVER, ASSETS, OBJECTS = 2, 3, 6, 7
# of GraphDef, FunctionDefLibrary, FunctionDef and OpDef,
NODES, LIBRARY = 1, 2
FUNCTIONS = 1
SIGNATURE, BODY = 1, 3
ARGUMENTS = 2
# of NodeDef, AttrValue and its list,
OP, INPUTS, ATTRIBUTES = 2, 3, 5
LIST, FUNCTION = 1, 10
LISTED_FUNCTIONS = 9
FUNCTION_ATTRIBUTES = 2
# of SaverDef and AssetFileDef,
SAVE, RESTORE = 2, 3
ASSET_TENSOR, ASSET_FILE = 1, 2
# of SavedObjectGraph, SavedObject and SavedConcreteFunction,
SAVED_OBJECTS, CONCRETE_FUNCTIONS = 1, 2
SAVED_ASSET, SAVED_VARIABLE = 5, 7
BOUND_INPUTS = 2
# and of a message with a name, or of an entry of a map.
NAME = KEY = 1
VALUE = 2


class Node(NamedTuple):
    """An operation of a graph, the tensors that it takes, and the functions that it may call."""

    graph: str
    name: str
    op: str
    inputs: list[str]
    calls: set[str]

    def __str__(self) -> str:
        return f"the operation {self.op} (node {self.name!r} of {self.graph or 'the graph'})"


def check(folder: str, what: str) -> None:
    """Raises UnsafeModel, about the model `what`, unless the SavedModel in `folder` can only compute."""
    try:
        if others := [name for name in OTHERS if os.path.lexists(os.path.join(folder, name))]:
            raise ValueError(f"it has a {others[0]}, and only {FILE} is checked")
        with open(os.path.join(folder, FILE), "rb") as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                raise ValueError(f"its {FILE} has more than {LARGEST:,} bytes")
            saved = file.read()
        for data in _fields(saved)[META_GRAPHS]:
            MetaGraph(data).check(os.path.join(folder, "assets"))
    except FileNotFoundError:
        raise UnsafeModel(what, f"it has no {FILE}") from None
    except (ValueError, IndexError, RecursionError) as problem:
        raise UnsafeModel(what, str(problem)) from None


class MetaGraph:
    """The nodes of a MetaGraphDef, its functions included. Raises ValueError for damaged bytes."""

    def __init__(self, data: bytes):
        meta = _fields(data)
        graphs = [_fields(graph) for graph in meta[GRAPH]]
        libraries = [_fields(library) for graph in graphs for library in graph[LIBRARY]]
        functions = [_fields(function) for library in libraries for function in library[FUNCTIONS]]
        signatures = [_fields(b"".join(function[SIGNATURE])) for function in functions]
        names = [_text(signature, NAME) for signature in signatures]
        self.arguments = {
            name: [_text(_fields(argument), NAME) for argument in signature[ARGUMENTS]]
            for name, signature in zip(names, signatures, strict=True)
        }
        self.nodes = [_node(MAIN, node) for graph in graphs for node in graph[NODES]]
        self.nodes += [_node(name, n) for name, function in zip(names, functions, strict=True) for n in function[BODY]]
        self.named = {(node.graph, node.name): node for node in self.nodes}
        if len(self.named) < len(self.nodes) or len({MAIN, *names}) <= len(functions):
            raise ValueError("it has two nodes, or two functions, of one name")

        assets = [_fields(asset) for asset in meta[ASSETS]]
        self.asset_files = [_text(asset, ASSET_FILE) for asset in assets]
        self.assets = {_node_of(_text(_fields(b"".join(asset[ASSET_TENSOR])), NAME)) for asset in assets}

        objects = _fields(b"".join(meta[OBJECTS]))
        self.objects = [set(_fields(saved)) for saved in objects[SAVED_OBJECTS]]
        self.bound = dict(_bound_inputs(entry) for entry in objects[CONCRETE_FUNCTIONS])

        saver = _fields(b"".join(meta[SAVER]))
        self.saving, self.restoring = (self._called_only_by(_node_of(_text(saver, which))) for which in (SAVE, RESTORE))

    def check(self, assets: str) -> None:
        """Raises ValueError with what it could do besides computing; `assets` is the folder of its assets."""
        for name in self.asset_files:
            if os.path.isabs(name) or ".." in name.split("/") or not os.path.isfile(os.path.join(assets, name)):
                raise ValueError(f"its asset {name!r} is no file in assets/")
        for node in self.nodes:
            if node.op in SAVING | RESTORING:
                if node.graph not in (self.saving if node.op in SAVING else self.restoring):
                    raise ValueError(f"it has {node} outside of its saver")
            elif node.op in READS_ASSET:
                if not self._is_asset(node.graph, node.inputs[1], set()):
                    raise ValueError(f"it has {node}, which reads a file that is none of its assets")
            elif node.op not in ALLOWED:
                raise ValueError(f"it has {node}")

    def _called_only_by(self, name: str) -> set[str]:
        """Returns the functions that a node of the main graph calls, and that nothing else can call."""
        caller = self.named.get((MAIN, name))
        others = {function for node in self.nodes if node is not caller for function in node.calls}
        return caller.calls - others - set(self.bound) if caller else set()

    def _is_asset(self, graph: str, tensor: str, seen: set[tuple[str, str]]) -> bool:
        """True when the value of a tensor is the path of an asset, wherever it comes from."""
        name = _node_of(tensor)
        if (graph, name) in seen:
            return True  # in a loop: what enters it decides
        seen.add((graph, name))
        follow = partial(self._is_asset, seen=seen)
        if name in self.arguments.get(graph, ()):
            at = self.arguments[graph].index(name)
            callers = [node for node in self.nodes if graph in node.calls]
            return (
                bool(callers)
                and self._binds_asset(graph, at)
                and all(follow(node.graph, node.inputs[at]) for node in callers)
            )
        node = self.named.get((graph, name))
        if node is None:
            return False
        if node.op in ("Identity", "ReadVariableOp"):
            return follow(graph, node.inputs[0])
        if node.op == "VarHandleOp":
            assigning = [node for node in self.nodes if node.op == "AssignVariableOp"]
            values = [node for node in assigning if (node.graph, _node_of(node.inputs[0])) == (graph, name)]
            return bool(values) and all(follow(graph, node.inputs[1]) for node in values)
        return graph == MAIN and name in self.assets

    def _binds_asset(self, function: str, at: int) -> bool:
        """False when Python, which calls functions without the main graph, could pass anything as this argument."""
        if function not in self.bound:
            return True
        bound = self.bound[function]
        first = len(self.arguments[function]) - len(bound)
        return at >= first and bool(self.objects[bound[at - first]] & {SAVED_ASSET, SAVED_VARIABLE})


def _node(graph: str, data: bytes) -> Node:
    fields = _fields(data)
    inputs = [name.decode() for name in fields[INPUTS]]
    return Node(graph, _text(fields, NAME), _text(fields, OP), inputs, set(_functions(fields[ATTRIBUTES])))


def _functions(attributes: Iterable[bytes]) -> Iterator[str]:
    """Yields the names of the functions in attributes, and in the attributes of these functions."""
    for entry in attributes:
        value = _fields(b"".join(_fields(entry)[VALUE]))
        for named in value[FUNCTION] + [each for found in value[LIST] for each in _fields(found)[LISTED_FUNCTIONS]]:
            fields = _fields(named)
            yield _text(fields, NAME)
            yield from _functions(fields[FUNCTION_ATTRIBUTES])


def _node_of(tensor: str) -> str:
    """Returns the name of the node that makes a tensor, such as "node:output:0"."""
    return tensor.split(":")[0]


def _bound_inputs(entry: bytes) -> tuple[str, list[int]]:
    """Returns the name of a concrete function, and the numbers of the objects that are its last arguments."""
    fields = _fields(entry)
    packed, numbers, at = b"".join(_fields(b"".join(fields[VALUE]))[BOUND_INPUTS]), [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        numbers.append(number)
    return _text(fields, KEY), numbers


def _text(fields: Mapping[int, list[bytes]], number: int) -> str:
    """Returns a text, "" where it is not there."""
    values = fields.get(number, [])
    if len(values) > 1:
        raise ValueError("its graph is damaged: a text is there twice")
    return values[0].decode() if values else ""


def _fields(message: bytes) -> Mapping[int, list[bytes]]:
    """Returns the fields of a message by number: messages, texts and packed numbers as bytes, other values as b""."""
    found, at = collections.defaultdict(list), 0
    while at < len(message):
        tag, at = _varint(message, at)
        size = {1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 in (0, 2):
            size_or_value, at = _varint(message, at)
            size = size_or_value if tag & 7 == 2 else 0
        elif not size:
            raise ValueError("its graph is damaged: no field has this type")
        if at + size > len(message):
            raise ValueError("its graph is damaged: it ends too early")
        found[tag >> 3].append(message[at : at + size])
        at += size
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns the integer that begins at a byte, and where it ends."""
    value = 0
    for size, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * size
        if byte < 0x80:
            return value, at + size + 1
    raise ValueError("its graph is damaged: a number has no end")
