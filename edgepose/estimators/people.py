"""Poses made of points: what top-down and one-stage estimators share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.estimators.base import EstimatorOptions
from edgepose.geometry import keypoints_box
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.types import Box, Frame, Link, Pose

DEFAULT_THRESHOLD = 0.3
OUTSIDE = 0.05  # of a pose's size, by which points may lie beyond the frame's border


@dataclass(frozen=True)
class Limits:
    """Which keypoints and poses are kept.

    Attributes:
        threshold: keypoints must score more.
        min_keypoints: poses with fewer are dropped.
        min_score: poses that score less are dropped.
    """

    threshold: float
    min_keypoints: int
    min_score: float

    @classmethod
    def of(cls, manifest: Manifest, options: EstimatorOptions, topology: Topology) -> Limits:
        """The user's choices, else the network's own."""
        asked = (options.keypoint_threshold, options.threshold)
        own = float(manifest.decoder.get("threshold", DEFAULT_THRESHOLD))
        score = options.min_score
        return cls(
            next((t for t in asked if t is not None), own),
            min(options.min_keypoints, len(topology.keypoints)),
            float(manifest.decoder.get("min_score", 0.0)) if score is None else score,
        )


def make_poses(
    points: NDArray[np.floating],
    weights: NDArray[np.floating],
    boxes: NDArray[np.floating] | None,
    topology: Topology,
    frame: Frame,
    limits: Limits,
    right: NDArray[np.floating] | None = None,
) -> tuple[Pose, ...]:
    """Poses of one frame, ids without gaps.

    Args:
        points: (N, K, 3) x, y in image pixels and raw score.
        weights: (N,) scores of the boxes; a pose scores this times the mean of its keypoints, as
            COCO's top-down entries do.
        boxes: (N, 4) xyxy in image pixels; None = around the keypoints.
        topology: keypoints and links.
        frame: where they were found; boxes, and points that lie a little outside, are clamped to it;
            points farther outside are missing, as nothing of them is in the picture.
        limits: what is kept.
        right: (N,) of hands: how sure it is that it is a right one, NaN where that is not known.
    """
    rows = np.array(points, np.float32)
    seen = (rows[..., 2] > max(limits.threshold, 0.0)) & np.isfinite(rows).all(axis=2)
    seen &= in_picture(rows[..., :2], frame.width, frame.height)
    rows[..., :2] = np.clip(rows[..., :2], 0, (frame.width, frame.height))
    rows[..., 2] = np.clip(rows[..., 2], 0, 1)
    rows[~seen] = (np.nan, np.nan, 0)
    counts = seen.sum(axis=1)
    scores = np.clip(weights, 0, 1) * rows[..., 2].sum(axis=1) / np.maximum(counts, 1)
    enough = (counts >= max(limits.min_keypoints, 1)) & (scores >= limits.min_score)
    poses = []
    for number, i in enumerate(np.flatnonzero(enough)):
        box = keypoints_box(rows[i]) if boxes is None else clamp_box(boxes[i].tolist(), frame)
        links = _links(topology, rows[i, :, 2].tolist())
        pose = Pose(number, rows[i], topology.keypoints, links, float(scores[i]), box)
        sure = np.nan if right is None else float(right[i])
        side = "" if np.isnan(sure) else "right" if sure >= 0.5 else "left"
        poses.append(pose.with_(handedness=side) if side else pose)
    return tuple(poses)


def in_picture(xy: NDArray[np.floating], width: int, height: int) -> NDArray[np.bool_]:
    """Which points (N, K, 2) of N poses, NaN where missing, lie in the picture, or so little beside it
    that a rounding or a blurred maximum may be the reason."""
    beyond = np.maximum(-xy, xy - (width, height)).max(axis=2)
    inside: NDArray[np.bool_] = beyond <= 0
    if (inside | np.isnan(beyond)).all():
        return inside
    finite = np.isfinite(xy)
    high, low = np.where(finite, xy, -np.inf).max(axis=1), np.where(finite, xy, np.inf).min(axis=1)
    near: NDArray[np.bool_] = beyond <= OUTSIDE * (high - low).max(axis=1)[:, None]
    return near | inside


def _links(topology: Topology, scores: list[float]) -> tuple[Link, ...]:
    """Links between found keypoints; each is as sure as the weaker of its ends."""
    return tuple(
        Link(a, b, min(scores[a], scores[b]))
        for a, b in topology.links
        if scores[a] > 0 and scores[b] > 0
    )


def clamp_box(box: Sequence[float], frame: Frame) -> Box:
    """The part of an xyxy box inside the frame."""
    width, height = frame.width, frame.height
    left, top, right, bottom = (float(v) for v in box)
    return (
        min(max(left, 0.0), width),
        min(max(top, 0.0), height),
        min(max(right, 0.0), width),
        min(max(bottom, 0.0), height),
    )
