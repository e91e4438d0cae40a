"""Gestures and postures of a person, from COCO's 17 keypoints or those of them that were found.

Lengths are in body lengths: that of the torso from hips to shoulders. A part that points to the camera looks
short, so the unit is the longest of several parts, each times its usual share of a torso. Up is up in the
picture: a camera must not be turned. All measures are the same at every place and size, and in a mirrored
picture those of left and right are exchanged.
"""

from __future__ import annotations

import re

import numpy as np

from edgepose.gestures.rule import Limit, Rule
from edgepose.networks.keypoint_names import COCO_PERSON
from edgepose.types import Float64Array

DEGREES = 180 / np.pi
# parts of the body on the left and on the right, from where to where; arms and legs side by side in this order
_LIMBS = {
    "torso": ("hip", "shoulder"),
    "leg": ("hip", "ankle"),
    "thigh": ("hip", "knee"),
    "shank": ("knee", "ankle"),
    "upper_arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "arm": ("shoulder", "wrist"),
}
_SIDES = ("left", "right")
_PAIRS = {
    f"{side}_{part}": (f"{side}_{a}", f"{side}_{b}")
    for part, (a, b) in _LIMBS.items()
    for side in _SIDES
}
# the trunk: a place for both sides of the torso together
_PAIRS |= {"trunk": ("left_hip", "left_hip"), "shoulders": ("left_shoulder", "right_shoulder")}
_PAIRS |= {"wrists": ("left_wrist", "right_wrist")}
_NAMES = tuple(_PAIRS)
_PARTS = len(_NAMES)
_ENDS = np.array([COCO_PERSON.index(pair[i]) for i in (0, 1) for pair in _PAIRS.values()])
_THIGH, _ARM, _TRUNK, _SHOULDERS, _WRISTS = (
    _NAMES.index(name) for name in ("left_thigh", "left_arm", "trunk", "shoulders", "wrists")
)
_AIMED = slice(_THIGH, _TRUNK + 1)  # parts whose direction counts
# how many of it make a torso, in an adult of usual proportions; the others say nothing of the size
_TORSOS = {
    "torso": 1.0,
    "thigh": 1.15,
    "shank": 1.15,
    "upper_arm": 1.5,
    "forearm": 1.9,
    "shoulders": 1.3,
}
_SHARE = np.array([[_TORSOS.get(re.sub("^(left|right)_", "", name), 0.0)] for name in _NAMES])

MEASURES = (
    *(f"{part}_drop" for part in _NAMES),  # how far its end is below its start, in body lengths
    *(f"{part}_length" for part in _NAMES),  # in body lengths
    # direction against up in degrees: 0 up, 90 level, 180 down; that of the trunk is how far it is tilted
    *(f"{part}_aim" for part in _NAMES[_AIMED]),
    "left_knee", "right_knee", "left_elbow", "right_elbow",  # angle: 180 straight
    "leg_drop", "thigh_drop_most",  # of the leg that hangs more
    "thigh_drop",  # mean of both
    "left_rise", "right_rise",  # how far the wrist is above its shoulder
    "rise_least",  # of the lower wrist
    "rise_most",  # of the higher wrist
    "uncrossed",  # how far the wrists lie apart as the shoulders do; below 0 where they have changed sides
    "knee_most",  # angle of the straighter knee
    "knee_least",  # angle of the more bent knee
    "elbow_most",  # angle of the straighter elbow
    "thigh_share",  # part of the leg's drop that is the thigh's, of the leg where it is larger: half of a straight leg
    "thigh_most",  # aim of the thigh that hangs more
)  # fmt: skip
_AT = {name: row for row, name in enumerate(MEASURES)}


def measures(points: Float64Array) -> Float64Array:
    """Measures (N, M) of poses: points (N, 17, 2) in COCO's order, image pixels, NaN = missing."""
    # people in the last dimension: the rows of numbers below are one operation for all of them, and where they
    # come to stand side by side, one operation does for several rows
    ends = points.T.take(_ENDS, axis=1)
    parts, out = np.empty((3, _PARTS, len(points))), np.empty((len(MEASURES), len(points)))
    np.subtract(ends[:, _PARTS:], ends[:, :_PARTS], out=parts[:2])
    one, other = parts[:2, 0], parts[:2, 1]
    # fmax and fmin take the one that is a number, and both where both are
    np.add(np.fmax(one, other), np.fmin(one, other), out=parts[:2, _TRUNK])
    across, down, length = parts
    np.hypot(across, down, out=length)
    unit = np.fmax.reduce(length * _SHARE)
    np.copyto(unit, np.nan, where=unit <= 0)
    np.divide(parts[1:], unit, out=out[: 2 * _PARTS].reshape(2, _PARTS, -1))
    heading = np.arctan2(across[_AIMED], -down[_AIMED])
    heading *= DEGREES
    aim = np.abs(heading, out=out[2 * _PARTS : _AT["left_knee"]])
    limbs = heading[:8].reshape(2, 2, 2, -1)  # legs and arms; upper, lower; left, right
    angle = limbs[:, 0] - limbs[:, 1]
    np.subtract(180.0, np.abs(angle, out=angle), out=angle)
    (left_knee, right_knee), elbows = np.abs(
        angle, out=out[_AT["left_knee"] : _AT["leg_drop"]].reshape(2, 2, -1)
    )
    hang = out[_THIGH - 2 : _THIGH + 2].reshape(2, 2, -1)  # legs and thighs; left, right
    np.fmax(hang[:, 0], hang[:, 1], out=out[_AT["leg_drop"] : _AT["thigh_drop"]])
    np.add(out[_AT["thigh_drop_most"]], np.fmin(hang[1, 0], hang[1, 1]), out=out[_AT["thigh_drop"]])
    out[_AT["thigh_drop"]] *= 0.5
    rise = np.negative(out[_ARM : _ARM + 2], out=out[_AT["left_rise"] : _AT["rise_least"]])
    np.minimum(rise[0], rise[1], out=out[_AT["rise_least"]])
    np.fmax(rise[0], rise[1], out=out[_AT["rise_most"]])
    along = parts[:2, _SHOULDERS] * parts[:2, _WRISTS]
    np.divide(along[0] + along[1], length[_SHOULDERS] * unit, out=out[_AT["uncrossed"]])
    np.fmax(left_knee, right_knee, out=out[_AT["knee_most"]])
    np.fmin(left_knee, right_knee, out=out[_AT["knee_least"]])
    np.maximum(elbows[0], elbows[1], out=out[_AT["elbow_most"]])
    # of a leg that hangs
    share = hang[1] / np.where(hang[0] > 0.2, hang[0], np.nan)
    np.fmax(share[0], share[1], out=out[_AT["thigh_share"]])
    np.fmax(aim[0], aim[1], out=out[_AT["thigh_most"]])
    return np.transpose(out)


