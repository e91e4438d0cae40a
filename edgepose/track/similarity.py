"""How alike two sets of poses are: object keypoint similarity (OKS), and the overlap of boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgepose.geometry import box_iou
from edgepose.networks.keypoint_names import COCO_SIGMAS, part_name
from edgepose.types import Float64Array, Pose

# for hands and everything else
GENERIC_SIGMA = 0.08
# common keypoints below which OKS says little and boxes help out
FEW = 3


@dataclass(frozen=True)
class Bodies:
    """N poses as arrays, either detected ones or tracks moved to the present.

    Attributes:
        points: float64 (N, K, 3): x, y in image pixels and score; 0, 0, 0 where not known.
        boxes: float64 (N, 4) xyxy pixels.
        spread: float64 (N,): standard deviation in pixels of where a track is expected; 0 for
            detections.
        sizes: float64 (N,): side in pixels of a square as large as the body.
    """

    points: Float64Array
    boxes: Float64Array
    spread: Float64Array
    sizes: Float64Array

    @classmethod
    def of(cls, poses: Sequence[Pose], keypoints: int) -> Bodies:
        """Detected poses; keypoints that are not finite count as not detected."""
        points = np.zeros((len(poses), keypoints, 3))
        boxes = np.zeros((len(poses), 4))
        if poses:
            points[:] = [pose.points for pose in poses]
            boxes[:] = [pose.box for pose in poses]
        # NaN scores fail the comparison too
        seen = (points[:, :, 2] > 0) & np.isfinite(points[:, :, :2]).all(axis=2)
        points[~seen] = 0.0
        boxes[~np.isfinite(boxes).all(axis=1)] = 0.0
        return cls(points, boxes, np.zeros(len(poses)), body_sizes(boxes))

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """(N, K): which keypoints are known."""
        return self.points[:, :, 2] > 0

    def take(self, index: NDArray[np.int64]) -> Bodies:
        """Some of them."""
        return Bodies(self.points[index], self.boxes[index], self.spread[index], self.sizes[index])


# (N tracks, M detections) -> float64 (N, M), 0 = nothing in common, 1 = the same
Similarity = Callable[[Bodies, Bodies], Float64Array]


def body_sizes(boxes: Float64Array) -> Float64Array:
    """Side of a square as large as each box, at least a third of its longer side and 1 pixel."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    # someone in profile, or a straight arm, is no smaller than from the front
    sizes: Float64Array = np.maximum(np.sqrt(sides.prod(axis=1)), sides.max(axis=1, initial=0) / 3)
    return np.maximum(sizes, 1.0)


def keypoint_sigmas(names: Sequence[str]) -> Float64Array:
    """COCO's constants for the keypoints whose names are body parts, a generic one for others."""
    parts = [part_name(name).split("_")[-1] for name in names]
    return np.array([COCO_SIGMAS.get(part, GENERIC_SIGMA) for part in parts])


def box_similarity(tracks: Bodies, detections: Bodies) -> Float64Array:
    """Intersection over union of the boxes."""
    return box_iou(tracks.boxes, detections.boxes)


@dataclass(frozen=True)
class KeypointSimilarity:
    """OKS (Ronchi and Perona, "Benchmarking and error diagnosis in multi-instance pose estimation", 2017).

    Three changes for tracking: the kernel of a track is widened by how uncertain its place is (as after
    an occlusion, or at few frames a second); a mean over few common keypoints counts less; and with fewer
    than `FEW` of them the overlap of the boxes helps out, so that a back view can follow a side view.

    Args:
        sigmas: float64 (K,), see `keypoint_sigmas`.
        most: the widening is at most so many body sizes.
    """

    sigmas: Float64Array
    most: float = 0.75

    def __call__(self, tracks: Bodies, detections: Bodies) -> Float64Array:
        """Similarity (N, M) of N tracks and M detections."""
        common = tracks.seen[:, None] & detections.seen[None]
        away = tracks.points[:, None, :, :2] - detections.points[None, :, :, :2]
        squared = np.einsum("nmkd,nmkd->nmk", away, away)
        size = np.maximum(tracks.sizes[:, None], detections.sizes[None])
        spread = np.minimum(tracks.spread[:, None], self.most * size)
        exact = (size[:, :, None] * (2 * self.sigmas)) ** 2
        wide = exact + (spread**2)[:, :, None]
        # the wide kernel finds who is far off, the exact one tells apart who is close together
        alike = (np.exp(squared / (-2 * wide)) + np.exp(squared / (-2 * exact))) / 2 * common
        count = common.sum(axis=2)
        similarity: Float64Array = alike.sum(axis=2) / (count + 1)
        few = count < FEW
        if few.any():
            help_out = box_similarity(tracks, detections) * (1 - count / FEW)
            similarity = np.where(few, np.maximum(similarity, help_out), similarity)
        return similarity
