"""A hand in space: bones and joints that are bent, turned, seen by a camera, and found with some error."""

from __future__ import annotations

import numpy as np

from edgepose.networks.topology import load_topology
from edgepose.types import Float64Array, Pose

NAMES = load_topology("mediapipe_hand").keypoints
# of the index, middle, ring and little finger: place of the root, fan in degrees, lengths of the bones; in palms
ROOTS = np.array([[-0.28, 0.93, 0.0], [-0.03, 1.0, 0.0], [0.2, 0.93, 0.0], [0.4, 0.8, 0.0]])
FAN = np.array([-8.0, -1.0, 6.0, 14.0])
BONES = np.array([[0.46, 0.27, 0.22], [0.5, 0.31, 0.23], [0.46, 0.29, 0.23], [0.37, 0.22, 0.21]])
STRAIGHT, FOLDED = (5.0, 8.0, 5.0), (80.0, 100.0, 55.0)
HALF = (40.0, 60.0, 30.0)
# bends of the four fingers, and where the thumb points: out to the side, in over the palm
SIGNS: dict[str, tuple[tuple[tuple[float, ...], ...], str]] = {
    "palm": ((STRAIGHT,) * 4, "out"),
    "fist": ((FOLDED,) * 4, "in"),
    "two": ((STRAIGHT, STRAIGHT, FOLDED, FOLDED), "in"),
    "call": ((FOLDED, FOLDED, FOLDED, STRAIGHT), "out"),
}
OTHERS: dict[str, tuple[tuple[tuple[float, ...], ...], str]] = {
    "claw": ((HALF,) * 4, "out"),
    "one": ((STRAIGHT, FOLDED, FOLDED, FOLDED), "in"),
    "middle and little": ((FOLDED, STRAIGHT, FOLDED, STRAIGHT), "in"),
    "three": ((FOLDED, STRAIGHT, STRAIGHT, STRAIGHT), "in"),
}
THUMBS = {
    "out": np.array(
        [[-0.25, 0.2, 0.05], [-0.5, 0.45, 0.1], [-0.72, 0.62, 0.12], [-0.93, 0.78, 0.14]]
    ),
    "in": np.array([[-0.25, 0.2, 0.05], [-0.38, 0.5, 0.2], [-0.2, 0.68, 0.33], [0.03, 0.74, 0.36]]),
}


def turn(yaw: float, pitch: float, roll: float) -> Float64Array:
    """A rotation in space, degrees."""
    (a, b, c) = np.radians([yaw, pitch, roll])
    y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ x @ y


def skeleton(
    sign: tuple[tuple[tuple[float, ...], ...], str], random: np.random.Generator
) -> Float64Array:
    """(21, 3) in palms: y up along the palm, z out of it; joints bent a little otherwise each time."""
    bends, thumb = sign
    points = np.zeros((21, 3))
    points[1:5] = THUMBS[thumb] + random.normal(0, 0.03, (4, 3))
    for finger in range(4):
        at = ROOTS[finger] * random.normal(1, 0.03)
        points[5 + 4 * finger] = at
        fan = np.radians(FAN[finger] + random.normal(0, 3))
        bent = 0.0
        for joint in range(3):
            bent += bends[finger][joint] + random.normal(0, 8)
            a = np.radians(bent)
            away = np.array([np.sin(fan) * np.cos(a), np.cos(fan) * np.cos(a), np.sin(a)])
            at = at + BONES[finger][joint] * random.normal(1, 0.04) * away
            points[6 + 4 * finger + joint] = at
    return points


def seen(
    name: str,
    random: np.random.Generator,
    *,
    angle: float = 25,
    noise: float = 0.03,
    track: int | None = None,
) -> Pose:
    """A hand that makes a sign, left or right, turned by about so many degrees, as a network finds it."""
    points = skeleton({**SIGNS, **OTHERS}[name], random)
    points = points @ turn(*random.normal(0, angle, 3)).T
    if random.random() < 0.5:
        points[:, 0] *= -1
    distance = random.uniform(4, 8)  # palms from the camera
    flat = points[:, :2] * [1, -1] / (distance - points[:, 2:]) * distance
    flat += random.normal(0, noise, flat.shape)
    size = random.uniform(30, 120)
    xy = random.uniform(100, 500, 2) + size * flat
    rows = np.concatenate([xy, np.full((21, 1), 0.9)], axis=1).astype(np.float32)
    low, high = rows[:, :2].min(axis=0).tolist(), rows[:, :2].max(axis=0).tolist()
    return Pose(0, rows, NAMES, score=0.9, box=(*low, *high), track=track)
