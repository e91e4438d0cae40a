"""Answers of object detectors as boxes: YOLOX, YOLOv5/v8/11, RTMDet, SSD, with and without NMS inside.

YOLOX: Ge et al., arXiv 2107.08430. SSD `detection_out`: Liu et al., ECCV 2016.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.decode.nms import nms
from edgepose.decode.unit import to_pixels
from edgepose.decode.yolo import STRIDES as YOLOX_STRIDES
from edgepose.decode.yolo import grid_rows, is_list
from edgepose.errors import EngineError, UnknownNameError
from edgepose.types import AnyArray

Outputs = Mapping[str, AnyArray]


class Boxes(NamedTuple):
    """What was detected in one picture.

    Attributes:
        xyxy: float64 (N, 4), pixels of the network's input, by falling score.
        scores: float64 (N,), 0..1.
        labels: int64 (N,), class numbers.
    """

    xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]

    def take(self, rows: AnyArray) -> Boxes:
        """Some of the rows."""
        return Boxes(self.xyxy[rows], self.scores[rows], self.labels[rows])


NO_BOXES = Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


@dataclass(frozen=True)
class DetectionParams:
    """What to keep.

    Attributes:
        kind: format of the answer, a key of `FORMATS`.
        size: (width, height) of the network's input.
        score_threshold: boxes must score more than this.
        nms_threshold: IoU above which the weaker of two boxes of a class goes.
        classes: class numbers to keep, () = all.
        limit: at most this many boxes a picture.
        strides: of the grids of `yolox`, in pixels.
        pixel: added to widths and heights inside the suppression, see `nms` (the YOLOX demo's way:
            input pixels to an image pixel).
        unit: boxes are 0..1 of the input, not pixels (those of `ssd` always are).
    """

    kind: str = "yolox"
    size: tuple[int, int] = (640, 640)
    score_threshold: float = 0.3
    nms_threshold: float = 0.45
    classes: tuple[int, ...] = (0,)
    limit: int = 300
    strides: tuple[int, ...] = YOLOX_STRIDES
    pixel: float = 0.0
    unit: bool = False


class _Rows(NamedTuple):
    """Rows of one picture before selection; `corners` makes xyxy boxes of the chosen ones."""

    scores: AnyArray
    corners: Callable[[AnyArray], AnyArray]
    suppressed: bool = False
    labels: AnyArray | None = None


def decode_detections(outputs: Outputs, params: DetectionParams, batch: int = 1) -> list[Boxes]:
    """Boxes of every picture of a batch.

    Args:
        outputs: the detector's tensors by name; names play no part, shapes do.
        params: format and thresholds.
        batch: how many pictures went in (lists with picture numbers do not tell).

    Raises:
        EngineError: the tensors are not of that format.
        UnknownNameError: there is no such format.
    """
    reader = FORMATS.get(params.kind)
    if reader is None:
        raise UnknownNameError("detector format", params.kind, FORMATS)
    found = [_select(rows, params) for rows in reader(outputs, params)]
    return found[:batch] + [NO_BOXES] * (batch - len(found))


def _select(rows: _Rows, params: DetectionParams) -> Boxes:
    """Threshold, classes, suppression, order and limit. `rows.scores` is (N,) or (N, classes)."""
    index, label, score = _candidates(rows, params)
    boxes = Boxes(
        np.asarray(rows.corners(index), np.float64).reshape(-1, 4),
        score.astype(np.float64),
        label.astype(np.int64),
    )
    # left of right and above its lower edge, and so finite
    real = np.isfinite(boxes.xyxy) & (boxes.xyxy[:, [2, 3, 2, 3]] >= boxes.xyxy[:, [0, 1, 0, 1]])
    if not real.all():
        boxes = boxes.take(np.flatnonzero(real.all(axis=1)))
    unit = params.unit and params.kind != "ssd"
    boxes = boxes._replace(xyxy=to_pixels(boxes.xyxy, params.size, unit, "The boxes"))
    if rows.suppressed:
        keep = np.argsort(-boxes.scores, kind="stable")[: params.limit]
    else:
        keep = nms(
            boxes.xyxy,
            boxes.scores,
            params.nms_threshold,
            labels=boxes.labels,
            pixel=params.pixel,
            limit=params.limit,
        )
    return boxes.take(keep)


def _candidates(rows: _Rows, params: DetectionParams) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Row, class and score of everything above the threshold in the wanted classes."""
    if rows.scores.ndim == 1:
        labels = np.zeros(len(rows.scores), np.int64) if rows.labels is None else rows.labels
        keep = rows.scores > params.score_threshold
        if params.classes:
            keep &= np.isin(labels, params.classes)
        index = np.flatnonzero(keep)
        return index, labels[index], rows.scores[index]
    wanted = [c for c in params.classes if c < rows.scores.shape[1]]
    columns = np.array(wanted if params.classes else range(rows.scores.shape[1]), np.intp)
    index, column = np.nonzero(rows.scores[:, columns] > params.score_threshold)
    label = columns[column]
    return index, label, rows.scores[index, label]


