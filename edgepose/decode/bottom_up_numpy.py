"""Bottom-up decoding with numpy: the definition of what the compiled decoder and the GPU answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgepose.decode.assembly import assemble
from edgepose.decode.links import assign
from edgepose.decode.paf import line_scores, pair_starts
from edgepose.decode.peaks import Peaks, find_peaks, refine_peaks
from edgepose.errors import EngineError, UsageError
from edgepose.networks.topology import Topology
from edgepose.types import Float32Array, Int32Array

# A keypoint that was found never has the score 0, which means "missing".
LOWEST_SCORE = np.float32(1e-6)


@dataclass(frozen=True)
class BottomUpParams:
    """What the decoder can be told; the defaults are trt_pose's.

    Attributes:
        keypoint_threshold: smallest confidence of a peak.
        link_threshold: the score of a link must be larger; 0 or more.
        window: side in cells of the square in which a peak is the largest and is refined.
        samples: cells looked at along a line, both ends among them.
        max_peaks: at most so many peaks of each keypoint, the first in row order.
        max_objects: at most so many objects.
    """

    keypoint_threshold: float = 0.1
    link_threshold: float = 0.1
    window: int = 5
    samples: int = 7
    max_peaks: int = 100
    max_objects: int = 100

    def __post_init__(self) -> None:
        for name in ("keypoint_threshold", "link_threshold"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise UsageError(f"{name} is {value!r}; it must be a number from 0, usually 0..1.")
        lowest = {"window": 1, "samples": 2, "max_peaks": 1, "max_objects": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {low}.")


class Decoded(NamedTuple):
    """What was found in one picture.

    Attributes:
        keypoints: float32 (N, K, 3): x and y as a fraction 0..1 of the map's width and height, and
            the confidence 0..1 at the peak; all 0 where the keypoint was not found.
        links: float32 (N, L): the score 0..1 of each link that was matched, 0 elsewhere.
    """

    keypoints: Float32Array
    links: Float32Array


class Stages(NamedTuple):
    """Everything between the maps and the result, for tests and for other users of the stages."""

    peaks: Peaks
    positions: Float32Array
    scores: Float32Array
    connections: Int32Array
    link_scores: Float32Array
    objects: Int32Array


def check_maps(
    topology: Topology, cmap: Float32Array, paf: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """The maps as contiguous float32, without surplus channels.

    Raises:
        EngineError: they do not fit the topology or each other.
    """
    keypoints, table = len(topology.keypoints), topology.table
    channels = int(table[:, :2].max()) + 1 if len(table) else 0
    if (
        cmap.ndim != 3
        or paf.ndim != 3
        or cmap.shape[0] < keypoints
        or paf.shape[0] < channels
        or cmap.shape[1:] != paf.shape[1:]
        or 0 in cmap.shape
    ):
        raise EngineError(
            f"Cannot decode maps of shape {cmap.shape} and fields of shape {paf.shape} with the "
            f"topology {topology.name!r}; it needs ({keypoints}, H, W) and ({channels}, H, W)."
        )
    return (
        np.ascontiguousarray(cmap[:keypoints], np.float32),
        np.ascontiguousarray(paf, np.float32),
    )


def stages_numpy(
    cmap: Float32Array, paf: Float32Array, table: Int32Array, params: BottomUpParams
) -> Stages:
    """All stages of the numpy twin, for maps that `check_maps` let pass."""
    peaks = find_peaks(cmap, params.keypoint_threshold, params.window, params.max_peaks)
    positions = refine_peaks(cmap, peaks, params.window)
    scores = line_scores(paf, table, peaks.offsets, positions, params.samples)
    starts = pair_starts(table, peaks.offsets)
    connections, matched = assign(scores, starts, table, peaks.offsets, params.link_threshold)
    objects = assemble(connections, table, peaks.offsets, params.max_objects)
    return Stages(peaks, positions, scores, connections, matched, objects)


def decode_numpy(
    cmap: Float32Array, paf: Float32Array, table: Int32Array, params: BottomUpParams
) -> Decoded:
    """Decode with numpy alone; the definition of what every backend returns."""
    stages = stages_numpy(cmap, paf, table, params)
    rows, columns = stages.peaks.cells.T
    confidence = cmap[stages.peaks.keypoints, rows, columns]
    return decoded(stages, confidence, table, (cmap.shape[1], cmap.shape[2]))


def decode_rest(
    peaks: Peaks,
    positions: Float32Array,
    confidence: Float32Array,
    scores: Float32Array,
    table: Int32Array,
    params: BottomUpParams,
    size: tuple[int, int],
) -> Decoded:
    """From peaks and line scores, found elsewhere, to objects: assign and assemble with numpy."""
    starts = pair_starts(table, peaks.offsets)
    connections, matched = assign(scores, starts, table, peaks.offsets, params.link_threshold)
    objects = assemble(connections, table, peaks.offsets, params.max_objects)
    stages = Stages(peaks, positions, scores, connections, matched, objects)
    return decoded(stages, confidence, table, size)


def decoded(
    stages: Stages, confidence: Float32Array, table: Int32Array, size: tuple[int, int]
) -> Decoded:
    """The result of finished stages, with the confidence of every peak and maps of (height, width)."""
    clipped = np.clip(confidence, LOWEST_SCORE, np.float32(1))
    return Decoded(_keypoints(stages, clipped, size), _links(stages, table))


def _keypoints(stages: Stages, confidence: Float32Array, size: tuple[int, int]) -> Float32Array:
    """float32 (N, K, 3) of the objects, coordinates clamped to the picture.

    Where the refinement was not finite the centre of the peak's cell serves.
    """
    objects, first = stages.objects, stages.peaks.offsets[:-1]
    found = objects >= 0
    peak = (objects + first)[found]
    centre = (stages.peaks.cells + np.float32(0.5)) / np.array(size, np.float32)
    position = np.where(
        np.isfinite(stages.positions).all(axis=1, keepdims=True), stages.positions, centre
    )
    keypoints = np.zeros((*objects.shape, 3), np.float32)
    keypoints[found, :2] = np.clip(position[peak, ::-1], 0, 1)
    keypoints[found, 2] = confidence[peak]
    return keypoints


def _links(stages: Stages, table: Int32Array) -> Float32Array:
    """float32 (N, L): scores of the links whose two ends were matched with each other."""
    a, b = stages.objects[:, table[:, 2]], stages.objects[:, table[:, 3]]
    if not stages.connections.shape[2]:
        return np.zeros(a.shape, np.float32)
    link = np.arange(len(table))
    matched = (a >= 0) & (b >= 0) & (stages.connections[link, 0, a] == b)
    score = np.clip(stages.link_scores[link, a], 0, 1)
    return np.where(matched, score, np.float32(0))
