"""Reads the outline of an ONNX file without the onnx package, which a Jetson need not have.

Only the protocol buffer wire format and the field numbers of onnx.proto are used
(https://protobuf.dev/programming-guides/encoding, https://github.com/onnx/onnx). Weights are skipped, so
that a large file costs milliseconds.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgepose.errors import NetworkFileError
from edgepose.files import files_digest
from edgepose.paths import is_safe_path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ELEMENT_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool"} | {
    10: "float16",
    11: "float64",
    16: "bfloat16",
    8: "string",
}


class Node(NamedTuple):
    """An operation of the graph: operator type, name (often empty) and the names of its outputs."""

    operator: str
    name: str
    outputs: tuple[str, ...]


class Tensor(NamedTuple):
    """An input or output of the graph; -1 in `shape` is dynamic; None = the file does not say."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class OnnxOutline:
    """What a file says about itself.

    Attributes:
        inputs, outputs: tensors of the graph, initialisers left out.
        nodes: operations in the file's order.
        opset: version of the standard operators, 0 where none is imported.
        external: files with weights beside the model, relative to its folder.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    opset: int
    external: tuple[str, ...]

    @property
    def quantised(self) -> bool:
        """True where the network carries its own int8 scales (Q/DQ nodes)."""
        return any(node.operator == "QuantizeLinear" for node in self.nodes)


class _Damaged(Exception):
    pass


def read_outline(path: Path) -> OnnxOutline:
    """The outline of an ONNX file.

    Raises:
        NetworkFileError: unreadable, damaged, cut off, or not an ONNX file.
    """
    try:
        with path.open("rb") as file:
            # not closed by hand: a traceback may still hold views of it
            return _model(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except OSError as e:
        raise NetworkFileError(f"Model {path} cannot be read: {e.strerror or e}.") from e
    except (_Damaged, UnicodeDecodeError, RecursionError, MemoryError, ValueError) as e:
        raise NetworkFileError(
            f"Model {path} is damaged, cut off or not an ONNX file ({e}); fetch it again."
        ) from e


def check_external(path: Path, outline: OnnxOutline) -> None:
    """See that every file with weights is there.

    Raises:
        NetworkFileError: one is missing, or lies outside the model's folder.
    """
    for name in outline.external:
        if not _beside(path, name).is_file():
            raise NetworkFileError(
                f"Model {path} needs its weights beside it: {path.parent / name} is missing."
            )


def _beside(path: Path, name: str) -> Path:
    if not is_safe_path(name):
        raise NetworkFileError(f"Model {path} names weights outside its folder: {name[:80]!r}.")
    return path.parent / name


def model_digest(path: Path, external: tuple[str, ...] = ()) -> str:
    """sha256 of the model and of every file with weights beside it (see `check_external`).

    Raises:
        NetworkFileError: a file cannot be read, or lies outside the model's folder.
    """
    try:
        return files_digest([path, *(_beside(path, name) for name in sorted(external))])
    except OSError as e:
        raise NetworkFileError(
            f"Model {path} needs {e.filename}, which cannot be read: {e.strerror}."
        ) from e


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of a message; a length-delimited value is a view of its bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise _Damaged("field 0")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise _Damaged(f"wire type {kind}")
        if at + size > end:
            raise _Damaged(f"{at + size - end} bytes are missing")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _Damaged("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Damaged("a field of another type")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_view(value)).decode("utf-8")


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _Damaged("a field of another type")
    return value - (1 << 64) if value >= 1 << 63 else value


def _model(data: memoryview) -> OnnxOutline:
    graph: memoryview | None = None
    opset = 0
    for number, value in _fields(data):
        if number == 7:
            graph = _view(value)
        elif number == 8:
            opset = max(opset, _opset(_view(value)))
    if graph is None:
        raise _Damaged("no graph in it")
    return _graph(graph, opset)


def _opset(data: memoryview) -> int:
    domain, version = "", 0
    for number, value in _fields(data):
        if number == 1:
            domain = _text(value)
        elif number == 2:
            version = _number(value)
    return version if domain in ("", "ai.onnx") else 0


def _graph(data: memoryview, opset: int) -> OnnxOutline:
    nodes: list[Node] = []
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    weights: set[str] = set()
    external: set[str] = set()
    for number, value in _fields(data):
        if number == 1:
            nodes.append(_node(_view(value)))
        elif number == 5:
            name, files = _initializer(_view(value))
            weights.add(name)
            external |= files
        elif number == 11:
            inputs.append(_value_info(_view(value)))
        elif number == 12:
            outputs.append(_value_info(_view(value)))
    real = tuple(t for t in inputs if t.name not in weights)
    return OnnxOutline(real, tuple(outputs), tuple(nodes), opset, tuple(sorted(external)))


def _node(data: memoryview) -> Node:
    operator = name = domain = ""
    outputs = []
    for number, value in _fields(data):
        if number == 2:
            outputs.append(_text(value))
        elif number == 3:
            name = _text(value)
        elif number == 4:
            operator = _text(value)
        elif number == 7:
            domain = _text(value)
    full = operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"
    return Node(full, name, tuple(outputs))


def _initializer(data: memoryview) -> tuple[str, set[str]]:
    name, files = "", set()
    for number, value in _fields(data):
        if number == 8:
            name = _text(value)
        elif number == 13:
            key, content = _pair(_view(value))
            if key == "location":
                files.add(content)
    return name, files


def _pair(data: memoryview) -> tuple[str, str]:
    found = {n: _text(v) for n, v in _fields(data) if n in (1, 2)}
    return found.get(1, ""), found.get(2, "")


def _value_info(data: memoryview) -> Tensor:
    name, dtype, shape = "", "", None
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            dtype, shape = _type(_view(value))
    return Tensor(name, dtype, shape)


def _type(data: memoryview) -> tuple[str, tuple[int, ...] | None]:
    for number, value in _fields(data):
        if number == 1:  # a tensor; sequences, maps and optionals have other numbers
            dtype, shape = "", None
            for inner, part in _fields(_view(value)):
                if inner == 1:
                    dtype = _ELEMENT_TYPES.get(_number(part), f"type {_number(part)}")
                elif inner == 2:
                    shape = tuple(_dimension(_view(d)) for n, d in _fields(_view(part)) if n == 1)
            return dtype, shape
    return "not a tensor", None


def _dimension(data: memoryview) -> int:
    size = -1
    for number, value in _fields(data):
        if number == 1:
            size = _number(value)
    return size if size > 0 else -1
