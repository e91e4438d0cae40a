"""Small ONNX networks with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]


def pose_like(
    dims: Dims = (1, 3, 32, 48),
    *,
    bias: float = 0.5,
    head: float = 1.0,
    outputs: int = 2,
    opset: int = 17,
    weights: np.ndarray | None = None,
) -> onnx.ModelProto:
    """x -> conv 3x3 stride 2 (weights 0.01, bias) -> relu -> two 1x1 convolutions, cmap (x head), paf."""
    rng = np.random.default_rng(0)
    stem = np.full((8, 3, 3, 3), 0.01, "f") if weights is None else weights
    consts = {
        "w0": stem,
        "b0": np.full(8, bias, "f"),
        "w_cmap": rng.normal(size=(4, 8, 1, 1)).astype("f") * np.float32(head),
        "w_paf": rng.normal(size=(6, 8, 1, 1)).astype("f"),
    }
    nodes = [
        helper.make_node(
            "Conv",
            ["x", "w0", "b0"],
            ["y"],
            name="stem",
            kernel_shape=[3, 3],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
        ),
        helper.make_node("Relu", ["y"], ["z"], name="act"),
        helper.make_node("Conv", ["z", "w_cmap"], ["cmap"], name="head_cmap"),
        helper.make_node("Conv", ["z", "w_paf"], ["paf"], name="head_paf"),
    ]
    half = [d // 2 if isinstance(d, int) else None for d in dims[2:]]
    outs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [dims[0], c, *half])
        for n, c in (("cmap", 4), ("paf", 6))
    ][:outputs]
    graph = helper.make_graph(
        nodes[: 2 + outputs],
        "pose_like",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(dims))],
        outs,
        [numpy_helper.from_array(v, k) for k, v in list(consts.items())[: 2 + outputs]],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(8, onnx.IR_VERSION)
    )


def write(path: Path, model: onnx.ModelProto) -> Path:
    """Save and return the path."""
    onnx.save(model, path)
    return path
