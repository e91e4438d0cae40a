"""A bottom-up network that finds red, green and blue spots, exported in all the ways that users bring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.networks.resolve import Network
from edgepose.networks.topology import Topology, load_topology

SIZE, CELLS = 128, 16
COLUMNS = (24, 64, 104)  # x of the red, the green and the blue spot
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
TOPOLOGY = {"name": "spots", "keypoints": ["red", "green", "blue"], "skeleton": [[1, 2], [1, 3]]}


def picture() -> np.ndarray:
    """A red, a green and a blue square in a row."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    for channel, x in enumerate(COLUMNS):
        pixels[56:72, x - 8 : x + 8, channel] = 255
    return pixels


def model(
    path: Path,
    *,
    batch: int | str = 1,
    nhwc: bool = False,
    dtype: str = "FLOAT",
    raw: bool = False,
    background: bool = False,
    outputs: Sequence[tuple[str, str, float]] = (("cmap", "heat", 1.0), ("paf", "vectors", 1.0)),
) -> Path:
    """Write one.

    Args:
        batch: of input and outputs.
        nhwc, dtype: of the input.
        raw: the network divides pixels by itself; else it takes them normalised as ImageNet's.
        background: a fourth confidence map.
        outputs: ("cmap" or "paf", name, gain) of each.
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    h, f = onnx.helper, onnx.TensorProto.FLOAT
    nodes: list[Any] = []
    parts: list[Any] = []

    def constant(name: str, value: Any) -> str:
        parts.append(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(kind: str, inputs: list[str], name: str, **more: Any) -> str:
        nodes.append(h.make_node(kind, inputs, [name], **more))
        return name

    x = node("Cast", ["image"], "floats", to=f)
    if nhwc:
        x = node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    if raw:
        x = node("Mul", [x, constant("step", 1 / 255)], "colours")
    else:
        std, mean = (np.reshape(IMAGENET[k], (1, 3, 1, 1)) for k in ("std", "mean"))
        x = node("Mul", [x, constant("std", std)], "spread")
        x = node("Add", [x, constant("mean", mean)], "colours")
    cells = node("AveragePool", [x], "cells", kernel_shape=[8, 8], strides=[8, 8])
    weights = np.full((3, 3, 1, 1), -0.5)
    weights[range(3), range(3)] = 1
    cmap = node("Relu", [node("Conv", [cells, constant("w", weights)], "raw_maps")], "maps")
    if background:
        top = node("ReduceMax", [cmap], "top", axes=[1], keepdims=1)
        rest = node("Sub", [constant("one", 1), top], "rest")
        cmap = node("Concat", [cmap, rest], "with_rest", axis=1)
    zeros, right = constant("zeros", np.zeros((4, 3, 1, 1))), constant("right", [0, 1, 0, 1])
    paf = node("Conv", [cells, zeros, right], "fields")
    infos = []
    for role, name, gain in outputs:
        source, channels = (cmap, 3 + background) if role == "cmap" else (paf, 4)
        node("Mul", [source, constant(f"gain of {name}", gain)], name)
        infos.append(h.make_tensor_value_info(name, f, [batch, channels, CELLS, CELLS]))
    shape = [batch, SIZE, SIZE, 3] if nhwc else [batch, 3, SIZE, SIZE]
    image = h.make_tensor_value_info("image", getattr(onnx.TensorProto, dtype), shape)
    graph = h.make_graph(nodes, "spots", [image], infos, parts)
    made = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, path)
    return path


def topology(folder: Path, data: dict[str, Any] = TOPOLOGY) -> Path:
    """The topology's file."""
    path = folder / "spots.json"
    path.write_text(json.dumps(data))
    return path


def network(path: Path, **options: Any) -> Network:
    """The network with a manifest that says all."""
    manifest = Manifest(
        "spots",
        "bottom-up",
        input=InputSpec(width=SIZE, height=SIZE, **IMAGENET),
        decoder={"type": "paf"},
        outputs={"cmap": "heat", "paf": "vectors"},
        topology="spots",
    )
    skeleton: Topology = load_topology(topology(path.parent))
    return Network(manifest, model(path, **options), skeleton)
