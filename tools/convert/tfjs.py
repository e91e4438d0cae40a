"""Graph models of TensorFlow.js: a JSON file of nodes, and weights in a binary file beside it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
STORED = {"float32": "<f4", "int32": "<i4", "bool": "?"}


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: of operation, as TensorFlow names it.
        inputs: names of the nodes that it takes, without control inputs.
        attributes: decoded.
    """

    kind: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """Nodes by name, and the values of the constant ones."""

    nodes: dict[str, Node]
    weights: dict[str, Array]

    def value(self, name: str) -> Array | None:
        """The value of a constant, None of anything that depends on the picture."""
        if name in self.weights:
            return self.weights[name]
        node = self.nodes[name]
        return self.value(node.inputs[0]) if node.kind == "Identity" else None


def read(path: Path) -> Graph:
    """The graph model of a .json file and the .bin files that it names."""
    data = json.loads(path.read_text())
    weights: dict[str, Array] = {}
    for group in data["weightsManifest"]:
        blob = b"".join((path.parent / p).read_bytes() for p in group["paths"])
        weights |= _weights(blob, group["weights"])
    nodes = {n["name"]: _node(n) for n in data["modelTopology"]["node"]}
    return Graph(nodes, weights)


def _weights(blob: bytes, specs: list[dict[str, Any]]) -> dict[str, Array]:
    found, at = {}, 0
    for spec in specs:
        quantised = spec.get("quantization")
        if quantised and quantised["dtype"] != "float16":
            raise ValueError(f"{spec['name']}: weights of {quantised['dtype']} are not read")
        dtype = np.dtype("<f2" if quantised else STORED[spec["dtype"]])
        count = int(np.prod(spec["shape"], dtype=int))
        values = np.frombuffer(blob, dtype, count, at).reshape(spec["shape"])
        found[spec["name"]] = values.astype(np.float32) if quantised else values.copy()
        at += count * dtype.itemsize
    if at != len(blob):
        raise ValueError(f"the weights end at byte {at} of {len(blob)}")
    return found


def _node(data: dict[str, Any]) -> Node:
    names = [name.split(":")[0] for name in data.get("input", []) if not name.startswith("^")]
    attributes = {key: _attribute(value) for key, value in data.get("attr", {}).items()}
    return Node(data["op"], tuple(names), attributes)


def _attribute(value: dict[str, Any]) -> Any:
    """Text, a number, a truth value, or a list of numbers or texts."""
    if "list" in value:
        row = value["list"]
        return [int(i) for i in row.get("i", [])] or [_text(s) for s in row.get("s", [])]
    if "s" in value:
        return _text(value["s"])
    for key, kind in (("i", int), ("f", float), ("b", bool)):
        if key in value:
            return kind(value[key])
    return None


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
