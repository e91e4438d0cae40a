"""Angles at the joints of bodies and hands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# what a joint of the body lies between, of the same side
BODY = {
    "shoulder": ("elbow", "hip"),
    "elbow": ("shoulder", "wrist"),
    "hip": ("shoulder", "knee"),
    "knee": ("hip", "ankle"),
}
HAND = 21  # keypoints: the palm or wrist, then four of each finger from its root to its tip


def neighbours(joint: str, names: Sequence[str]) -> tuple[str, str, str]:
    """The joint between the two keypoints whose angle it has.

    Raises:
        KeyError: it is none of `names`, or has no two neighbours among them.
    """
    if joint not in names:
        raise KeyError(f"no keypoint named {joint!r}; there are {', '.join(names)}")
    side, _, part = joint.partition("_")
    if part in BODY:
        above, below = BODY[part]
        return f"{side}_{above}", joint, f"{side}_{below}"
    number = list(names).index(joint)
    if len(names) == HAND and number % 4:
        before = number - 1 if number % 4 > 1 else 0
        return names[before], joint, names[number + 1]
    raise KeyError(f"{joint!r} is no joint between two keypoints; name all three of them")


def angle_at(
    before: NDArray[np.floating], joint: NDArray[np.floating], after: NDArray[np.floating]
) -> float:
    """The angle at a joint between its two neighbours in degrees, 0 (folded) to 180 (straight).

    Args:
        before, joint, after: (2,) places in pixels; the angle is NaN where one is, or two are the same.
    """
    (ax, ay), (bx, by) = before - joint, after - joint
    if not (ax or ay) or not (bx or by):
        return math.nan
    return math.degrees(abs(math.atan2(ax * by - ay * bx, ax * bx + ay * by)))
