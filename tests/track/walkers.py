"""Stick figures that walk: synthetic films whose every person is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.geometry import keypoints_box
from edgepose.networks.topology import Topology
from edgepose.track.tracker import Tracker
from edgepose.types import Pose

# a figure of height 1 standing on (0, 0), y up
BODY = {
    "nose": (0.00, 0.92),
    "left_eye": (0.02, 0.94),
    "right_eye": (-0.02, 0.94),
    "left_ear": (0.04, 0.93),
    "right_ear": (-0.04, 0.93),
    "left_shoulder": (0.11, 0.82),
    "right_shoulder": (-0.11, 0.82),
    "left_elbow": (0.14, 0.65),
    "right_elbow": (-0.14, 0.65),
    "left_wrist": (0.15, 0.50),
    "right_wrist": (-0.15, 0.50),
    "left_hip": (0.08, 0.52),
    "right_hip": (-0.08, 0.52),
    "left_knee": (0.08, 0.28),
    "right_knee": (-0.08, 0.28),
    "left_ankle": (0.08, 0.03),
    "right_ankle": (-0.08, 0.03),
    "neck": (0.00, 0.82),
}
NAMES = tuple(BODY)
TOPOLOGY = Topology("person", NAMES, ())
SHAPE = np.array(list(BODY.values())) * (1, -1)
# how far each keypoint swings to and fro in a step: arms and legs, left against right
SWING = np.array(
    [
        (0.14 if "ankle" in n else 0.08 if "wrist" in n else 0.06 if "knee" in n else 0.0)
        * (1 if "left" in n else -1)
        for n in NAMES
    ]
)


@dataclass
class Walker:
    """A person.

    Attributes:
        path: time in seconds to (x, y) of the feet, or None while out of the picture.
        height: in pixels.
        hidden: spans of time (from, to) in which nothing of the person is detected.
        score: of the pose.
    """

    path: Callable[[float], tuple[float, float] | None]
    height: float = 200.0
    hidden: tuple[tuple[float, float], ...] = ()
    score: float = 0.6

    def points(self, t: float) -> np.ndarray | None:
        """The true keypoints (K, 2) at a time, None where out of the picture or hidden."""
        at = self.path(t)
        if at is None or any(start <= t < end for start, end in self.hidden):
            return None
        swing = SWING * np.sin(2 * np.pi * 0.9 * t + self.height)
        return np.array(at) + self.height * (SHAPE + np.stack([swing, 0 * swing], axis=1))


def straight(
    start: tuple[float, float], velocity: tuple[float, float], begin: float = 0.0, end: float = 1e9
) -> Callable[[float], tuple[float, float] | None]:
    """A path with constant velocity in pixels a second between two times."""

    def path(t: float) -> tuple[float, float] | None:
        if not begin <= t < end:
            return None
        return (start[0] + velocity[0] * (t - begin), start[1] + velocity[1] * (t - begin))

    return path


def make_pose(
    points: np.ndarray, score: float = 0.6, seen: np.ndarray | None = None, number: int = 0
) -> Pose:
    """A pose with these keypoints, of which only the `seen` are detected."""
    rows = np.full((len(points), 3), np.nan, np.float32)
    rows[:, 2] = 0
    seen = np.ones(len(points), bool) if seen is None else seen
    rows[seen, :2] = points[seen]
    rows[seen, 2] = score
    return Pose(number, rows, NAMES, (), score, keypoints_box(rows))


def film(
    walkers: Sequence[Walker],
    seconds: float,
    fps: float = 30.0,
    *,
    noise: float = 0.0,
    missing: float = 0.0,
    missed: float = 0.0,
    seed: int = 1,
) -> Iterator[tuple[float, list[int], list[Pose]]]:
    """Frames as (time, person of each pose, poses), the poses in a random order.

    Args:
        noise: standard deviation of keypoints, in heights.
        missing: chance of each keypoint not to be detected.
        missed: chance of each pose not to be detected.
    """
    rng = np.random.default_rng(seed)
    for frame in range(round(seconds * fps)):
        t = frame / fps
        people: list[int] = []
        poses: list[Pose] = []
        for who in rng.permutation(len(walkers)).tolist():
            points = walkers[who].points(t)
            if points is None or rng.random() < missed:
                continue
            points = points + rng.normal(0, noise * walkers[who].height, points.shape)
            seen = rng.random(len(points)) >= missing
            people.append(who)
            poses.append(make_pose(points, walkers[who].score, seen, len(poses)))
        yield t, people, poses


def follow(
    tracker: Tracker, frames: Iterator[tuple[float, list[int], list[Pose]]]
) -> dict[int, list[int | None]]:
    """The track ids of every person, frame by frame in which the person was detected."""
    ids: dict[int, list[int | None]] = {}
    for t, people, poses in frames:
        tracked = tracker.update(poses, t)
        assert len({p.track for p in tracked if p.track}) == sum(
            p.track is not None for p in tracked
        )
        for who, pose in zip(people, tracked, strict=True):
            ids.setdefault(who, []).append(pose.track)
    return ids
