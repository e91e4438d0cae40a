"""One-stage networks: boxes and keypoints of all people come out of one run.

RTMO: Lu et al., CVPR 2024 (arXiv 2312.07526). YOLO-pose: Maji et al., CVPR Workshops 2022 (arXiv 2204.06806) and
the exports of its successors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.decode.movenet import MAPS, MovenetPeople, decode_movenet
from edgepose.decode.nms import nms
from edgepose.decode.unit import to_pixels
from edgepose.decode.yolo import is_list
from edgepose.errors import EngineError, UnknownNameError
from edgepose.types import AnyArray

Answers = Mapping[str, AnyArray]


class People(NamedTuple):
    """People of one picture, by falling score.

    Attributes:
        points: float32 (N, K, 3) x, y in pixels of the network's input and score.
        boxes: float64 (N, 4) xyxy, same pixels.
        scores: float64 (N,).
    """

    points: NDArray[np.float32]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class OneStageParams:
    """What to keep.

    Attributes:
        kind: format of the answer, a key of `FORMATS`.
        keypoints: how many a person has.
        size: (width, height) of the network's input.
        classes: how many the YOLO layouts have; the best counts.
        values: of a keypoint in the YOLO layouts: 3, or 2 without a score, which then counts as 1.
        score_threshold: people must score more than this.
        nms_threshold: IoU above which the weaker of two people goes.
        limit: at most this many people a picture.
        pixel: added to widths and heights inside the suppression, see `nms` (the RTMO demo's way:
            input pixels to an image pixel).
        unit: boxes and keypoints are 0..1 of the input, not pixels.
    """

    kind: str = "rtmo"
    keypoints: int = 17
    score_threshold: float = 0.3
    nms_threshold: float = 0.45
    limit: int = 100
    pixel: float = 0.0
    size: tuple[int, int] = (640, 640)
    classes: int = 1
    values: int = 3
    unit: bool = False


class _Rows(NamedTuple):
    """All rows of one picture: xyxy boxes, scores, (N, K, 3) keypoints; suppressed inside or not."""

    boxes: AnyArray
    scores: AnyArray
    points: AnyArray
    suppressed: bool = False


def decode_people(outputs: Answers, params: OneStageParams) -> list[People]:
    """People of every picture of a batch.

    Raises:
        EngineError: the tensors are not of that format.
        UnknownNameError: there is no such format.
    """
    reader = ONE_STAGE_FORMATS.get(params.kind)
    if reader is None:
        raise UnknownNameError("one-stage format", params.kind, ONE_STAGE_FORMATS)
    return [_select(rows, params) for rows in reader(outputs, params)]


def _select(rows: _Rows, params: OneStageParams) -> People:
    # keypoints follow their own row: positions are never taken from a list that was cut already
    hot = np.flatnonzero((rows.scores > params.score_threshold) & np.isfinite(rows.scores))
    hot = hot[(rows.boxes[hot, 2:] >= rows.boxes[hot, :2]).all(axis=1)]  # boxes of no negative size
    boxes, scores = (
        np.asarray(rows.boxes[hot], np.float64),
        np.asarray(rows.scores[hot], np.float64),
    )
    boxes = to_pixels(boxes, params.size, params.unit, "The boxes")
    if rows.suppressed:
        keep = np.argsort(-scores, kind="stable")[: params.limit]
    else:
        keep = nms(
            boxes,
            scores,
            params.nms_threshold,
            pixel=params.pixel,
            limit=params.limit,
        )
    points = np.array(rows.points[hot[keep]], np.float32)
    points[..., :2] = to_pixels(points[..., :2], params.size, params.unit, "The keypoints")
    return People(points, boxes[keep], scores[keep])


def select_movenet(found: MovenetPeople, params: OneStageParams) -> People:
    """The people of one picture that are kept, of those that MoveNet's maps were decoded to."""
    return _select(_Rows(found.boxes, found.scores, found.points), params)


def _wrong(kind: str, expected: str, outputs: Answers) -> EngineError:
    found = ", ".join(f"{name} {list(t.shape)}" for name, t in outputs.items())
    return EngineError(
        f"The network does not answer as {kind}: expected {expected}, found {found}. "
        "Correct 'decoder' in its manifest, or choose another --network."
    )


def _rtmo(outputs: Answers, params: OneStageParams) -> list[_Rows]:
    """(batch, n, 5) [box, score] and (batch, n, K, 3) [x, y, score]; not always suppressed inside."""
    expected = f"(batch, n, 5) and (batch, n, {params.keypoints}, 3)"
    by_rank = {t.ndim: t for t in outputs.values()}
    dets, points = by_rank.get(3), by_rank.get(4)
    if len(by_rank) < len(outputs):  # which of them?
        raise _wrong("rtmo", expected, outputs)
    if dets is None or points is None or dets.shape[2] != 5 or dets.shape[:2] != points.shape[:2]:
        raise _wrong("rtmo", expected, outputs)
    if points.shape[2:] != (params.keypoints, 3):
        raise _wrong("rtmo", expected, outputs)
    return [_Rows(d[:, :4], d[:, 4], p) for d, p in zip(dets, points, strict=True)]


