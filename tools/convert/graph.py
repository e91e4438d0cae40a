"""An ONNX graph in the making, and the convolutional part of a TF.js graph put into it.

TensorFlow has channels last, ONNX first. The networks are fully convolutional with strides of two, and run
at sizes of which every stride is a divisor: so padding "SAME" is the same at every size, and no shapes need
to be known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tools.convert.tfjs import Graph, Node

OPSET = 13  # the first with one quantisation scale a channel; TensorRT 8.6 reads it
ARITHMETIC = {"Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div"}


class Builder:
    """Nodes and constants of a graph; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant tensor."""
        name = f"c{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.constant(values, np.int64)

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """An operation with one result."""
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def model(
        self, name: str, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], source: str
    ) -> Any:
        """The finished model; shapes by tensor, `source` goes into its metadata.

        Raises:
            onnx.checker.ValidationError: it is no valid graph.
        """
        ports = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in side.items()]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, name, *ports, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgepose"
        )
        model.ir_version = 8  # what ONNX Runtime of 2023 reads
        helper.set_model_props(model, {"license": "Apache-2.0", "source": source})
        onnx.checker.check_model(model, full_check=True)
        return model


class Trunk:
    """Puts what a head of a TF.js graph needs into an ONNX graph, once a node.

    Args:
        source: the TF.js graph.
        builder: gets the nodes.
        given: nodes of the source that stand for tensors that are there already.
    """

    def __init__(self, source: Graph, builder: Builder, given: dict[str, str]) -> None:
        self.source, self.to, self.made = source, builder, dict(given)

    def tensor(self, name: str) -> str:
        """The ONNX tensor (N, C, H, W) of a node of the source."""
        if name not in self.made:
            self.made[name] = self._make(self.source.nodes[name])
        return self.made[name]

    def _make(self, node: Node) -> str:
        if node.kind in ("Cast", "Identity"):
            return self.tensor(node.inputs[0])
        if "Conv2d" in node.kind or "Conv2D" in node.kind:
            return self._convolution(node)
        if node.kind in ARITHMETIC:
            return self.to.op(ARITHMETIC[node.kind], *map(self._operand, node.inputs))
        if node.kind == "Sigmoid":
            return self.to.op("Sigmoid", self.tensor(node.inputs[0]))
        if node.kind == "ResizeBilinear":
            return self._twice(node)
        raise ValueError(f"operation {node.kind} is not known")

    def _operand(self, name: str) -> str:
        value = self.source.value(name)
        if value is None:
            return self.tensor(name)
        return self.to.constant(np.reshape(value, (-1, 1, 1)) if value.ndim else value)

    def _convolution(self, node: Node) -> str:
        kernel = self.source.value(node.inputs[1])
        if kernel is None or node.attributes["padding"] not in ("SAME", "VALID"):
            raise ValueError("a convolution of this kind is not known")
        depthwise = "Depthwise" in node.kind
        weights = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
        fused = list(node.attributes.get("fused_ops", []))
        inputs = [self.tensor(node.inputs[0])]
        inputs.append(
            self.to.constant(weights.reshape(-1, 1, *kernel.shape[:2]) if depthwise else weights)
        )
        if "BiasAdd" in fused:
            fused.remove("BiasAdd")
            inputs.append(self.to.constant(self.source.value(node.inputs[2])))
        strides = node.attributes["strides"][1:3]
        spare = [max(k - s, 0) for k, s in zip(kernel.shape[:2], strides, strict=True)]
        if node.attributes["padding"] == "VALID":
            spare = [0, 0]
        pads = [s // 2 for s in spare] + [s - s // 2 for s in spare]
        made = self.to.op(
            "Conv", *inputs, kernel_shape=kernel.shape[:2], strides=strides, pads=pads,
            group=kernel.shape[2] if depthwise else 1,
        )  # fmt: skip
        return self._activation(made, fused)

    def _activation(self, tensor: str, fused: list[str]) -> str:
        if fused == ["Relu"]:
            return self.to.op("Relu", tensor)
        if fused == ["Relu6"]:
            return self.to.op("Clip", tensor, self.to.constant(0.0), self.to.constant(6.0))
        if fused:
            raise ValueError(f"{fused} behind a convolution is not known")
        return tensor

    def _twice(self, node: Node) -> str:
        """A step of the pyramid; the file's sizes are those of its own picture, the step is always 2."""
        mode = "half_pixel" if node.attributes.get("half_pixel_centers") else "asymmetric"
        if node.attributes.get("align_corners"):
            raise ValueError("resizing with aligned corners is not known")
        scales = self.to.constant([1, 1, 2, 2])
        return self.to.op(
            "Resize", self.tensor(node.inputs[0]), "", scales, mode="linear",
            coordinate_transformation_mode=mode,
        )  # fmt: skip


def stored_as_half(model: Any) -> Any:
    """A copy whose large float32 constants are float16 and cast when the file is loaded.

    Raises:
        ValueError: a value does not fit.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    casts = []
    for constant in copy.graph.initializer:
        array = numpy_helper.to_array(constant)
        if array.dtype != np.float32 or array.size <= 16:
            continue
        small = np.asarray(array, np.float16)
        if not np.isfinite(small).all():
            raise ValueError(f"{constant.name} holds values that float16 cannot")
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(small, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_cast", to=1))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def moved(values: NDArray[Any]) -> NDArray[Any]:
    """A TF.js answer (N, H, W, C) with its channels first."""
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
