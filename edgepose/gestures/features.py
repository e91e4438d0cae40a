"""What a taught gesture is told by: keypoints made independent of place and size, and how they moved.

Of the newest pose: the places of the keypoints around the trunk (a body) or the palm (a hand), in body lengths or
palms, and all distances between them. Of the moments before it: the places again, seen from where the newest
pose is, and how far each keypoint moves from moment to moment. What is missing is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.networks.keypoint_names import COCO_PERSON, HAND_KEYPOINTS, hand_order, places
from edgepose.types import Float64Array

Indices = NDArray[np.intp]
MOMENTS = 4  # of a window, the newest among them
# keypoints whose mean is the place, and lengths that give the size: pairs and how often they fit into a unit
_BODY_PLACE, _HAND_PLACE = (5, 6, 11, 12), (0, 5, 9, 13, 17)
_BODY_SIZE = (
    (5, 11, 1.0),
    (6, 12, 1.0),
    (5, 6, 1.3),
    (11, 13, 1.15),
    (12, 14, 1.15),
    (5, 7, 1.5),
    (6, 8, 1.5),
)
_HAND_SIZE = ((0, 9, 1.0), (5, 17, 1.4))


def canonical(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The keypoints by which gestures are taught, and their numbers among `names`.

    COCO's 17 of a body and the 21 of a hand have the same names whatever the network calls them, so that a
    gesture taught with one network works with another; all other topologies keep their own.
    """
    order = hand_order(names)
    if order is not None:
        return HAND_KEYPOINTS, order
    body = [n for n in places(names, COCO_PERSON) if n is not None]
    return (
        (COCO_PERSON, tuple(body))
        if len(body) == len(COCO_PERSON)
        else (tuple(names), tuple(range(len(names))))
    )


class Features:
    """Turns poses into rows of numbers.

    Args:
        keypoints: names, as `canonical` gives them. moments: how many poses of a window there are.
    """

    def __init__(self, keypoints: Sequence[str], moments: int) -> None:
        keypoints = tuple(keypoints)
        everything = tuple(range(len(keypoints)))
        place, size = {
            COCO_PERSON: (_BODY_PLACE, _BODY_SIZE),
            HAND_KEYPOINTS: (_HAND_PLACE, _HAND_SIZE),
        }.get(
            keypoints, (everything, tuple((a, b, 1.0) for a in everything for b in everything[:a]))
        )
        self._place = np.array(place)
        self._sizes = np.array([[row[i] for row in size] for i in (0, 1)], np.intp).ravel()
        self._times = np.array([[row[2]] for row in size])
        self._pairs = np.concatenate(np.triu_indices(len(keypoints), 1))
        self.count = 2 * len(keypoints) * moments + len(self._pairs) // 2
        self.count += len(keypoints) if moments > 1 else 0

    def __call__(self, windows: Float64Array) -> Float64Array:
        """Rows (N, count) of windows (N, moments, K, 2) in image pixels, the newest pose first."""
        # people in the last dimension: what follows is one operation for rows of all of them
        places = windows.T  # (2, K, moments, N)
        newest = places[:, :, 0]
        trunk = newest.take(self._place, axis=1)
        there = ~np.isnan(trunk)
        np.copyto(trunk, 0.0, where=~there)
        centre = np.add.reduce(trunk, axis=1) / np.add.reduce(there, axis=1)
        unit = np.fmax.reduce(_spans(newest, self._sizes) * self._times)
        unit[~(unit > 0)] = np.nan
        moved = (places - centre[:, None, None]) / unit
        rows = np.empty((self.count, len(windows)))
        at = 2 * moved.shape[1] * moved.shape[2]
        rows[:at] = moved.transpose(2, 1, 0, 3).reshape(at, -1)
        end = at + len(self._pairs) // 2
        rows[at:end] = _spans(moved[:, :, 0], self._pairs)
        if windows.shape[1] > 1:  # a linear classifier cannot make it of the places
            steps = _length(moved[:, :, 1:] - moved[:, :, :-1])
            there = ~np.isnan(steps)
            moves = np.where(there, steps, 0.0).sum(axis=1)
            rows[end:] = moves / np.where(there.any(axis=1), there.sum(axis=1), np.nan)
        return np.transpose(rows)


def _spans(places: Float64Array, pairs: Indices) -> Float64Array:
    """Distances of keypoints (P, N) of places (2, K, N); `pairs` has all first ones, then all second ones."""
    ends, half = places.take(pairs, axis=1), len(pairs) // 2
    return _length(ends[:, :half] - ends[:, half:])


def _length(vectors: Float64Array) -> Float64Array:
    """Of vectors (2, ...), which are used up."""
    vectors *= vectors
    length: Float64Array = vectors[0]
    length += vectors[1]
    return np.sqrt(length, out=length)  # a third of the cost of hypot
