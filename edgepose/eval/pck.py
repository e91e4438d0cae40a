"""PCK: the share of joints found within a part of the torso's length (Yang and Ramanan, PAMI 2013)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgepose.eval.annotations import Annotations
from edgepose.networks.keypoint_names import mirror_numbers, part_name, plain_name
from edgepose.types import Float64Array

JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PARTS = (0.2, 0.5)


@dataclass
class Pck:
    """Counts that become figures.

    Attributes:
        joints: labelled joints by kind.
        hits: for each part of the torso, joints within it, by kind.
        mirrored: joints within the first part if left and right of a whole person may be exchanged.
        people: annotated people.
    """

    joints: dict[str, int] = field(default_factory=lambda: dict.fromkeys(JOINTS, 0))
    hits: dict[float, dict[str, int]] = field(
        default_factory=lambda: {p: dict.fromkeys(JOINTS, 0) for p in PARTS}
    )
    mirrored: int = 0
    people: int = 0

    def figures(self) -> dict[str, float]:
        """Shares 0..1: PCK@0.2, PCK@0.5, PCK@0.2 with sides exchangeable, and PCK@0.2 by kind of joint."""
        total = sum(self.joints.values())
        share = {f"PCK@{p}": sum(self.hits[p].values()) / total if total else 0.0 for p in PARTS}
        share[f"PCK@{PARTS[0]} sides exchangeable"] = self.mirrored / total if total else 0.0
        for kind, count in self.joints.items():
            share[f"PCK@{PARTS[0]} {kind}"] = self.hits[PARTS[0]][kind] / count if count else 0.0
        return share


def torso_length(points: Float64Array, names: Sequence[str]) -> float:
    """Mean distance from each shoulder to the opposite hip, else to the hip of its side; 0 = unknown.

    Args:
        points: (K, 3) x, y, visibility (0 = not labelled).
    """
    at = {plain_name(name): points[i] for i, name in enumerate(names) if points[i, 2] > 0}

    def mean(pairs: Sequence[tuple[str, str]]) -> float:
        lengths = [
            float(np.hypot(*(at[a][:2] - at[b][:2]))) for a, b in pairs if a in at and b in at
        ]
        return float(np.mean(lengths)) if lengths else 0.0

    crossed = [("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")]
    straight = [("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")]
    return mean(crossed) or mean(straight)


def measure(annotations: Annotations, rows: Sequence[Mapping[str, Any]]) -> Pck:
    """PCK of COCO-format results on a set with one annotated person an image (more count one by one).

    The pose of the image that fits best counts (most joints within the first part of the torso, then
    the nearest); joints that it lacks, and people without any pose, count as wrong. Joints are
    shoulders, elbows, wrists, hips, knees and ankles; the torso is the annotation's `torso` field where
    it has one. People without a torso length do not count.
    """
    names = [plain_name(name) for name in annotations.keypoints]
    parts = [part_name(name) for name in names]
    sided = {part for name, part in zip(names, parts, strict=True) if name != part}
    # the "hip" between the hips is none of them
    columns = [i for i, p in enumerate(parts) if p in JOINTS and (names[i] != p or p not in sided)]
    kinds = [parts[i] for i in columns]
    mirrored = mirror_numbers([names[i] for i in columns])
    mirror = [i if m is None else m for i, m in enumerate(mirrored)]
    poses: dict[Any, list[Float64Array]] = {}
    for row in rows:
        points = np.asarray(row["keypoints"], np.float64).reshape(-1, 3)[columns]
        poses.setdefault(row["image_id"], []).append(points)
    total = Pck()
    for person in annotations.people:
        truth = np.asarray(person.get("keypoints") or (), np.float64).reshape(-1, 3)
        torso = float(person.get("torso") or (torso_length(truth, names) if len(truth) else 0))
        if person.get("iscrowd") or torso <= 0:
            continue
        _count(total, truth[columns], poses.get(person["image_id"], []), torso, kinds, mirror)
    return total


def _distances(truth: Float64Array, pose: Float64Array, torso: float) -> Float64Array:
    """Distances in torso lengths, infinite where the pose lacks the joint."""
    apart = np.hypot(*(pose[:, :2] - truth[:, :2]).T) / torso
    return np.where(pose[:, 2] > 0, apart, np.inf)


def _best(truth: Float64Array, poses: Sequence[Float64Array], torso: float) -> Float64Array:
    """Distances of the labelled joints in the pose that fits best."""
    seen = truth[:, 2] > 0
    tables = [_distances(truth, p, torso)[seen] for p in poses]
    return max(tables, key=lambda d: (int((d <= PARTS[0]).sum()), -float(np.minimum(d, 9).sum())))


def _count(
    total: Pck,
    truth: Float64Array,
    poses: Sequence[Float64Array],
    torso: float,
    kinds: Sequence[str],
    mirror: Sequence[int],
) -> None:
    seen = truth[:, 2] > 0
    own = [k for k, s in zip(kinds, seen, strict=True) if s]
    for kind in own:
        total.joints[kind] += 1
    total.people += 1
    if not poses:
        return
    best = _best(truth, poses, torso)
    for part in PARTS:
        for kind, distance in zip(own, best, strict=True):
            total.hits[part][kind] += bool(distance <= part)
    turned = _best(truth, [p[list(mirror)] for p in poses], torso)
    total.mirrored += max(int((best <= PARTS[0]).sum()), int((turned <= PARTS[0]).sum()))
