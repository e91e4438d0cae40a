"""Gestures and postures of a person, from COCO's 17 keypoints or those of them that were found.

Lengths are in body lengths: that of the torso from hips to shoulders. A part that points to the camera looks
short, so the unit is the longest of several parts, each times its usual share of a torso. Up is up in the
picture: a camera must not be turned. All measures are the same at every place and size, and in a mirrored
picture those of left and right are exchanged.
"""

from __future__ import annotations

import numpy as np

from edgepose.gestures.rule import Limit, Rule
from edgepose.networks.keypoint_names import COCO_PERSON
from edgepose.types import Float64Array

DEGREES = 180 / np.pi
# parts of the body on the left and on the right, from where to where; arms and legs side by side in this order
_PARTS = {
    "torso": ("hip", "shoulder"),
    "leg": ("hip", "ankle"),
    "thigh": ("hip", "knee"),
    "shank": ("knee", "ankle"),
    "upper_arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "arm": ("shoulder", "wrist"),
}
_PAIRS = [(f"{side}_{a}", f"{side}_{b}") for a, b in _PARTS.values() for side in ("left", "right")]
_ACROSS = [(f"left_{part}", f"right_{part}") for part in ("shoulder", "wrist")]
_TRUNK = ("left_hip", "left_hip")  # a place for the mean of both sides of the torso
_ENDS = np.array([COCO_PERSON.index(p[i]) for i in (0, 1) for p in (*_PAIRS, *_ACROSS, _TRUNK)])
_SEGMENTS = len(_ENDS) // 2
_TORSO, _LEG, _THIGH, _SHANK, _UPPER, _FORE, _ARM = (
    slice(2 * i, 2 * i + 2) for i in range(len(_PARTS))
)
_SHOULDERS, _WRISTS, _WHOLE = 14, 15, 16
# how many of it make a torso, in an adult of usual proportions; 0 = the part says nothing of the size
_SHARE = np.repeat([1.0, 0.0, 1.15, 1.15, 1.5, 1.9, 0.0, 1.3], [2, 2, 2, 2, 2, 2, 2, 1])[:, None]

MEASURES = (
    "torso_tilt",  # of the torso against upright: 0 upright, 90 lying, 180 upside down
    "leg_drop",  # how far the lower ankle is below its hip
    "thigh_drop_most",  # how far the knee is below its hip, of the leg that hangs more
    "thigh_drop",  # mean of both
    "left_forearm", "right_forearm",  # direction of the forearm: 0 up, 90 level, 180 down
    "left_arm", "right_arm",  # direction from shoulder to wrist: 0 up, 90 level, 180 down
    "left_elbow", "right_elbow",  # angle: 180 straight
    "left_rise", "right_rise",  # how far the wrist is above its shoulder
    "left_reach", "right_reach",  # distance from shoulder to wrist
    "facing",  # width of the shoulders
    "uncrossed",  # how far the wrists lie apart as the shoulders do; below 0 where they have changed sides
    "knee_most",  # angle of the straighter knee: 180 straight
    "knee_least",  # angle of the more bent knee
    "elbow_most",  # angle of the straighter elbow
    "rise_least",  # rise of the lower wrist
    "rise_most",  # rise of the higher wrist
    "thigh_share",  # part of the leg's drop that is the thigh's, of the leg where it is larger: half of a straight leg
    "thigh_most",  # direction of the thigh that hangs more: 90 level, 180 down
)  # fmt: skip


def measures(points: Float64Array) -> Float64Array:
    """Measures (N, M) of poses: points (N, 17, 2) in COCO's order, image pixels, NaN = missing."""
    # people in the last dimension: the rows of numbers below are one operation for all of them
    ends = points.T.take(_ENDS, axis=1)
    parts = ends[:, _SEGMENTS:] - ends[:, :_SEGMENTS]
    parts[:, _WHOLE] = _both(parts[:, 0], parts[:, 1])
    across, down = parts
    length = np.hypot(across, down)
    unit = np.fmax.reduce(length[:_WRISTS] * _SHARE)
    unit[~(unit > 0)] = np.nan
    drop, far = down / unit, length / unit
    heading = np.arctan2(across, -down) * DEGREES
    aim = np.abs(heading)
    limbs = heading[_THIGH.start : _FORE.stop].reshape(2, 2, 2, -1)  # legs and arms; upper, lower
    angle = np.abs(180.0 - np.abs(limbs[:, 0] - limbs[:, 1]))
    hang = drop[_LEG.start : _THIGH.stop].reshape(2, 2, -1)
    out = np.empty((len(MEASURES), len(points)))
    out[0] = aim[_WHOLE]
    np.fmax(hang[:, 0], hang[:, 1], out=out[1:3])
    out[3] = _both(hang[1, 0], hang[1, 1])
    out[4:8] = aim[_FORE.start : _ARM.stop]
    out[8:10] = angle[1]
    np.negative(drop[_ARM], out=out[10:12])
    out[12:15] = far[_ARM.start : _WRISTS]
    along = parts[:, _SHOULDERS] * parts[:, _WRISTS]
    out[15] = (along[0] + along[1]) / (length[_SHOULDERS] * unit)
    np.fmax(angle[0, 0], angle[0, 1], out=out[16])
    np.fmin(angle[0, 0], angle[0, 1], out=out[17])
    np.maximum(out[8], out[9], out=out[18])
    np.minimum(out[10], out[11], out=out[19])
    np.fmax(out[10], out[11], out=out[20])
    # of a leg that hangs
    np.fmax.reduce(hang[1] / np.where(hang[0] > 0.2, hang[0], np.nan), out=out[21])
    np.fmax(aim[_THIGH.start], aim[_THIGH.start + 1], out=out[22])
    return np.transpose(out)