def _up(side: str) -> tuple[Limit, ...]:
    """A hand is up: the wrist is about as high as the eyes, and the forearm points up."""
    return (
        Limit(f"{side}_rise", 0.15, 0.55),
        Limit(f"{side}_forearm_aim", 70, 40),
        Limit("trunk_aim", 70, 50, True),
    )


def _stretched(side: str, other: str) -> tuple[tuple[Limit, ...], ...]:
    """An arm is stretched out about level while the other hangs, or is bent."""
    out = (
        Limit(f"{side}_elbow", 130, 160),
        Limit(f"{side}_arm_length", 0.6, 0.9),
        Limit(f"{side}_arm_aim", 50, 70),
        Limit(f"{side}_arm_aim", 120, 100),
        Limit("trunk_aim", 40, 25, True),
    )
    hangs, bent = (
        Limit(f"{other}_arm_aim", 130, 155, True),
        Limit(f"{other}_arm_length", 0.8, 0.55, True),
    )
    return (*out, hangs), (*out, bent)


FALLEN = Rule(
    "fallen",
    "Lies for two seconds or longer, and was upright no more than 1.6 seconds before it lay.",
    (),
    memory=5.0,
)
_UPRIGHT = Limit("trunk_aim", 55, 35)
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
                Limit("shoulders_length", 0.3, 0.5),
                Limit("uncrossed", 0.0, -0.3),
                Limit("elbow_most", 130, 100),
                Limit("rise_most", 0.0, -0.2),
                Limit("rise_least", -1.2, -0.9),
            ),
        ),
    ),
    Rule(
        "pointing",
        "The torso is upright, one arm straight and between 30 degrees above level and 20 below; the other one hangs or is strongly bent.",
        (*_stretched("left", "right"), *_stretched("right", "left")),
    ),
    Rule(
        "leaning",
        "The torso leans by 25 degrees or more over legs that stand.",
        ((Limit("trunk_aim", 18, 32), Limit("thigh_drop_most", 0.5, 0.7)),),
    ),
    Rule(
        "lying",
        "The torso is nearer to level than to upright, and the legs do not hang down from it.",
        (
            (Limit("trunk_aim", 50, 70), Limit("leg_drop", 1.0, 0.6)),
            (
                Limit("trunk_aim", 50, 70),
                Limit("thigh_drop", 0.7, 0.4),
                Limit("leg_drop", 1.0, 0.6, True),
            ),
        ),
        memory=3.0,
    ),
    Rule(
        "crouching",
        "The torso is upright or leans forward, a knee is strongly bent and above the feet, the hips are low above the ankles.",
        (
            (
                Limit("trunk_aim", 75, 55),
                Limit("knee_least", 110, 80),
                Limit("leg_drop", 0.9, 0.7),
                Limit("leg_drop", 0.2, 0.35),
                Limit("thigh_drop", 0.6, 0.4),
                # of who kneels, the knees are as low as the feet
                Limit("thigh_share", 0.72, 0.58, True),
            ),
        ),
        unless=("lying",),
    ),
    Rule(
        "sitting",
        "The torso is upright, and the thighs are level, or they look shorter than the shanks, or short where the feet are hidden.",
        (
            (
                Limit("trunk_aim", 65, 45),
                Limit("thigh_drop_most", 0.7, 0.5),
                Limit("thigh_share", 0.46, 0.38),
                Limit("leg_drop", 1.5, 1.25),
            ),
            (
                Limit("trunk_aim", 65, 45),
                Limit("thigh_most", 130, 115),
                Limit("leg_drop", 1.35, 1.1, True),
            ),
            # the thighs point to the camera, and the feet are hidden
            (
                Limit("trunk_aim", 40, 25),
                Limit("thigh_drop_most", 0.55, 0.4),
                Limit("thigh_share", 0.46, 0.38, True),
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
