"""Palms and hand landmarks as MediaPipe Hands has them (Zhang et al., arXiv 2006.10214; BlazeFace anchors,
Bazarevsky et al., arXiv 1907.05047).

The palm detector gives a box and seven points of the palm; wrist and middle knuckle say how the hand is
turned, so that the crop for the landmark network is upright.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.decode.simcc import Points
from edgepose.errors import EngineError
from edgepose.geometry import box_iou
from edgepose.types import AnyArray

PALM_POINTS = 7
WRIST, MIDDLE_KNUCKLE = 0, 2
# (stride, anchors a cell): two layers of stride 8, six of stride 16 in one grid
ANCHOR_LAYERS = ((8, 2), (16, 6))


class Palms(NamedTuple):
    """Palms of one picture, by falling score.

    Attributes:
        boxes: float64 (N, 4) xyxy in pixels of the network's input.
        scores: float64 (N,).
        points: float64 (N, 7, 2).
        angles: float64 (N,), turn of the hand in radians, clockwise in the image; 0 = fingers up.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    points: NDArray[np.float64]
    angles: NDArray[np.float64]


@lru_cache(maxsize=4)
def palm_anchors(
    size: int, layers: tuple[tuple[int, int], ...] = ANCHOR_LAYERS
) -> NDArray[np.float64]:
    """Anchor centres (A, 2) x, y in pixels of a square input: cell by cell, all anchors of a cell in turn."""
    grids = []
    for stride, count in layers:
        cells = -(-size // stride)
        y, x = np.mgrid[:cells, :cells]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        grids.append(np.repeat(centres, count, axis=0))
    return np.concatenate(grids).astype(np.float64)


def palm_angles(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn of each hand (N, 7, 2) -> (N,): the way from the wrist to the middle knuckle, 0 = straight up."""
    dx, dy = (points[:, MIDDLE_KNUCKLE] - points[:, WRIST]).T
    turn: NDArray[np.float64] = np.arctan2(dx, -dy).astype(np.float64)
    return turn


def decode_palms(
    outputs: Mapping[str, AnyArray],
    size: int,
    *,
    score_threshold: float = 0.5,
    nms_threshold: float = 0.3,
    limit: int = 0,
    layers: tuple[tuple[int, int], ...] = ANCHOR_LAYERS,
) -> list[Palms]:
    """Palms of every picture of a batch.

    Args:
        outputs: (batch, A, 18) box and points relative to the anchors in pixels, (batch, A, 1) logits.
        size: side of the square input.
        score_threshold: palms must score more.
        nms_threshold: IoU from which palms are one.
        limit: at most this many palms a picture, 0 = all.
        layers: (stride, anchors a cell) of the network's grids.

    Raises:
        EngineError: the tensors are not a palm detector's.
    """
    anchors = palm_anchors(size, layers)
    by_width = {t.shape[-1]: t for t in outputs.values() if t.ndim == 3}
    raw, logits = by_width.get(4 + 2 * PALM_POINTS), by_width.get(1)
    twice = len(by_width) < sum(t.ndim == 3 for t in outputs.values())
    if raw is None or logits is None or twice or raw.shape[1] != len(anchors):
        found = ", ".join(f"{name} {list(t.shape)}" for name, t in outputs.items())
        raise EngineError(
            f"The detector does not answer as palm: expected (batch, {len(anchors)}, 18) and "
            f"(batch, {len(anchors)}, 1), found {found}. Use the detector that the network names."
        )
    pictures = zip(raw, logits[..., 0], strict=True)
    return [_palms(r, s, anchors, score_threshold, nms_threshold, limit) for r, s in pictures]


def _palms(
    raw: AnyArray, logits: AnyArray, anchors: AnyArray, threshold: float, overlap: float, limit: int
) -> Palms:
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -100.0, 100.0)))
    hot = np.flatnonzero(scores > threshold)
    rows = raw[hot].astype(np.float64)
    centre, half = rows[:, :2] + anchors[hot], rows[:, 2:4] / 2
    points = rows[:, 4:].reshape(-1, PALM_POINTS, 2) + anchors[hot, None]
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    boxes, points, scores = weighted_nms(boxes, points, scores[hot], overlap)
    if limit:
        boxes, points, scores = boxes[:limit], points[:limit], scores[:limit]
    return Palms(boxes, scores, points, palm_angles(points))


def weighted_nms(
    boxes: NDArray[np.float64],
    points: NDArray[np.float64],
    scores: NDArray[np.float64],
    threshold: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Suppression that averages: what overlaps the best box joins it, weighted by score.

    Args:
        boxes: (N, 4); points: (N, P, 2); scores: (N,).
        threshold: IoU from which boxes are the same hand.

    Returns:
        Boxes, points and scores of the groups, by falling score (the best of each group).
    """
    left = np.argsort(-scores, kind="stable")
    groups = []
    while left.size:
        same = box_iou(boxes[left[:1]], boxes[left])[0] > threshold
        same[0] = True
        groups.append(left[same])
        left = left[~same]
    n = len(groups)
    out_boxes, out_points = np.zeros((n, 4)), np.zeros((n, *points.shape[1:]))
    for i, group in enumerate(groups):
        weights = scores[group] / scores[group].sum()
        out_boxes[i] = weights @ boxes[group]
        out_points[i] = np.tensordot(weights, points[group], axes=1)
    return out_boxes, out_points, np.array([scores[g[0]] for g in groups])


def hand_regions(
    boxes: NDArray[np.floating],
    angles: NDArray[np.floating],
    *,
    margin: float = 2.6,
    shift: float = 0.5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (N, 2) and sizes (N, 2) of the square crops around palms, in image pixels.

    The palm's box moves by `shift` of its height toward the fingers and grows to `margin` times its
    longer side.
    """
    b = np.asarray(boxes, np.float64).reshape(-1, 4)
    sides = b[:, 2:] - b[:, :2]
    up = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    centres = (b[:, :2] + b[:, 2:]) / 2 + up * (shift * sides[:, 1:])
    side = np.maximum(sides.max(axis=1, initial=0.0), 1.0) * margin
    return centres, np.stack([side, side], axis=1)


class Hands(NamedTuple):
    """Landmarks of N crops.

    Attributes:
        points: 21 landmarks in pixels of the network's input; every score is the hand's presence.
        presence: float32 (N,), 0..1.
        right: float32 (N,), 0..1; probability that it is a right hand (of a picture that is not mirrored).
    """

    points: Points
    presence: NDArray[np.float32]
    right: NDArray[np.float32]


def decode_landmarks(outputs: Mapping[str, AnyArray], roles: Mapping[str, str]) -> Hands:
    """Landmarks, presence and handedness.

    Args:
        outputs: the network's tensors.
        roles: `landmarks`, `presence`, `handedness` -> tensor name.

    Raises:
        EngineError: the tensors are not a hand landmark network's.
    """
    try:
        flat = outputs[roles["landmarks"]]
        presence = outputs[roles["presence"]]
        handed = outputs[roles["handedness"]]
    except KeyError as e:
        raise EngineError(
            f"The hand network has no output {e}: found {', '.join(outputs)}. "
            "Correct 'outputs' in its manifest."
        ) from None
    if flat.ndim != 2 or flat.shape[1] % 3:
        raise EngineError(
            f"The hand network answers {list(flat.shape)}, not (batch, 3 x landmarks). "
            "Correct 'outputs' in its manifest."
        )
    points = flat.reshape(len(flat), -1, 3)[..., :2].astype(np.float32)
    score = presence.reshape(len(flat)).astype(np.float32)
    scores = np.repeat(score[:, None], points.shape[1], axis=1)
    return Hands(Points(points, scores), score, handed.reshape(len(flat)).astype(np.float32))