def _both(left: Float64Array, right: Float64Array) -> Float64Array:
    """The mean of both sides, or the side that is there."""
    # fmax and fmin take the one that is a number, and both where both are
    mean: Float64Array = (np.fmax(left, right) + np.fmin(left, right)) * 0.5
    return mean


def _up(side: str) -> tuple[Limit, ...]:
    """A hand is up: the wrist is about as high as the eyes, and the forearm points up."""
    return (
        Limit(f"{side}_rise", 0.15, 0.55),
        Limit(f"{side}_forearm", 80, 50),
        Limit("torso_tilt", 70, 50, True),
    )


def _stretched(side: str, other: str) -> tuple[tuple[Limit, ...], ...]:
    """An arm is stretched out about level while the other hangs, or is bent."""
    out = (
        Limit(f"{side}_elbow", 130, 160),
        Limit(f"{side}_reach", 0.6, 0.9),
        Limit(f"{side}_arm", 50, 70),
        Limit(f"{side}_arm", 125, 105),
    )
    hangs, bent = Limit(f"{other}_arm", 110, 140, True), Limit(f"{other}_reach", 1.05, 0.75, True)
    return (*out, hangs), (*out, bent)


FALLEN = Rule(
    "fallen",
    "Lies for two seconds or longer, and was upright no more than 1.6 seconds before it lay.",
    (),
    memory=5.0,
)
_UPRIGHT = Limit("torso_tilt", 55, 35)
RULES = (
    Rule(
        "hands_up",
        "Both wrists are about as high as the eyes or higher, and the forearms point up.",
        ((*_up("left"), *_up("right")),),
    ),
    Rule("left_hand_up", "The left hand alone is up.", (_up("left"),), unless=("hands_up",)),
    Rule("right_hand_up", "The right hand alone is up.", (_up("right"),), unless=("hands_up",)),
    Rule(
        "arms_crossed",
        "Seen from the front or behind, both elbows are bent and the wrists have changed sides, below the shoulders.",
        (
            (
                Limit("facing", 0.3, 0.5),
                Limit("uncrossed", 0.0, -0.3),
                Limit("elbow_most", 130, 100),
                Limit("rise_most", 0.0, -0.2),
                Limit("rise_least", -1.2, -0.9),
            ),
        ),
    ),
    Rule(
        "pointing",
        "One arm is straight and between 30 degrees above level and 25 below; the other one is not stretched.",
        (*_stretched("left", "right"), *_stretched("right", "left")),
    ),
    Rule(
        "leaning",
        "The torso leans by 25 degrees or more over legs that stand.",
        ((Limit("torso_tilt", 18, 32), Limit("thigh_drop_most", 0.5, 0.7)),),
    ),
    Rule(
        "lying",
        "The torso is nearer to level than to upright, and the legs do not hang down from it.",
        (
            (Limit("torso_tilt", 50, 70), Limit("leg_drop", 1.0, 0.6)),
            (
                Limit("torso_tilt", 50, 70),
                Limit("thigh_drop", 0.7, 0.4),
                Limit("leg_drop", 1.0, 0.6, True),
            ),
        ),
        memory=3.0,
    ),
    Rule(
        "crouching",
        "The torso is upright or leans forward, a knee is strongly bent, the hips are low above the ankles.",
        (
            (
                Limit("torso_tilt", 75, 55),
                Limit("knee_least", 110, 80),
                Limit("leg_drop", 0.9, 0.7),
                Limit("leg_drop", 0.2, 0.35),
                Limit("thigh_drop", 0.6, 0.4),
            ),
        ),
        unless=("lying",),
    ),
    Rule(
        "sitting",
        "The torso is upright, and the thighs are level, or they look shorter than the shanks and the feet are not far below.",
        (
            (
                Limit("torso_tilt", 65, 45),
                Limit("thigh_drop_most", 0.7, 0.5),
                Limit("thigh_share", 0.46, 0.38),
                Limit("leg_drop", 1.35, 1.1),
            ),
            (
                Limit("torso_tilt", 65, 45),
                Limit("thigh_most", 130, 115),
                Limit("leg_drop", 1.35, 1.1, True),
            ),
        ),
        unless=("lying", "crouching"),
    ),
    Rule(
        "standing",
        "The torso is upright, a leg hangs straight down from it.",
        (
            (
                _UPRIGHT,
                Limit("thigh_drop_most", 0.45, 0.65),
                Limit("knee_most", 120, 150, True),
                Limit("leg_drop", 0.9, 1.2, True),
            ),
            # seen from above, legs look short, but thigh and shank alike
            (
                _UPRIGHT,
                Limit("thigh_most", 145, 165),
                Limit("thigh_share", 0.36, 0.44),
                Limit("knee_most", 140, 165),
                Limit("leg_drop", 0.5, 0.8),
            ),
        ),
        unless=("lying", "crouching", "sitting"),
    ),
)
