"""YOLOX for people alone: the other classes go, and batch, height and width are open.

The score of a class depends on no other class, so boxes and scores of people stay what they are. The graph is
fully convolutional: an input with less padding is a smaller one of its sizes (multiples of 32).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

PERSON = 0  # of COCO's eighty
COLUMNS = 6  # centre, size, objectness, person


def person_only(model: Any) -> Any:
    """A copy of an exported YOLOX whose only class is the person.

    Args:
        model: input (1, 3, H, W), output (1, cells, 85) by cell, weights in float32.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    shapes = {n.input[1] for n in graph.node if n.op_type == "Reshape"}
    for constant in graph.initializer:
        value = numpy_helper.to_array(constant)
        if "cls_preds" in constant.name:
            changed = value[PERSON : PERSON + 1]
        elif constant.name in shapes:
            changed = np.array([0, COLUMNS, -1], value.dtype)  # 0: the batch stays
        else:
            continue
        constant.CopyFrom(numpy_helper.from_array(changed, constant.name))
    _name_sizes(graph.input[0], ["batch", 3, "height", "width"])
    _name_sizes(graph.output[0], ["batch", "cells", COLUMNS])
    del graph.value_info[:]
    onnx.checker.check_model(copy, full_check=True)
    return copy


def _name_sizes(port: Any, sizes: list[str | int]) -> None:
    for dim, size in zip(port.type.tensor_type.shape.dim, sizes, strict=True):
        dim.Clear()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size