def _centre_corners(table: AnyArray) -> Callable[[AnyArray], AnyArray]:
    """Boxes given as centre and size."""

    def corners(index: AnyArray) -> AnyArray:
        rows = np.asarray(table[index, :4], np.float64)
        half = rows[:, 2:] / 2
        return np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)

    return corners


def _plain_corners(table: AnyArray) -> Callable[[AnyArray], AnyArray]:
    return lambda index: np.asarray(table[index, :4])


@lru_cache(maxsize=8)
def yolox_grid(
    width: int, height: int, steps: tuple[int, ...] = YOLOX_STRIDES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cell corners (N, 2) x, y in cells and strides (N, 1) in pixels, in the order of YOLOX's rows."""
    cells, strides = [], []
    for stride in steps:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def _wrong(kind: str, expected: str, outputs: Outputs) -> EngineError:
    found = ", ".join(f"{name} {list(t.shape)}" for name, t in outputs.items())
    return EngineError(
        f"The detector does not answer as {kind}: expected {expected}, found {found}. "
        "Choose another --detector, or correct 'decoder' in its manifest."
    )


def _check_classes(told: int, params: DetectionParams) -> None:
    if params.classes and min(params.classes) >= told:
        raise EngineError(
            f'The detector\'s answer has {told} classes, numbered from 0; "classes" in its manifest names only '
            f"{', '.join(map(str, params.classes))}."
        )


def _only(outputs: Outputs, kind: str, expected: str) -> AnyArray:
    """The one tensor of a raw answer, with its batch axis."""
    tensors = [t for t in outputs.values() if t.ndim == 3]
    if len(tensors) != 1:
        raise _wrong(kind, expected, outputs)
    return tensors[0]


def _yolox(outputs: Outputs, params: DetectionParams) -> list[_Rows]:
    expected = "(batch, rows, 5 + classes) centre, size, objectness, classes by cell"
    grid, stride = yolox_grid(*params.size, params.strides)
    by_cell = len(outputs) == 1 and next(iter(outputs.values())).shape[1:2] == (len(grid),)
    if not by_cell and _is_suppressed(outputs, params):
        return _suppressed(outputs, params)
    raw = _only(outputs, "yolox", expected)
    if raw.shape[2] < 6 or raw.shape[1] != len(grid):
        raise _wrong("yolox", f"{expected}; {len(grid)} rows for {params.size}", outputs)
    _check_classes(raw.shape[2] - 5, params)

    out = []
    for whole in raw:
        # class scores are computed only where the objectness alone is high enough
        hot = np.flatnonzero(whole[:, 4] > params.score_threshold)
        table = whole[hot]
        corners = _cell_corners(table, grid[hot], stride[hot])
        out.append(_Rows(table[:, 4:5] * table[:, 5:], corners))
    return out


def _cell_corners(
    table: AnyArray, grid: AnyArray, stride: AnyArray
) -> Callable[[AnyArray], AnyArray]:
    """Boxes given relative to their cells: centre in cells, size as a logarithm."""

    def corners(index: AnyArray) -> AnyArray:
        rows = np.asarray(table[index, :4], np.float64)
        centre = (rows[:, :2] + grid[index]) * stride[index]
        half = np.exp(np.minimum(rows[:, 2:], 80.0)) * stride[index] / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    return corners


def _yolov5(outputs: Outputs, params: DetectionParams) -> list[_Rows]:
    """Centre, size, objectness, classes; a row counts for its best class only."""
    expected = "(batch, rows, 5 + classes) centre, size, objectness, classes"
    if _is_suppressed(outputs, params):
        return _suppressed(outputs, params)
    raw = _only(outputs, "yolov5", expected)
    cells = grid_rows(params.size)
    if raw.shape[2] < 6 or raw.shape[2] in (cells, 3 * cells):  # columns first: YOLOv8's
        raise _wrong("yolov5", expected, outputs)
    _check_classes(raw.shape[2] - 5, params)
    out = []
    for whole in raw:
        table = whole[whole[:, 4] > params.score_threshold]
        best = table[:, 5:].argmax(axis=1)
        scores = table[np.arange(len(table)), 5 + best] * table[:, 4]
        out.append(_Rows(scores, _centre_corners(table), labels=best))
    return out


def _yolov8(outputs: Outputs, params: DetectionParams) -> list[_Rows]:
    """Centre, size, classes; channels first as exported, or last."""
    expected = "(batch, 4 + classes, rows) centre, size, classes"
    if _is_suppressed(outputs, params):
        return _suppressed(outputs, params)
    raw = _only(outputs, "yolov8", expected)
    cells = grid_rows(params.size)
    if raw.shape[1] != cells and (raw.shape[2] == cells or raw.shape[1] < raw.shape[2]):
        raw = raw.transpose(0, 2, 1)
    if raw.shape[2] < 5 or raw.shape[1] == 3 * cells:  # three anchors a cell: YOLOv5's
        raise _wrong("yolov8", expected, outputs)
    _check_classes(raw.shape[2] - 4, params)
    out = []
    for table in raw:
        best = table[:, 4:].argmax(axis=1)
        out.append(
            _Rows(table[np.arange(len(table)), 4 + best], _centre_corners(table), labels=best)
        )
    return out


def _is_suppressed(outputs: Outputs, params: DetectionParams) -> bool:
    """True for the answers of networks with their own suppression, told by their shapes."""
    shapes = sorted((t.shape for t in outputs.values()), key=len)
    last = [s[-1] for s in shapes]
    if len(shapes) == 1:
        shape = shapes[0]
        if len(shape) == 2:
            return bool(shape[1] == 7)
        # as wide as lists are raw answers of one class too: the grids have other numbers of rows
        return len(shape) == 3 and shape[2] in (5, 6) and is_list(shape[1], params.size)
    if len(shapes) == 2:
        return len(shapes[0]) == 2 and len(shapes[1]) == 3 and last[1] == 5
    return len(shapes) == 4 and any(len(s) == 3 and s[2] == 4 for s in shapes)


def _suppressed(outputs: Outputs, params: DetectionParams) -> list[_Rows]:
    """Networks that suppress inside.

    Known layouts: (batch, n, 5) [box, score] alone or with (batch, n) labels (mmdeploy's RTMDet and
    YOLOX); (batch, n, 6) [box, score, class] (YOLOv8, 10, 11, 26); (n, 7) [picture, box, class, score]
    (YOLOv7); four tensors count, boxes, scores, classes (TensorRT's EfficientNMS).
    """
    if len(outputs) == 4:
        return _efficient(outputs)
    tensors = sorted(outputs.values(), key=lambda t: -t.ndim)
    table = tensors[0]
    if table.ndim == 2 and table.shape[1] == 7:
        pictures = table[:, 0].astype(np.int64)
        of = [table[pictures == i] for i in range(int(pictures.max(initial=0)) + 1)]
        return [_Rows(t[:, 6], _plain_corners(t[:, 1:5]), True, t[:, 5].astype(int)) for t in of]
    if table.ndim != 3 or table.shape[2] not in (5, 6):
        raise _wrong(params.kind, "(batch, n, 5 or 6) box, score [, class]", outputs)
    if len(tensors) > 1:
        labels = [row.astype(np.int64) for row in tensors[1].reshape(table.shape[:2])]
    elif table.shape[2] == 6:
        labels = [row[:, 5].astype(np.int64) for row in table]
    else:
        labels = [np.zeros(table.shape[1], np.int64)] * len(table)
    return [_Rows(t[:, 4], _plain_corners(t), True, k) for t, k in zip(table, labels, strict=True)]


def _efficient(outputs: Outputs) -> list[_Rows]:
    """TensorRT's EfficientNMS: how many, boxes, scores, classes; by their names, else in this order."""
    roles = ("num|count", "box", "score|conf", "class|label")
    named = [[t for n, t in outputs.items() if re.search(role, n.lower())] for role in roles]
    tensors = [t[0] for t in named] if all(len(t) == 1 for t in named) else [*outputs.values()]
    counts, boxes, scores, labels = tensors
    batch, n = boxes.shape[:2] if boxes.ndim == 3 else (-1, -1)
    if counts.size != batch or scores.shape != (batch, n) or labels.shape != (batch, n):
        raise _wrong("efficient-nms", "num_dets, boxes, scores and classes", outputs)
    rows = zip(boxes, scores, labels, counts.reshape(batch).astype(int), strict=True)
    return [_Rows(s[:k], _plain_corners(b), True, c[:k].astype(np.int64)) for b, s, c, k in rows]


def _ssd(outputs: Outputs, params: DetectionParams) -> list[_Rows]:
    """SSD's `detection_out`: rows [picture, class, score, left, top, right, bottom], box in 0..1."""
    table = next(iter(outputs.values()))
    if len(outputs) != 1 or table.shape[-1] != 7:
        raise _wrong("ssd", "detection_out (1, 1, n, 7)", outputs)
    rows = table.reshape(-1, 7)
    ends = np.flatnonzero(rows[:, 0] < 0)  # a negative picture number ends the list
    rows = rows[: ends[0]] if ends.size else rows
    size = np.array(params.size * 2, np.float64)
    pictures = rows[:, 0].astype(np.int64)
    out = []
    for picture in range(int(pictures.max(initial=0)) + 1):
        own = rows[pictures == picture]
        corners = _plain_corners(own[:, 3:7] * size)
        out.append(_Rows(own[:, 2], corners, True, own[:, 1].astype(np.int64)))
    return out


# format -> reader of a whole batch
FORMATS: dict[str, Callable[[Outputs, DetectionParams], Sequence[_Rows]]] = {
    "yolox": _yolox,
    "rtmdet": _yolox,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "yolo11": _yolov8,
    "nms": _suppressed,
    "ssd": _ssd,
}
