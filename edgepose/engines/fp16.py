"""Turns an ONNX network into float16, inputs and outputs kept in float32.

Our own, because the converters at hand produce networks that do not load where a Resize has
unused inputs or a Cast feeds arithmetic. A network is a list of nodes; each node computes in one of two
types, and a Cast stands wherever a tensor changes sides:

1. float32 stays where float16 is known to fail: sums over many values, operators that take only
   float32, and everything that computes shapes and sizes (they come in through inputs like
   Resize's scales, or leave through a Cast to integers);
2. what follows a sum stays in float32 up to the next operator that carries weights;
3. all other nodes compute in float16.

Only this module and `convert.py` use the onnx package, and import it inside their functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgepose.errors import EngineError

_LARGEST = 65504.0  # of float16; larger weights are clipped
# operators whose results leave float16's range or precision, or that exist for float32 only
_WIDE = frozenset(
    "ReduceSum ReduceSumSquare ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceProd CumSum Pow "
    "NonMaxSuppression RoiAlign QuantizeLinear DequantizeLinear DynamicQuantizeLinear Range "
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike".split()
)
# operators with weights of their own: whatever comes in, they may compute in float16
_HEAVY = frozenset(
    "Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LayerNormalization "
    "GroupNormalization LSTM GRU".split()
)
# inputs that must be float32 whatever the node computes in
_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}


def convert(model: Any) -> Any:
    """A float16 copy of an onnx ModelProto.

    Raises:
        EngineError: the network has control flow, or does not pass ONNX's shape inference.
    """
    return _Converter(model).run()


class _Converter:
    def __init__(self, model: Any) -> None:
        import onnx

        self.onnx = onnx
        self.float, self.half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
        self.model = type(model)()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        if model.functions or any(a.HasField("g") or a.graphs for a in _attributes(self.graph)):
            raise EngineError("Networks with control flow or functions cannot become fp16.")
        self.floats = self._float_tensors()
        self.producer = {o: n for n in self.graph.node for o in n.output if o}
        self.wide = self._wide_nodes()
        self.casts: dict[tuple[str, int], str] = {}
        self.constants: dict[tuple[str, int], str] = {}
        self.weights = {w.name: w for w in self.graph.initializer}
        self.new_nodes: list[Any] = []

    def run(self) -> Any:
        # unused optional inputs are sometimes spelt as empty tensors; the standard's "" is clearer
        for node in list(self.graph.node):
            self._convert_node(node)
        for output in self.graph.output:
            self._keep_output(output)
        del self.graph.node[:]
        self.graph.node.extend(self.new_nodes)
        del self.graph.value_info[:]
        self._drop_unused_weights()
        return self.model

    # --- which side a node is on

    def _float_tensors(self) -> set[str]:
        """Names of the float32 tensors."""
        try:
            inferred = self.onnx.shape_inference.infer_shapes(self.model).graph
        except Exception as e:  # onnx raises whatever its C++ does
            raise EngineError(f"The network is not valid ONNX: {e}") from e
        typed = [*inferred.input, *inferred.output, *inferred.value_info]
        names = {v.name for v in typed if v.type.tensor_type.elem_type == self.float}
        return names | {w.name for w in self.graph.initializer if w.data_type == self.float}

    def _wide_nodes(self) -> set[int]:
        wide = {id(n) for n in self.graph.node if n.op_type in _WIDE or _is_custom(n)}
        sums = set(wide)
        for node in self.graph.node:  # in topological order, as ONNX demands
            sources = [self.producer.get(i) for i in node.input]
            if node.op_type not in _HEAVY and any(id(s) in sums for s in sources if s is not None):
                sums.add(id(node))
        return wide | sums | self._size_nodes()

    def _size_nodes(self) -> set[int]:
        """Nodes that compute shapes: walked backwards from where sizes are used."""
        todo: list[str] = []
        for node in self.graph.node:
            todo += [
                node.input[i] for i in _FLOAT32_INPUTS.get(node.op_type, ()) if i < len(node.input)
            ]
            if node.op_type == "Cast" and not self._is_float_output(node):
                todo += list(node.input)
        found: set[int] = set()
        while todo:
            producer = self.producer.get(todo.pop())
            if producer is None or id(producer) in found or producer.op_type in _HEAVY:
                continue
            found.add(id(producer))
            if producer.op_type not in ("Shape", "Size"):  # what they look at is no size
                todo += list(producer.input)
        return found

    def _is_float_output(self, node: Any) -> bool:
        return any(o in self.floats for o in node.output)

    # --- conversion

    def _convert_node(self, node: Any) -> None:
        wide = id(node) in self.wide
        kept = _FLOAT32_INPUTS.get(node.op_type, ())
        if node.op_type != "Cast":
            for i, name in enumerate(node.input):
                if name in self.floats:
                    want = self.float if wide or i in kept else self.half
                    node.input[i] = self._as(name, want)
        elif node.input[0] in self.weights:
            node.input[0] = self._as(node.input[0], self.float)
        if not wide:
            self._narrow_attributes(node)
        self.new_nodes.append(node)

    def _narrow_attributes(self, node: Any) -> None:
        for a in node.attribute:
            if node.op_type == "Cast" and a.name == "to" and a.i == self.float:
                a.i = self.half
            elif node.op_type in ("Constant", "ConstantOfShape") and a.name == "value":
                if a.t.data_type == self.float:
                    a.t.CopyFrom(self._narrow(a.t, a.t.name))
            elif node.op_type == "Constant" and a.name in ("value_float", "value_floats"):
                values = np.array(a.f if a.name == "value_float" else list(a.floats), np.float16)
                del node.attribute[:]
                tensor = self.onnx.numpy_helper.from_array(values)
                node.attribute.append(self.onnx.helper.make_attribute("value", tensor))
                return

    def _side(self, name: str) -> int:
        """The type that a float tensor has after the conversion."""
        node = self.producer.get(name)
        wide = node is None or id(node) in self.wide
        return int(self.float if wide else self.half)

    def _as(self, name: str, want: int) -> str:
        """The name under which a float tensor is available in a type."""
        if name in self.weights:
            return self._weight(name, want)
        if self._side(name) == want:
            return name
        key = (name, want)
        if key not in self.casts:
            suffix = "fp16" if want == self.half else "fp32"
            self.casts[key] = f"{name}__{suffix}"
            cast = self.onnx.helper.make_node(
                "Cast", [name], [self.casts[key]], name=f"{name}__to_{suffix}", to=want
            )
            self.new_nodes.append(cast)
        return self.casts[key]

    def _weight(self, name: str, want: int) -> str:
        if want == self.float:
            return name
        key = (name, want)
        if key not in self.constants:
            self.constants[key] = f"{name}__fp16"
            narrow = self._narrow(self.weights[name], self.constants[key])
            self.graph.initializer.append(narrow)
        return self.constants[key]

    def _narrow(self, tensor: Any, name: str) -> Any:
        values = self.onnx.numpy_helper.to_array(tensor)
        half = np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)
        return self.onnx.numpy_helper.from_array(half, name)

    def _keep_output(self, output: Any) -> None:
        name = output.name
        if name not in self.floats or self._side(name) == self.float:
            return
        inner = f"{name}__inner_fp16"
        for node in self.new_nodes:
            _rename(node.input, name, inner)
            _rename(node.output, name, inner)
        self.new_nodes.append(
            self.onnx.helper.make_node("Cast", [inner], [name], name=f"{name}__out", to=self.float)
        )

    def _drop_unused_weights(self) -> None:
        used = {i for n in self.new_nodes for i in n.input} | {o.name for o in self.graph.output}
        weights = [w for w in self.graph.initializer if w.name in used]
        gone = {w.name for w in self.graph.initializer} - used
        del self.graph.initializer[:]
        self.graph.initializer.extend(weights)
        inputs = [i for i in self.graph.input if i.name not in gone]
        del self.graph.input[:]
        self.graph.input.extend(inputs)


def _attributes(graph: Any) -> Iterable[Any]:
    return (a for node in graph.node for a in node.attribute)


def _is_custom(node: Any) -> bool:
    return node.domain not in ("", "ai.onnx")


def _rename(names: Any, old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new
