"""Cross-layer equalisation: one int8 scale a tensor becomes as good as one a channel.

Channels of one tensor may differ tenfold, and then a common scale leaves the small ones a few levels. What
reaches a convolution through additions, resizing, ReLU and maximum pooling alone is divided channel by channel
where it is made, and multiplied in the weights that take it: the network computes the same in float32.
Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.base import Feeds
from edgepose.engines.int8 import as_taken
from edgepose.errors import EngineError

Ranges = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
_PASS = ("Add", "Resize", "Relu", "MaxPool")  # a factor above zero goes through them
_LEAST = 0.02  # of the largest channel: smaller ones are noise


def observe(model: Any, names: Iterable[str], feeds: Iterable[Feeds]) -> Ranges:
    """Lowest and highest value of each channel (axis 1) of tensors (N, C, H, W) over calibration inputs.

    Raises:
        EngineError: no feed came.
    """
    import onnx
    import onnxruntime as ort

    watched = type(model)()
    watched.CopyFrom(model)
    there = {o.name for o in watched.graph.output} | {i.name for i in watched.graph.input}
    wanted = sorted(set(names))
    for name in wanted:
        if name not in there:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            watched.graph.output.append(value)
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    session = ort.InferenceSession(
        watched.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    given = {i.name for i in model.graph.input}
    inner = [n for n in wanted if n not in given]
    found: Ranges = {}
    for feed in as_taken(session, feeds):
        values = dict(zip(inner, session.run(inner, feed), strict=True)) | feed
        for name in wanted:
            flat = np.moveaxis(np.asarray(values[name]), 1, 0)
            flat = flat.reshape(len(flat), -1)
            low, high = flat.min(axis=1), flat.max(axis=1)
            if name in found:
                low, high = np.minimum(low, found[name][0]), np.maximum(high, found[name][1])
            found[name] = (low, high)
    if not found:
        raise EngineError("no calibration picture could be read")
    return found


def equalise(model: Any, feeds: Iterable[Feeds]) -> Any:
    """A copy of an onnx ModelProto with folded constants whose channels reach about equally far.

    Raises:
        EngineError: no feed came.
    """
    from onnx import numpy_helper

    copy = type(model)()
    copy.CopyFrom(model)
    groups = _groups(copy)
    if not groups:
        return copy
    seen = {n.input[0] for _, takers in groups for n in takers}
    ranges = observe(copy, seen, feeds)
    weights = {w.name: np.array(numpy_helper.to_array(w)) for w in copy.graph.initializer}
    for makers, takers in groups:
        reach = np.max([np.abs(ranges[n.input[0]]).max(axis=0) for n in takers], axis=0)
        if reach.max() > 0:
            _scale(weights, makers, takers, np.maximum(reach / reach.max(), _LEAST))
    for weight in copy.graph.initializer:
        weight.CopyFrom(numpy_helper.from_array(weights[weight.name], weight.name))
    return copy


def _scale(weights: dict[str, Any], makers: list[Any], takers: list[Any], factor: Any) -> None:
    """Divide what is made by a factor a channel, and multiply where it is taken."""
    for node in makers:
        weights[node.input[1]] = weights[node.input[1]] / factor.reshape(-1, 1, 1, 1)
        if len(node.input) > 2:
            weights[node.input[2]] = weights[node.input[2]] / factor
    for node in takers:
        depthwise = weights[node.input[1]].shape[1] == 1 and groups_of(node) == len(factor)
        shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
        weights[node.input[1]] = weights[node.input[1]] * factor.reshape(shape)


def groups_of(node: Any) -> int:
    """Groups of a convolution."""
    return next((a.i for a in node.attribute if a.name == "group"), 1)


def _groups(model: Any) -> list[tuple[list[Any], list[Any]]]:
    """Convolutions that make and that take tensors of one scale, where nothing else touches these."""
    constants = {w.name for w in model.graph.initializer}
    shared = [w for n in model.graph.node for w in set(n.input) & constants]
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    dims = {w.name: len(w.dims) for w in model.graph.initializer}
    touched = {p.name for p in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        data = [i for i in node.input if i and i not in constants]
        if node.op_type == "Conv":
            if groups_of(node) > 1 and not _depthwise(model, node):
                touched |= set(data)
            own = all(shared.count(w) == 1 for w in node.input[1:] if w)
            if not own or dims.get(node.input[1]) != 4:  # of pictures, and of nobody else
                touched |= {*data, node.output[0]}
        elif node.op_type in _PASS and (node.op_type != "Add" or len(data) == 2):
            for name in data:
                root[find(name)] = find(node.output[0])
        else:
            touched |= {*data, *node.output}
    members: dict[str, tuple[list[Any], list[Any]]] = {}
    for node in (n for n in model.graph.node if n.op_type == "Conv"):
        members.setdefault(find(node.output[0]), ([], []))[0].append(node)
        members.setdefault(find(node.input[0]), ([], []))[1].append(node)
    spoilt = {find(name) for name in touched}
    return [m for key, m in members.items() if key not in spoilt and all(m)]


def _depthwise(model: Any, node: Any) -> bool:
    weight = next((w for w in model.graph.initializer if w.name == node.input[1]), None)
    return weight is not None and groups_of(node) == weight.dims[0] and weight.dims[1] == 1
