"""Where people are expected: a top-down network then needs its detector only every few frames.

In between, the box of each person moves with the keypoints, as MediaPipe's regions and the people of rtmlib's
`det_frequency` do. The detector looks at once where that may go wrong: nobody is known for sure yet, a pose is lost
or weaker, boxes meet, or time has passed or gone back. It has to agree with what was known before it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgepose.estimators.base import Estimator
from edgepose.estimators.people import clamp_box
from edgepose.geometry import box_iou, keypoints_box
from edgepose.timing import Stopwatch
from edgepose.types import Box, Float64Array, Frame, Pose

FRESH = 0.5  # seconds for which a place is worth something
SAME = 0.3  # intersection over union of boxes of one person in two frames
MEET = 0.1  # of the smaller box: so far two may overlap
WEAKER = 0.7  # of the keypoints' scores when the detector looked
GROW = 0.05  # of its size, on each side, a box is larger than it was
REMEMBERED = 256  # of a long list of films the last ones are remembered


class _Known(NamedTuple):
    """The people of a source in its last frame.

    Attributes:
        left: frames that need no detector.
        size: (width, height) of the frame. time: its time in seconds, None for a still picture.
        poses: their poses.
        strength: (N,) sums of keypoint scores when the detector looked.
        velocity: (N, 2) pixels a second.
    """

    left: int
    size: tuple[int, int]
    time: float | None
    poses: tuple[Pose, ...]
    strength: Float64Array
    velocity: Float64Array


class Expecting:
    """Finds the poses of films and cameras with the detector in every n-th frame at least.

    Pictures without a time are looked at as they are. What is known is kept by `Frame.source`: no source sees another's.
    For one thread.

    Args:
        estimator: takes `Frame.expected`.
        every: frames from one look of the detector to the next, at most.
    """

    def __init__(self, estimator: Estimator, every: int) -> None:
        self._estimator, self._every = estimator, every
        self._known: dict[str, _Known] = {}

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame, at most one frame of each source in a call; see `Estimator.estimate`."""
        asked = [frame.expecting(self._boxes(frame)) for frame in frames]
        found = self._estimator.estimate(asked, stopwatch)
        doubts = [i for i, frame in enumerate(asked) if self._doubtful(frame, found[i])]
        if doubts:
            again = self._estimator.estimate([frames[i] for i in doubts], stopwatch)
            for i, poses in zip(doubts, again, strict=True):
                asked[i], found[i] = frames[i], poses
        return [self._remember(frame, poses) for frame, poses in zip(asked, found, strict=True)]

    def _boxes(self, frame: Frame) -> Float64Array | None:
        """Where the people of a frame are, (N, 5) xyxy and score; None = the detector has to look."""
        known, now = self._known.get(frame.source), _time(frame)
        if known is None or known.left <= 0 or known.size != (frame.width, frame.height):
            return None
        if now is None or known.time is None or not 0 <= now - known.time <= FRESH:
            return None
        rows = np.array([[*p.box, _weight(p)] for p in known.poses]).reshape(-1, 5)
        grow = GROW * (rows[:, 2:4] - rows[:, :2])
        shift = known.velocity * (now - known.time)
        rows[:, :2] += shift - grow
        rows[:, 2:4] += shift + grow
        gone = (rows[:, 2:4] <= 0) | (rows[:, :2] >= known.size)
        return None if gone.any() or _meet(rows[:, :4]) else rows

    def _doubtful(self, frame: Frame, poses: Sequence[Pose]) -> bool:
        """Whether the detector has to look after all."""
        if frame.expected is None:
            return False
        known = self._known[frame.source]
        if len(poses) < len(known.poses):
            return True
        return bool((_strength(poses) < WEAKER * known.strength).any())

    def _remember(self, frame: Frame, poses: tuple[Pose, ...]) -> tuple[Pose, ...]:
        """Keep what is known for the next frame; the poses, boxes that were only expected moved along."""
        now = _time(frame)
        if now is None:
            return poses
        known = self._known.pop(frame.source, None)
        before = _before(poses, known.poses if known else ())
        velocity = np.zeros((len(poses), 2))
        boxes = [pose.box for pose in poses]
        for i, (pose, old) in enumerate(zip(poses, before, strict=True)):
            if old is None or known is None or known.time is None:
                continue
            shift = _shift(old, pose)
            if now > known.time:
                velocity[i] = shift / (now - known.time)
            if frame.expected is not None:
                boxes[i] = _moved(old.box, shift, pose, frame)
        left, strength = self._every - 1, _strength(poses)
        if frame.expected is not None and known is not None:
            left, strength = known.left - 1, known.strength
            poses = tuple(p.with_(box=box) for p, box in zip(poses, boxes, strict=True))
        elif known is None or len(known.poses) != len(poses) or None in before:
            left = 0  # who has come or gone is looked for once more
        size = (frame.width, frame.height)
        self._known[frame.source] = _Known(left, size, now, poses, strength, velocity)
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return poses


def _time(frame: Frame) -> float | None:
    return frame.pts if frame.captured is None else frame.captured


def _strength(poses: Sequence[Pose]) -> Float64Array:
    return np.array([pose.points[:, 2].sum() for pose in poses], np.float64)


def _weight(pose: Pose) -> float:
    """The score of the box that a pose was found in: the pose's, without that of its keypoints."""
    scores = pose.points[:, 2]
    return min(1.0, pose.score * int((scores > 0).sum()) / max(float(scores.sum()), 1e-9))


def _meet(boxes: Float64Array) -> bool:
    """Whether two of boxes (N, 4) overlap by more than a part of the smaller one."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.triu(np.clip(high - low, 0, None).prod(axis=2), 1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return bool((common > MEET * np.minimum(areas[:, None], areas[None])).any())


def _before(poses: Sequence[Pose], earlier: Sequence[Pose]) -> list[Pose | None]:
    """For each pose the earlier one of the same person, None where there is none."""
    if not poses or not earlier:
        return [None] * len(poses)
    alike = box_iou(np.array([p.box for p in poses]), np.array([p.box for p in earlier]))
    best = alike.argmax(axis=1)
    mutual = alike.argmax(axis=0)[best] == np.arange(len(poses))
    sure = mutual & (alike.max(axis=1) >= SAME)
    return [earlier[j] if there else None for j, there in zip(best, sure, strict=True)]


def _shift(old: Pose, new: Pose) -> Float64Array:
    """How far (2,) somebody went: the median of the keypoints that both poses have."""
    both = (old.points[:, 2] > 0) & (new.points[:, 2] > 0)
    if not both.any():
        return np.zeros(2)
    shift: Float64Array = np.median(new.points[both, :2] - old.points[both, :2], axis=0)
    return shift.astype(np.float64)


def _moved(box: Box, shift: Float64Array, pose: Pose, frame: Frame) -> Box:
    """The box of a person who went on, with all keypoints inside."""
    old, tight = np.array(box) + np.tile(shift, 2), np.array(keypoints_box(pose.points))
    low, high = np.minimum(old[:2], tight[:2]), np.maximum(old[2:], tight[2:])
    return clamp_box([*low.tolist(), *high.tolist()], frame)
