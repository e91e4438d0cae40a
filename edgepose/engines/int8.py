"""Turns an ONNX network into int8 by Q/DQ nodes, as TensorRT's explicit quantisation wants them.

In front of every convolution and matrix product, its data and its weights go through a QuantizeLinear
and a DequantizeLinear; the builder fuses them into int8 kernels. Scales are symmetric; those of weights
are one a channel. Biases, results and everything else stay in float32, and so do the last of them in front of
the outputs where there are others.

The scale of data is that of the largest value of each tensor over the pictures, one picture at a time, so that
memory stays flat. edgepose-lite-body on 103 pictures of COCO (AP .156), its channels equalised, its scales from
96 photographs, twice: .154 and .150, and 200: .153; clipped where the squared error is least .145 and .152. Twelve frames of one
film are too few: .141 and .143, and .120 with the heads in int8 too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.base import Feeds
from edgepose.engines.onnxruntime import tensor_spec
from edgepose.engines.options import in_batches
from edgepose.errors import EngineError

_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_LEVELS = 127  # symmetric int8: -127..127


def quantise(model: Any, feeds: Iterator[Feeds]) -> Any:
    """A Q/DQ copy of an onnx ModelProto with folded constants.

    Args:
        model: the network, batch normalisation folded.
        feeds: calibration inputs.

    Raises:
        EngineError: nothing in it can be quantised, or no feed came.
    """
    import onnx

    copy = type(model)()
    copy.CopyFrom(model)
    weights = {w.name: w for w in copy.graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
    nodes = [n for n in copy.graph.node if n.op_type in _OPERATORS and n.input[1] in weights]
    kept = heads(copy.graph)
    nodes = [n for n in nodes if n.output[0] not in kept] or nodes
    names = sorted({n.input[0] for n in nodes} - set(weights))
    if not names:
        raise EngineError("no convolution or matrix product with weights of its own is in it")
    scales = observe(copy, names, feeds)
    _Writer(copy, weights, scales).run(nodes)
    return copy


def heads(graph: Any) -> set[str]:
    """What convolutions and products put out of which outputs are made with nothing of the kind in between."""
    makers = {name: node for node in graph.node for name in node.output}
    todo, found, seen = [o.name for o in graph.output], set(), set()
    while todo:
        name = todo.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in _OPERATORS:
            found.add(name)
        else:
            todo += node.input
    return found


def observe(model: Any, names: list[str], feeds: Iterator[Feeds]) -> dict[str, float]:
    """The scale of each tensor over the calibration inputs.

    Raises:
        EngineError: no feed came.
    """
    import onnx
    import onnxruntime as ort

    watched = type(model)()
    watched.CopyFrom(model)
    there = {o.name for o in watched.graph.output} | {i.name for i in watched.graph.input}
    for name in names:
        if name not in there:
            watched.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    session = ort.InferenceSession(
        watched.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    largest = dict.fromkeys(names, 0.0)
    inner = [n for n in names if n in {o.name for o in session.get_outputs()}]
    for spec in map(tensor_spec, session.get_inputs()):
        if spec.name in names and spec.dtype != np.float32:
            raise EngineError(
                f"its input {spec.name!r} is {spec.dtype}; export it with a float32 input"
            )
    seen = False
    for feed in as_taken(session, feeds):
        seen = True
        results = dict(zip(inner, session.run(inner, feed), strict=True)) if inner else {}
        for name in names:
            values = results[name] if name in results else feed[name]
            largest[name] = max(largest[name], _largest(values))
    if not seen:
        raise EngineError("no calibration picture could be read")
    return {name: most / _LEVELS or 1.0 for name, most in largest.items()}


def _largest(values: NDArray[Any]) -> float:
    """The largest magnitude; values that are not finite are left out."""
    magnitudes = np.abs(np.asarray(values, np.float32))
    return float(magnitudes.max(initial=0.0, where=np.isfinite(magnitudes)))


def as_taken(session: Any, feeds: Iterable[Feeds]) -> Iterator[dict[str, NDArray[Any]]]:
    """Feeds of one row each in the types and batches that a session takes."""
    inputs = {spec.name: spec for spec in map(tensor_spec, session.get_inputs())}
    rows = max([1, *(s.shape[0] for s in inputs.values() if s.shape)])
    for batch in in_batches(iter(feeds), rows):
        yield {n: np.asarray(v, inputs[n].dtype) for n, v in batch.items()}


class _Writer:
    """Puts Q/DQ pairs into a graph."""

    def __init__(self, model: Any, weights: dict[str, Any], scales: dict[str, float]) -> None:
        import onnx

        self.onnx, self.model, self.weights, self.scales = onnx, model, weights, scales
        # one scale a channel came with version 13 of the Q/DQ operators
        self.channels = any(
            o.domain in ("", "ai.onnx") and o.version >= 13 for o in model.opset_import
        )
        self.made: dict[str, str] = {}
        self.pairs: dict[str, list[Any]] = {}

    def run(self, nodes: list[Any]) -> None:
        """Quantise data and weights of these nodes."""
        targets = {node.output[0] for node in nodes}
        out = []
        for node in list(self.model.graph.node):
            if node.output and node.output[0] in targets:
                for i, pair in enumerate((self._data(node), self._weights(node))):
                    out += self.pairs.pop(pair, [])
                    node.input[i] = pair or node.input[i]
            out.append(node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(out)

    def _data(self, node: Any) -> str:
        name = node.input[0]
        if name not in self.scales:
            return ""
        return self._pair(name, np.array(self.scales[name], np.float32), 0)

    def _weights(self, node: Any) -> str:
        name = node.input[1]
        values = self.onnx.numpy_helper.to_array(self.weights[name])
        axis = self._axis(node)
        if axis is None:
            scale = np.array(np.abs(values).max() / _LEVELS)
        else:
            others = tuple(i for i in range(values.ndim) if i != axis)
            scale = np.abs(values).max(axis=others) / _LEVELS
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        return self._pair(name, scale, axis or 0)

    def _axis(self, node: Any) -> int | None:
        """The axis of output channels, None for one scale."""
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if not self.channels or node.op_type not in ("Conv", "ConvTranspose"):
            return None
        if node.op_type == "Conv":
            return 0
        return 1 if groups == 1 else None

    def _pair(self, name: str, scale: NDArray[np.float32], axis: int) -> str:
        """Name of the tensor behind Q and DQ; made once for each tensor."""
        if name in self.made:
            return self.made[name]
        helper, numpy_helper = self.onnx.helper, self.onnx.numpy_helper
        zero = np.zeros(scale.shape, np.int8)
        for suffix, value in (("scale", scale), ("zero_point", zero)):
            self.model.graph.initializer.append(numpy_helper.from_array(value, f"{name}__{suffix}"))
        parameters = [f"{name}__scale", f"{name}__zero_point"]
        attributes = {"axis": axis} if scale.ndim else {}
        q, dq = f"{name}__int8", f"{name}__dq"
        self.pairs[dq] = [
            helper.make_node(
                "QuantizeLinear", [name, *parameters], [q], name=f"{q}_q", **attributes
            ),
            helper.make_node(
                "DequantizeLinear", [q, *parameters], [dq], name=f"{q}_dq", **attributes
            ),
        ]
        self.made[name] = dq
        return dq


def fold(model: Path, folder: Path) -> Path:
    """The network with constants and batch normalisation folded, in standard operators."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(folder / "folded.onnx")
    ort.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    return folder / "folded.onnx"