def _table(outputs: Answers, kind: str, columns: int, expected: str) -> AnyArray:
    """The one tensor as (batch, rows, columns), transposed where columns come first."""
    tensors = [t for t in outputs.values() if t.ndim == 3]
    if len(tensors) == 1 and tensors[0].shape[1:] != (columns, columns):  # either way around
        table = tensors[0]
        if table.shape[2] == columns:
            return table
        if table.shape[1] == columns:
            rows: AnyArray = table.transpose(0, 2, 1)
            return rows
    raise _wrong(kind, f"{expected}; {_DECIDES}", outputs)


_DECIDES = (
    '"class_count" and "keypoint_values" (3, or 2 without a score) in its decoder say otherwise'
)


def _corners(table: AnyArray) -> AnyArray:
    half = table[:, 2:4] / 2
    boxes: AnyArray = np.hstack([table[:, :2] - half, table[:, :2] + half])
    return boxes


def _with_scores(flat: AnyArray, params: OneStageParams) -> AnyArray:
    """(N, K, 3) of rows (N, K x values)."""
    points = flat.reshape(len(flat), params.keypoints, params.values)
    if params.values == 3:
        return points
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=2)


def _yolo_pose(outputs: Answers, params: OneStageParams) -> list[_Rows]:
    """YOLOv8-pose and YOLO11-pose: (batch, 4 + classes + 3K, rows) centre, size, scores, keypoints; or,
    with suppression inside (also YOLO26-pose), (batch, n, 6 + 3K) box, score, class, keypoints."""
    classes, flat = params.classes, params.values * params.keypoints
    raw, inside = 4 + classes + flat, 6 + flat
    expected = f"(batch, {raw}, rows) or, suppressed inside, (batch, n, {inside})"
    shapes = [t.shape for t in outputs.values()]
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][2] == inside:
        (table,) = outputs.values()
        if is_list(shapes[0][1], params.size):
            return [
                _Rows(t[:, :4], t[:, 4], _with_scores(t[:, 6:], params), suppressed=True)
                for t in table
            ]
        if raw != inside:
            raise _wrong(
                "yolo-pose",
                f'{expected}; so many rows are no list that was suppressed: set "type" to '
                'yolov7-pose (centre, size, objectness, class), or "class_count" to 2, in its decoder',
                outputs,
            )
    out = []
    for t in _table(outputs, "yolo-pose", raw, expected):
        scores = t[:, 4 : 4 + classes].max(axis=1)
        hot = scores > params.score_threshold
        t = t[hot]
        out.append(_Rows(_corners(t), scores[hot], _with_scores(t[:, 4 + classes :], params)))
    return out


def _yolov7_pose(outputs: Answers, params: OneStageParams) -> list[_Rows]:
    """YOLOv5-pose and YOLOv7-pose: (batch, rows, 5 + classes + 3K) centre, size, objectness, classes,
    keypoints."""
    end = 5 + params.classes
    columns = end + params.values * params.keypoints
    out = []
    for t in _table(outputs, "yolov7-pose", columns, f"(batch, rows, {columns})"):
        t = t[t[:, 4] > params.score_threshold]
        scores = t[:, 4] * t[:, 5:end].max(axis=1)
        out.append(_Rows(_corners(t), scores, _with_scores(t[:, end:], params)))
    return out


def _movenet(outputs: Answers, params: OneStageParams) -> list[_Rows]:
    """MoveNet MultiPose: six maps, see `decode.movenet`."""
    k = params.keypoints
    channels = dict(zip(MAPS, (1, 2, 2, k, 2 * k, 2 * k), strict=True))
    found = {name: t.shape[1] for name, t in outputs.items() if t.ndim == 4}
    if not channels.items() <= found.items():
        expected = ", ".join(f"{name} (batch, {n}, H, W)" for name, n in channels.items())
        raise _wrong("movenet", expected, outputs)
    pictures = (
        decode_movenet({name: outputs[name][i] for name in MAPS}, params.score_threshold)
        for i in range(len(outputs["center"]))
    )
    return [_Rows(p.boxes, p.scores, p.points) for p in pictures]


# format -> reader of a whole batch
ONE_STAGE_FORMATS: dict[str, Callable[[Answers, OneStageParams], list[_Rows]]] = {
    "rtmo": _rtmo,
    "movenet": _movenet,
    "yolo-pose": _yolo_pose,
    "yolov7-pose": _yolov7_pose,
}
