"""What another form of a network loses: poses, places of keypoints, scores; no labels are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.eval.run import PoseFinder
from edgepose.timing import Stopwatch
from edgepose.types import Float32Array, Frame, Pose

SURE = 0.5  # of the best score of all poses: these are to be found again, and their keypoints alike
FAR = 0.2  # of a person's size: a pose farther off is somebody else
MOST_LOST, MOST_MOVED = 0.05, 0.02  # of the poses; median of a person's size


@dataclass(frozen=True)
class Loss:
    """How the poses of one network differ from those of another that is taken for right.

    Attributes:
        poses: the surer half of those that the right one finds.
        lost: how many of them the other finds nowhere near.
        moved: median distance of the others' keypoints, as a part of the person's size.
        changed: mean change of their scores.
    """

    poses: int
    lost: int
    moved: float
    changed: float

    @property
    def too_much(self) -> bool:
        """True where such a network should not be used without a look."""
        return self.lost > MOST_LOST * self.poses or self.moved > MOST_MOVED

    def __str__(self) -> str:
        return (
            f"{self.lost} of {self.poses} poses lost, keypoints move by {self.moved:.2%} of a "
            f"person's size, scores change by {self.changed:+.3f}"
        )


def loss(right: PoseFinder, other: PoseFinder, frames: Iterable[Frame]) -> Loss:
    """Run both on the frames and compare; frames are asked for one by one."""
    pairs = [
        (right.estimate([f], Stopwatch())[0], other.estimate([f], Stopwatch())[0]) for f in frames
    ]
    best = max((p.score for poses, _ in pairs for p in poses), default=0.0)
    lost, moved, changed = 0, [], []
    for poses, found in pairs:
        for pose in (p for p in poses if p.score >= SURE * best):
            apart, same = nearest(pose, found)
            if same is None or apart > FAR:
                lost += 1
            else:
                moved.append(apart)
                changed.append(same.score - pose.score)
    middle = float(np.median(moved)) if moved else 0.0
    mean = float(np.mean(changed)) if changed else 0.0
    return Loss(lost + len(moved), lost, middle, mean)


def nearest(pose: Pose, found: Sequence[Pose]) -> tuple[float, Pose | None]:
    """The pose that lies nearest, and how far its keypoints are, as a part of the size of `pose`."""
    size = max(pose.box[2] - pose.box[0], pose.box[3] - pose.box[1], 1.0)
    rows = [(_apart(pose.points, other.points) / size, other) for other in found]
    return min(rows, key=lambda row: row[0], default=(float("inf"), None))


def _apart(one: Float32Array, other: Float32Array) -> float:
    """Median distance of the keypoints that both have, infinite where they have none in common."""
    both = (one[:, 2] > 0) & (other[:, 2] > 0)
    if not both.any():
        return float("inf")
    return float(np.median(np.linalg.norm(one[both, :2] - other[both, :2], axis=1)))
