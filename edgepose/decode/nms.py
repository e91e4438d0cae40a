"""Non-maximum suppression: of boxes that overlap too much only the best stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def nms(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    threshold: float,
    *,
    labels: NDArray[np.integer] | None = None,
    pixel: float = 0.0,
    limit: int = 0,
) -> Indices:
    """Greedy suppression: rows that stay, by falling score.

    Args:
        boxes: (N, 4) xyxy, any unit.
        scores: (N,), equal scores keep their order.
        threshold: a box whose IoU with a better one exceeds this is dropped.
        labels: (N,) class numbers; boxes of different classes do not suppress each other.
        pixel: widths and heights count as right - left + pixel; 1 for boxes in pixels as Fast
            R-CNN's original (and the YOLOX and RTMO demos) have it.
        limit: at most this many rows, 0 = all.

    Returns:
        Positions of the rows that stay.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    table = np.asarray(boxes, np.float64).reshape(-1, 4)[order]
    kinds = None if labels is None else np.asarray(labels)[order]
    areas = np.prod(table[:, 2:] - table[:, :2] + pixel, axis=1)
    left = np.arange(len(order))
    kept: list[int] = []
    while left.size and (not limit or len(kept) < limit):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(table[rest, 2:], table[best, 2:]) - np.maximum(
            table[rest, :2], table[best, :2]
        )
        overlap = np.prod(np.maximum(sides + pixel, 0.0), axis=1)
        # multiplied out instead of divided: an empty box has no union to divide by
        close = overlap > threshold * (areas[best] + areas[rest] - overlap)
        if kinds is not None:
            close &= kinds[rest] == kinds[best]
        left = rest[~close]
    return order[kept]
