"""Make edgepose/doctor/self_test.onnx, the network of `edgepose doctor --self-test`.

    python tools/make_self_test.py        (needs onnx)

Nothing in it is learned. It looks for discs of the six pure colours, so that maps and fields are known: a colour's
own weight is 1 at that corner of the colour cube and 0 or less at every other. The fields of a link lead away from
its first colour and towards its second, by one wide convolution of the maps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).resolve().parents[1] / "edgepose" / "doctor" / "self_test.onnx"
COLOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1))
LINKS = tuple((i, i + 1) for i in range(len(COLOURS) - 1))
BINOMIAL = np.outer((1, 2, 1), (1, 2, 1)) / 16
REACH = 9  # cells from a disc to the end of its fields
Weights = NDArray[np.float32]


def colour_weights() -> tuple[Weights, Weights]:
    """A convolution 3x3 and its bias: how alike the mean of a patch is to each colour."""
    own = np.array(COLOURS, np.float32)
    signs = 2 * own - 1
    weights = np.repeat(signs[:, :, None], 9, axis=2).reshape(-1, 3, 3, 3) / 9
    return weights.astype(np.float32), (1 - own.sum(axis=1)).astype(np.float32)


def blur_weights(gain: float = 1.0) -> Weights:
    """A binomial of each colour by itself."""
    return np.repeat((gain * BINOMIAL)[None, None], len(COLOURS), axis=0).astype(np.float32)


def field_weights() -> Weights:
    """Channels y, x of each link: away from its first colour, towards its second, weaker with the distance."""
    way = np.stack(np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]).astype(np.float64)
    far = np.hypot(*way)
    way *= np.where(far > 0, np.exp(-((far / REACH) ** 2)) / np.maximum(far, 1), 0)
    weights = np.zeros((2 * len(LINKS), len(COLOURS), *far.shape), np.float32)
    for k, (a, b) in enumerate(LINKS):
        weights[2 * k : 2 * k + 2, a] = -0.3 * way
        weights[2 * k : 2 * k + 2, b] = 0.3 * way
    return weights


def model() -> onnx.ModelProto:
    """Pictures (batch, 3, H, W) in 0..1 to cmap (batch, 6, H/8, W/8) and paf (batch, 10, H/8, W/8)."""
    alike, bias = colour_weights()
    tensors = {
        "alike": alike,
        "bias": bias,
        "blur": blur_weights(),
        "peak": blur_weights(1.5),
        "ways": field_weights(),
    }
    apart, half = (
        {"group": len(COLOURS)},
        {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]},
    )
    full = {"kernel_shape": [3, 3], "pads": [1] * 4}
    side = 2 * REACH + 1
    nodes = [
        helper.make_node("Conv", ["input", "alike", "bias"], ["similar"], **half),
        helper.make_node("Relu", ["similar"], ["colours"]),
        helper.make_node("Conv", ["colours", "blur"], ["quarter"], **half, **apart),
        helper.make_node("Conv", ["quarter", "blur"], ["eighth"], **half, **apart),
        helper.make_node("Conv", ["eighth", "peak"], ["cmap"], **full, **apart),
        helper.make_node(
            "Conv", ["cmap", "ways"], ["fields"], kernel_shape=[side] * 2, pads=[REACH] * 4
        ),
        helper.make_node("Tanh", ["fields"], ["paf"]),
    ]

    def value(name: str, channels: int, part: str) -> onnx.ValueInfoProto:
        shape = ["batch", channels, f"height{part}", f"width{part}"]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "self_test",
        [value("input", 3, "")],
        [value("cmap", len(COLOURS), "8"), value("paf", 2 * len(LINKS), "8")],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, ir_version=8, opset_imports=opset, producer_name="edgepose")


if __name__ == "__main__":
    OUT.write_bytes(model().SerializeToString(deterministic=True))
