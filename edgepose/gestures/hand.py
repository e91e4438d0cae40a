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
_ROOTS, _MIDDLES, _TIPS = (5, 9, 13, 17), (6, 10, 14, 18), (8, 12, 16, 20)
_ABOVE = slice(5, None)  # what the tip of the thumb is compared with
# from where to where: what is bent against what follows, in this order; then the thumb, and what is measured
_VECTORS = (
    *zip(_ROOTS, _MIDDLES, strict=True), (_ROOTS[0], _TIPS[0]),
    *zip(_MIDDLES, _TIPS, strict=True), (_ROOTS[1], _TIPS[1]),
    *((_WRIST, tip) for tip in _TIPS), *((_WRIST, middle) for middle in _MIDDLES),
    (_ROOTS[0], _TIP), (_TIP, _TIPS[0]), (_ROOTS[0], _TIPS[0]),
    (_TIP, _MIDDLES[0]), (_TIP, _MIDDLES[1]), (_WRIST, _ROOTS[1]), (_ROOTS[0], _ROOTS[3]),
    (_THUMB, _TIP),
)  # fmt: skip
_FROM, _TO = np.array(_VECTORS).T
_BENDS, _LENGTHS = 5, slice(10, 25)
DEGREES = 180 / np.pi
_FINGERS = ("index", "middle", "ring", "little")

MEASURES = (
    *(f"{finger}_bend" for finger in _FINGERS),  # at the middle joint: 0 straight, 180 folded back
    "spread",  # angle between index and middle finger
    *(f"{finger}_reach" for finger in _FINGERS),  # tip farther from the wrist than the middle joint
    "thumb_out",  # distance of the thumb's tip from the root of the index finger
    "gap",  # distance of the tips of thumb and index finger
    "index_out",  # distance of the index finger's tip from its root
    "thumb_in",  # distance of the thumb's tip from the middle joints of index and middle finger
    "thumb_rise",  # how far the tip of the thumb is above all other keypoints
    "thumb_up",  # direction of the thumb: 0 up, 180 down
)


def measures(points: Float64Array) -> Float64Array:
    """Measures (N, M) of hands: points (N, 21, 2) in the order of `hand_order`, NaN = missing."""
    # hands in the last dimension: the rows of numbers below are one operation for all of them
    places = points.T
    vectors = places.take(_TO, axis=1) - places.take(_FROM, axis=1)
    x, y = vectors
    length = np.hypot(x[_LENGTHS], y[_LENGTHS])
    palm = np.fmax(length[13], 1.4 * length[14])
    palm[~(palm > 0)] = np.nan
    # cross and dot products; the last row is the thumb against up
    sine, cosine = np.empty((2, _BENDS + 1, len(points)))
    one, other = vectors[:, :_BENDS], vectors[:, _BENDS : 2 * _BENDS]
    np.subtract(one[0] * other[1], one[1] * other[0], out=sine[:_BENDS])
    np.add.reduce(one * other, out=cosine[:_BENDS])
    sine[_BENDS], cosine[_BENDS] = x[-1], -y[-1]
    angle = np.arctan2(np.abs(sine), cosine) * DEGREES
    out = np.empty((len(MEASURES), len(points)))
    out[:_BENDS] = angle[:_BENDS]
    np.subtract(length[:4], length[4:8], out=out[5:9])
    out[9:12] = length[8:11]
    np.fmin(length[11], length[12], out=out[12])
    np.subtract(np.fmin.reduce(places[1, _ABOVE]), places[1, _TIP], out=out[13])
    out[5:14] /= palm
    out[14] = angle[_BENDS]
    return np.transpose(out)


def _straight(*fingers: str) -> tuple[Limit, ...]:
    return tuple(
        limit
        for finger in fingers
        for limit in (Limit(f"{finger}_bend", 60, 30), Limit(f"{finger}_reach", 0.05, 0.25))
    )


def _folded(*fingers: str) -> tuple[Limit, ...]:
    return tuple(Limit(f"{finger}_reach", 0.1, -0.1) for finger in fingers)


RULES = (
    Rule(
        "pinch",
        "The tips of thumb and index finger touch, and the index finger is not folded into the palm.",
        (
            (
                Limit("gap", 0.3, 0.15),
                Limit("index_out", 0.35, 0.55),
                Limit("index_reach", -0.05, 0.1),
            ),
        ),
    ),
    Rule(
        "open_hand",
        "All four fingers are straight and the thumb is away from them.",
        ((*_straight(*_FINGERS), Limit("thumb_out", 0.4, 0.65), Limit("thumb_in", 0.45, 0.7)),),
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
