"""Signs of a hand, from its 21 keypoints or those of them that were found.

Lengths are in palms: the distance from the wrist to the root of the middle finger, or 1.4 times the width of
the palm where that is more. All measures but that of the thumb's direction are the same however the hand is
turned, and all are the same for left and right hands.
"""

from __future__ import annotations

import numpy as np

from edgepose.gestures.rule import Limit, Rule
from edgepose.types import Float64Array

# numbers as `hand_order` gives them
_WRIST, _THUMB, _TIP = 0, 2, 4
_ROOTS, _MIDDLES, _TIPS = (
    np.array([5, 9, 13, 17]),
    np.array([6, 10, 14, 18]),
    np.array([8, 12, 16, 20]),
)
_FINGERS = ("index", "middle", "ring", "little")

MEASURES = (
    *(f"{finger}_bend" for finger in _FINGERS),  # at the middle joint: 0 straight, 180 folded back
    *(f"{finger}_reach" for finger in _FINGERS),  # tip farther from the wrist than the middle joint
    "thumb_out",  # distance of the thumb's tip from the root of the index finger
    "thumb_in",  # distance of the thumb's tip from the middle joints of index and middle finger
    "thumb_up",  # direction of the thumb: 0 up, 180 down
    "thumb_rise",  # how far the tip of the thumb is above all other keypoints
    "spread",  # angle between index and middle finger
    "gap",  # distance of the tips of thumb and index finger
    "index_out",  # distance of the index finger's tip from its root
)


def measures(points: Float64Array) -> Float64Array:
    """Measures (N, M) of hands: points (N, 21, 2) in the order of `hand_order`, NaN = missing."""
    roots, middles, tips = points[:, _ROOTS], points[:, _MIDDLES], points[:, _TIPS]
    wrist, thumb = points[:, _WRIST], points[:, _TIP]
    palm = np.fmax(_length(roots[:, 1] - wrist), 1.4 * _length(roots[:, 3] - roots[:, 0]))
    palm[~(palm > 0)] = np.nan
    near, far = middles - roots, tips - middles
    out = np.empty((len(points), len(MEASURES)))
    out[:, :4] = _between(near, far)
    reach = _length(tips - wrist[:, None]) - _length(middles - wrist[:, None])
    out[:, 4:8] = reach / palm[:, None]
    out[:, 8] = _length(thumb - roots[:, 0]) / palm
    out[:, 9] = np.fmin(_length(thumb - middles[:, 0]), _length(thumb - middles[:, 1])) / palm
    up = thumb - points[:, _THUMB]
    out[:, 10] = np.degrees(np.arctan2(np.abs(up[:, 0]), -up[:, 1]))
    out[:, 11] = (np.fmin.reduce(points[:, 5:, 1], axis=1) - thumb[:, 1]) / palm
    out[:, 12] = _between(tips[:, 0] - roots[:, 0], tips[:, 1] - roots[:, 1])
    out[:, 13] = _length(thumb - tips[:, 0]) / palm
    out[:, 14] = _length(tips[:, 0] - roots[:, 0]) / palm
    return out


def _length(vectors: Float64Array) -> Float64Array:
    length: Float64Array = np.hypot(vectors[..., 0], vectors[..., 1])
    return length


def _between(a: Float64Array, b: Float64Array) -> Float64Array:
    """The angle between vectors in degrees, 0..180."""
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    angle: Float64Array = np.degrees(np.arctan2(np.abs(cross), (a * b).sum(axis=-1)))
    return angle


def _straight(*fingers: str) -> tuple[Limit, ...]:
    return tuple(
        limit
        for finger in fingers
        for limit in (Limit(f"{finger}_bend", 75, 40), Limit(f"{finger}_reach", 0.05, 0.25))
    )


def _folded(*fingers: str) -> tuple[Limit, ...]:
    return tuple(Limit(f"{finger}_reach", 0.2, 0.0) for finger in fingers)


RULES = (
    Rule(
        "pinch",
        "The tips of thumb and index finger touch, and the index finger is not folded into the palm.",
        ((Limit("gap", 0.4, 0.2), Limit("index_out", 0.35, 0.55)),),
    ),
    Rule(
        "open_hand",
        "All four fingers are straight and the thumb is away from them.",
        ((*_straight(*_FINGERS), Limit("thumb_out", 0.4, 0.65)),),
        unless=("pinch",),
    ),
    Rule(
        "victory",
        "Index and middle finger are straight and spread, ring and little finger folded.",
        ((*_straight("index", "middle"), *_folded("ring", "little"), Limit("spread", 6, 14)),),
    ),
    Rule(
        "pointing",
        "The index finger is straight, the other fingers are folded.",
        ((*_straight("index"), *_folded("middle", "ring", "little")),),
    ),
    Rule(
        "thumb_up",
        "All four fingers are folded, the thumb points up and is the highest of all.",
        ((*_folded(*_FINGERS), Limit("thumb_up", 60, 30), Limit("thumb_rise", 0.05, 0.3)),),
    ),
    Rule(
        "fist",
        "All four fingers are folded, the thumb lies at them.",
        ((*_folded(*_FINGERS), Limit("thumb_in", 0.75, 0.5)),),
        unless=("thumb_up",),
    ),
)
