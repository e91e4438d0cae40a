"""A stick figure and a hand with joints that can be moved: poses whose gestures are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgepose.networks.topology import load_topology as _load
from edgepose.types import Pose

Points = dict[str, tuple[float, float]]
topology_of = cache(_load)
BODIES = ("coco_17", "human_pose", "openpose_18")
HANDS = ("mediapipe_hand", "hand_pose")


def step(at: tuple[float, float], angle: float, length: float) -> tuple[float, float]:
    """The end of a bone; angle in degrees: 0 up, 90 to the right in the picture, 180 down."""
    a = math.radians(angle)
    return at[0] + length * math.sin(a), at[1] - length * math.cos(a)


def figure(
    torso: float = 0,
    thighs: tuple[float, float] = (180, 180),
    shanks: tuple[float, float] = (180, 180),
    upper: tuple[float, float] = (170, 190),
    fore: tuple[float, float] = (175, 185),
    thigh_length: float = 0.85,
) -> Points:
    """A person seen from the front (left is right in the picture), lengths in torsos; angles as `step`."""
    hips = {"left": step((0, 0), torso + 90, 0.2), "right": step((0, 0), torso - 90, 0.2)}
    chest = step((0, 0), torso, 1.0)
    shoulders = {"left": step(chest, torso + 90, 0.35), "right": step(chest, torso - 90, 0.35)}
    found: Points = {"nose": step(chest, torso, 0.45), "neck": chest}
    for side, turn in (("left", 90), ("right", -90)):
        i = 0 if side == "left" else 1
        found[f"{side}_eye"] = step(step(chest, torso, 0.5), torso + turn, 0.05)
        found[f"{side}_ear"] = step(step(chest, torso, 0.45), torso + turn, 0.12)
        found[f"{side}_shoulder"], found[f"{side}_hip"] = shoulders[side], hips[side]
        found[f"{side}_elbow"] = step(shoulders[side], upper[i], 0.65)
        found[f"{side}_wrist"] = step(found[f"{side}_elbow"], fore[i], 0.5)
        found[f"{side}_knee"] = step(hips[side], thighs[i], thigh_length)
        found[f"{side}_ankle"] = step(found[f"{side}_knee"], shanks[i], 0.85)
    return found


FIGURES: dict[str, Points] = {
    "standing": figure(),
    "walking": figure(thighs=(160, 200), shanks=(185, 215)),
    "hands_up": figure(upper=(60, 300), fore=(10, 350)),
    "left_hand_up": figure(upper=(20, 190), fore=(5, 185)),
    "right_hand_up": figure(upper=(170, 300), fore=(175, 350)),
    "arms_crossed": figure(upper=(180, 180), fore=(285, 75)),
    "pointing": figure(upper=(90, 190), fore=(90, 185)),
    "sitting": figure(thighs=(100, 100), shanks=(180, 180)),
    "sitting to the camera": figure(thigh_length=0.3),
    "crouching": figure(torso=20, thighs=(80, 80), shanks=(235, 235)),
    "lying": figure(
        torso=90, thighs=(270, 270), shanks=(270, 270), upper=(270, 270), fore=(270, 270)
    ),
    "leaning": figure(torso=40),
}


def hand(straight: str = "", *, thumb: str = "in", turn: float = 0) -> Points:
    """A left hand seen from its palm, fingers up, in palms; `straight` names fingers by their first letters.

    Args:
        thumb: "out", "in" (at the fingers) or "tip" (at the tip of the index finger). turn: degrees.
    """
    found: Points = {"wrist": (0.0, 0.0)}
    roots = {"index": (-0.3, -14), "middle": (-0.08, 2), "ring": (0.14, 4), "little": (0.34, 12)}
    for finger, (x, fan) in roots.items():
        root = (x, -math.sqrt(1 - x * x))
        bends = (fan, fan, fan) if finger[0] in straight else (fan, fan + 170, fan + 190)
        lengths = (0.45, 0.28, 0.22) if finger[0] in straight else (0.4, 0.25, 0.2)
        at, names = root, ("pip", "dip", "tip")
        found[f"{finger}_finger_mcp"] = root
        for name, angle, length in zip(names, bends, lengths, strict=True):
            at = step(at, angle, length)
            found[f"{finger}_finger_{name}"] = at
    cmc = (-0.3, -0.25)
    ends = {
        "out": ((-0.6, -0.5), (-0.85, -0.75), (-1.05, -1.0)),
        "in": ((-0.5, -0.6), (-0.45, -0.9), (-0.2, -1.15)),
        "tip": ((-0.6, -0.6), (-0.7, -1.0), found["index_finger_tip"]),
    }
    found["thumb_cmc"] = cmc
    found |= dict(zip(("thumb_mcp", "thumb_ip", "thumb_tip"), ends[thumb], strict=True))
    a = math.radians(turn)
    return {
        name: (x * math.cos(a) - y * math.sin(a), x * math.sin(a) + y * math.cos(a))
        for name, (x, y) in found.items()
    }


SIGNS: dict[str, Points] = {
    "open_hand": hand("imrl", thumb="out"),
    "fist": hand(),
    "pointing": hand("i"),
    "victory": hand("im"),
    "pinch": hand("imrl", thumb="tip"),
    "thumb_up": hand(thumb="out", turn=75),
}


def renamed(points: Points, topology: str) -> Points:
    """Points of a hand under the names of trt_pose's, where the count goes from the tip."""
    if topology != "hand_pose":
        return points
    joints = {"cmc": 4, "mcp": 4, "pip": 3, "dip": 2, "tip": 1}
    thumb = {"cmc": 4, "mcp": 3, "ip": 2, "tip": 1}
    found = {}
    for name, at in points.items():
        finger, _, joint = name.rpartition("_")
        if name == "wrist":
            found["palm"] = at
        elif finger == "thumb":
            found[f"thumb_{thumb[joint]}"] = at
        else:
            found[f"{finger.replace('little', 'baby')}_{joints[joint]}"] = at
    return found


def pose(
    points: Mapping[str, tuple[float, float]],
    topology: str = "coco_17",
    *,
    size: float = 100,
    at: tuple[float, float] = (300, 300),
    missing: tuple[str, ...] = (),
    track: int | None = None,
) -> Pose:
    """A pose of these points in a topology; `size` pixels a unit."""
    names = topology_of(topology).keypoints
    rows: NDArray[np.float32] = np.array(
        [
            (np.nan, np.nan, 0)
            if name in missing or name not in points
            else (at[0] + size * points[name][0], at[1] + size * points[name][1], 0.9)
            for name in names
        ],
        np.float32,
    )
    seen = rows[rows[:, 2] > 0]
    low, high = (
        (seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)) if len(seen) else ((0, 0), (0, 0))
    )
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return Pose(0, rows, names, score=0.9, box=box, track=track)
