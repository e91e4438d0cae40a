"""Networks small enough to be made by hand: what they answer can be worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

WIDTH, HEIGHT = 48, 64  # of the pose network's crops


@pytest.fixture
def make_detector(tmp_path: Path) -> Callable[..., Path]:
    """Writes a detector that finds the same boxes (n, 5) in every picture of 100 x 80 pixels."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    h = onnx.helper

    def make(boxes: Sequence[Sequence[float]], name: str = "detector.onnx") -> Path:
        table = np.array(boxes, np.float32).reshape(1, -1, 5)
        nodes = [
            # nothing of the picture, but its batch size
            h.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
            h.make_node("Mul", ["mean", "nought"], ["nothing"]),
            h.make_node("Reshape", ["nothing", "row"], ["zeros"]),
            h.make_node("Add", ["zeros", "table"], ["dets"]),
        ]
        parts = [
            onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
            onnx.numpy_helper.from_array(np.array(0, np.float32), "nought"),
            onnx.numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "row"),
            onnx.numpy_helper.from_array(table, "table"),
        ]
        f = onnx.TensorProto.FLOAT
        graph = h.make_graph(
            nodes,
            "detector",
            [h.make_tensor_value_info("images", f, ["batch", 3, 80, 100])],
            [h.make_tensor_value_info("dets", f, ["batch", table.shape[1], 5])],
            parts,
        )
        return _save(onnx, graph, tmp_path / name)

    return make


@pytest.fixture
def make_pose(tmp_path: Path) -> Callable[..., Path]:
    """Writes a pose network that finds the reddest, greenest and bluest point of a crop.

    `heatmap`: maps of a quarter of the crop's size; `simcc`: vectors with one bin a pixel;
    `keypoints`: always the crop's middle.
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    h = onnx.helper

    def make(head: str, batch: int | str = "batch") -> Path:
        f = onnx.TensorProto.FLOAT
        one = lambda name, shape: h.make_tensor_value_info(name, f, [batch, *shape])  # noqa: E731
        parts = [
            onnx.numpy_helper.from_array(np.array([2], np.int64), "rows"),
            onnx.numpy_helper.from_array(np.array([3], np.int64), "columns"),
            onnx.numpy_helper.from_array(np.array(0, np.float32), "nought"),
            onnx.numpy_helper.from_array(np.array([WIDTH / 2, HEIGHT / 2], np.float32), "middle"),
        ]
        if head == "heatmap":
            nodes = [
                h.make_node("AveragePool", ["x"], ["heatmap"], kernel_shape=[4, 4], strides=[4, 4])
            ]
            outputs = [one("heatmap", [3, HEIGHT // 4, WIDTH // 4])]
        elif head == "simcc":
            nodes = [
                h.make_node("ReduceMax", ["x", "rows"], ["simcc_x"], keepdims=0),
                h.make_node("ReduceMax", ["x", "columns"], ["simcc_y"], keepdims=0),
            ]
            outputs = [one("simcc_x", [3, WIDTH]), one("simcc_y", [3, HEIGHT])]
        else:
            nodes = [
                h.make_node("ReduceMax", ["x", "rows"], ["flat"], keepdims=0),
                h.make_node("ReduceMax", ["flat", "rows"], ["top"], keepdims=1),
                h.make_node("Mul", ["top", "nought"], ["nothing"]),
                h.make_node("Add", ["nothing", "middle"], ["keypoints"]),
            ]
            outputs = [one("keypoints", [3, 2])]
        used = {name for node in nodes for name in node.input}
        graph = h.make_graph(
            nodes,
            head,
            [one("x", [3, HEIGHT, WIDTH])],
            outputs,
            [p for p in parts if p.name in used],
        )
        return _save(onnx, graph, tmp_path / f"{head}-{batch}.onnx")

    return make


def _save(onnx, graph, path: Path) -> Path:  # type: ignore[no-untyped-def]
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
