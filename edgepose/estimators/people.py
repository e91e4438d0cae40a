"""Poses made of points: what top-down and one-stage estimators share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.base import Engine
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.runner import Runner
from edgepose.geometry import keypoints_box
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.track.similarity import keypoint_sigmas
from edgepose.types import Box, Float64Array, Frame, Link, Pose

DEFAULT_THRESHOLD = 0.3
AREA_OF_BOX = 0.53  # of a person, as COCO counts it, on average
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


class OfPeople:
    """What an estimator tells that keeps a runner and limits."""

    _runner: Runner
    _limits: Limits

    @property
    def engine(self) -> Engine:
        """The engine of the pose network."""
        return self._runner.engine

    @property
    def threshold(self) -> float:
        """The least score of keypoints."""
        return self._limits.threshold

    @property
    def engine_name(self) -> str:
        """What infers."""
        return self._runner.engine.name


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


def distinct(
    points: NDArray[np.floating], weights: NDArray[np.floating], topology: Topology, most: float
) -> NDArray[np.intp]:
    """Numbers of the poses that stay where of two in one place only the better does, in their order.

    Two boxes of one person that overlap little give two equal poses, and two people whose boxes overlap a
    lot do not: so object keypoint similarity decides, as in the evaluation of COCO.

    Args:
        points: (N, K, 3) x, y in image pixels and score; keypoints that are not meant score 0.
        weights: (N,) the better pose has more.
        topology: its names, or its own constants, say how far a keypoint may lie off.
        most: similarity 0..1 above which two are one; over the keypoints that both have, at least three.
    """
    sigmas = np.array(topology.sigmas) if topology.sigmas else keypoint_sigmas(topology.keypoints)
    kept: list[int] = []
    for i in np.argsort(-np.asarray(weights), kind="stable").tolist():
        if not any(_alike(points[i], points[k], sigmas) > most for k in kept):
            kept.append(i)
    return np.sort(np.array(kept, np.intp))


def _alike(one: NDArray[np.floating], other: NDArray[np.floating], sigmas: Float64Array) -> float:
    """Object keypoint similarity, as large as the larger of two poses allows."""
    both = (one[:, 2] > 0) & (other[:, 2] > 0)
    if both.sum() < 3:
        return 0.0
    areas = (np.ptp(p[p[:, 2] > 0, :2], axis=0).prod() for p in (one, other))
    area = AREA_OF_BOX * max(*areas, 1.0)
    away = ((one[both, :2] - other[both, :2]) ** 2).sum(axis=1)
    return float(np.exp(-away / (2 * area * (2 * sigmas[both]) ** 2)).mean())


def in_picture(xy: NDArray[np.floating], width: int, height: int) -> NDArray[np.bool_]:
    """Which points (N, K, 2) of N poses, NaN where missing, lie in the picture, or so little beside it
    that a rounding or a blurred maximum may be the reason."""
    beyond = np.maximum.reduce(np.maximum(-xy, xy - (width, height)), axis=2)
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
