"""Int8 networks for CPUs: what ONNX Runtime and OpenVINO run with their int8 kernels.

Both want every tensor between integer operations as uint8 with a zero point: in front of convolutions, behind
them (behind the ReLU that is fused into them) and around additions and resizing; weights as int8 with one scale
a channel, biases as int32. The last step of a pyramid and the heads behind it stay in float32: they are small,
and rounding there moves people. TensorRT wants another form, see `int8`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.base import Feeds
from edgepose.engines.equalise import Ranges, equalise, observe
from edgepose.errors import EngineError

_KINDS = ("Conv", "Add", "Resize", "Relu", "Clip", "MaxPool")
_ACTIVATIONS = ("Relu", "Clip")
_SAME_SCALE = ("Resize", "MaxPool")  # results lie between what goes in
_LEVELS = 255


def quantise(model: Any, feeds: Sequence[Feeds], spared: int = 0) -> Any:
    """An equalised Q/DQ copy of an onnx ModelProto with folded constants.

    Args:
        model: the network.
        feeds: calibration inputs.
        spared: so many convolutions at the start stay in float32. What a narrow one hands on without an
            activation reaches far, and the next layers need it exactly.

    Raises:
        EngineError: nothing in it can be quantised, or no feed came.
    """
    equal = equalise(model, feeds)
    nodes = integer_nodes(equal, spared)
    if not any(n.op_type == "Conv" for n in nodes):
        raise EngineError("no convolution with weights of its own is in it")
    writer = _Writer(equal, nodes)
    writer.run(observe(equal, writer.tensors, feeds))
    return equal


def integer_nodes(model: Any, spared: int = 0) -> list[Any]:
    """Nodes to run in int8: all but what stands behind the last resize, or else makes the outputs, or belongs to
    the first convolutions."""
    constants = {w.name for w in model.graph.initializer}
    resizes = [n for n in model.graph.node if n.op_type == "Resize"]
    behind = set(resizes[-1].output) if resizes else set()
    left = []
    for node in model.graph.node:
        data = [i for i in node.input if i and i not in constants]
        if behind & set(data):
            behind |= set(node.output)
        elif node.op_type in _KINDS and _fits(node, data, constants):
            left.append(node)
    if spared:
        starts = [i for i, node in enumerate(left) if node.op_type == "Conv"]
        left = left[starts[spared] :] if spared < len(starts) else []
    if resizes:
        return left
    outputs = {o.name for o in model.graph.output}
    return [n for n in left if not outputs & set(n.output)]


def _fits(node: Any, data: list[str], constants: set[str]) -> bool:
    if node.op_type == "Conv":
        return len(data) == 1 and set(node.input[1:]) <= constants
    return node.op_type != "Add" or len(data) == 2


class _Writer:
    """Puts Q/DQ pairs around nodes of a graph.

    Attributes:
        tensors: that go through a pair.
    """

    def __init__(self, model: Any, nodes: list[Any]) -> None:
        import onnx

        self.onnx, self.model = onnx, model
        self.chosen = {n.output[0] for n in nodes}
        self.constants = {w.name: w for w in model.graph.initializer}
        takers: dict[str, list[Any]] = {}
        for node in model.graph.node:
            for name in node.input:
                takers.setdefault(name, []).append(node)
        self.tensors: list[str] = []
        for node in nodes:
            data = [i for i in node.input if i and i not in self.constants]
            behind = takers.get(node.output[0], [])
            fused = len(behind) == 1 and behind[0].op_type in _ACTIVATIONS
            inside = node.op_type in _ACTIVATIONS and set(data) <= self.chosen
            names = [] if inside else data
            if not (
                node.op_type in ("Conv", "Add") and fused and behind[0].output[0] in self.chosen
            ):
                names = [*names, node.output[0]]
            self.tensors += [n for n in names if n not in self.tensors]

    def run(self, ranges: Ranges) -> None:
        """Rewrite the graph with the ranges of `tensors`."""
        graph = self.model.graph
        scales = {name: _scale(*ranges[name]) for name in self.tensors}
        for node in graph.node:
            if node.op_type in _SAME_SCALE and {node.input[0], node.output[0]} <= set(scales):
                scales[node.output[0]] = scales[node.input[0]]
        given = [i.name for i in graph.input]
        out = [pair for name in given if name in scales for pair in self._pair(name, scales[name])]
        for node in list(graph.node):
            scale = scales.get(node.input[0]) if node.input else None
            for i, name in enumerate(node.input):
                if name in scales:
                    node.input[i] = f"{name}_dq"
            if node.op_type == "Conv" and node.output[0] in self.chosen and scale is not None:
                out += self._weights(node, float(scale[0]))
            out.append(node)
            if node.output[0] in scales:
                out += self._pair(node.output[0], scales[node.output[0]])
        del graph.node[:]
        graph.node.extend(out)
        del graph.value_info[:]
        used = {name for node in graph.node for name in node.input}
        kept = [w for w in graph.initializer if w.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.model.graph.initializer.append(self.onnx.numpy_helper.from_array(value, name))
        return name

    def _pair(self, name: str, scale: tuple[np.float32, np.uint8]) -> list[Any]:
        step = self._constant(f"{name}_scale", np.array(scale[0], np.float32))
        zero = self._constant(f"{name}_zero", np.array(scale[1], np.uint8))
        make = self.onnx.helper.make_node
        return [
            make("QuantizeLinear", [name, step, zero], [f"{name}_q"], name=f"{name}_q"),
            make("DequantizeLinear", [f"{name}_q", step, zero], [f"{name}_dq"], name=f"{name}_dq"),
        ]

    def _weights(self, node: Any, data_scale: float) -> list[Any]:
        """int8 weights and int32 bias of a convolution, and the nodes that make them float32 again."""
        read, make = self.onnx.numpy_helper.to_array, self.onnx.helper.make_node
        values = read(self.constants[node.input[1]])
        step = np.abs(values).max(axis=(1, 2, 3)) / 127
        step = np.where(step > 0, step, 1).astype(np.float32)
        levels = np.round(values / step.reshape(-1, 1, 1, 1)).clip(-127, 127).astype(np.int8)
        parts = [(1, levels, step)]
        if len(node.input) > 2:
            bias = read(self.constants[node.input[2]])
            bias_step = (step * np.float32(data_scale)).astype(np.float32)
            whole = np.round(bias / bias_step).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
            parts.append((2, whole, bias_step))
        out = []
        for i, whole, scale in parts:
            name = f"{node.output[0]}_{i}"
            inputs = [
                self._constant(name, whole),
                self._constant(f"{name}_scale", scale),
                self._constant(f"{name}_zero", np.zeros(len(scale), whole.dtype)),
            ]
            out.append(make("DequantizeLinear", inputs, [f"{name}_dq"], name=f"{name}_dq", axis=0))
            node.input[i] = f"{name}_dq"
        return out


def _scale(low: Any, high: Any) -> tuple[np.float32, np.uint8]:
    """Step and zero point of uint8 for channels of these ranges; nought is a level."""
    bottom, top = min(float(low.min()), 0.0), max(float(high.max()), 0.0)
    step = np.float32(max(top - bottom, 1e-12) / _LEVELS)
    return step, np.uint8(np.clip(round(-bottom / float(step)), 0, _LEVELS))
