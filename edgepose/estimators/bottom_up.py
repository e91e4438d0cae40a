"""Bottom-up: one network answers confidence maps and part affinity fields for the whole picture.

Cao et al., "Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", CVPR 2017, with the
decoding of NVIDIA's trt_pose (see `edgepose.decode.bottom_up`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.decode.bottom_up_numpy import BottomUpParams, Decoded
from edgepose.engines.base import Engine, Outputs
from edgepose.estimators.ahead import FramesAhead
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.maps import Maps, bind_outputs
from edgepose.estimators.people import in_picture
from edgepose.estimators.runner import (
    Runner,
    frames_together,
    load_for,
    made_of,
    one_each,
    topology_of,
)
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.preprocess import Placement
from edgepose.timing import Stopwatch
from edgepose.types import Float64Array, Frame, Link, Pose

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network

SAME = 4.0  # input pixels by which two poses may differ and be one
# below it the first hundred peaks of a map in row order are noise, which crowds people out
LEAST = 0.02
DEFAULT_THRESHOLD = 0.15  # jetson-inference's; trt_pose's own script uses 0.1


class BottomUp(FramesAhead[Decoded]):
    """Bottom-up estimator.

    Args:
        engine: the loaded network.
        manifest: input and outputs of the network.
        topology: keypoints, links and PAF channels.
        options: thresholds and sizes.

    Raises:
        NetworkFileError: the engine's outputs do not fit the topology.
    """

    def __init__(
        self, engine: Engine, manifest: Manifest, topology: Topology, options: EstimatorOptions
    ) -> None:
        self._runner = Runner(engine, manifest, options, "maps")
        self.engine = engine
        self.manifest = self._runner.manifest
        self.topology = topology
        self._ends = np.array(topology.links, np.intp).reshape(-1, 2).T
        self._min_keypoints = min(options.min_keypoints, largest_pose(topology))
        self._min_score = _first(options.min_score, float(manifest.decoder.get("min_score", 0.0)))
        self._params = params = _params(self.manifest, options)
        self._decoder = BottomUpDecoder(topology, params)
        self._maps = bind_outputs(self.manifest, topology, engine.outputs)
        self._upsample = int(manifest.decoder.get("upsample", 1))
        self.device = None
        if self._runner.device is not None:
            from edgepose.estimators.device_path import bottom_up_path

            self.device = bottom_up_path(
                engine, self._runner.device, self._maps, topology, params, self._upsample
            )

    @classmethod
    def load(cls, network: Network, options: EstimatorOptions) -> BottomUp:
        """Load the engine of a network and make the estimator."""
        topology = topology_of(network)
        return made_of(
            load_for(network, options, frames_together(options)),
            lambda engine: cls(engine, network.manifest, topology, options),
        )

    @property
    def threshold(self) -> float:
        """The least score of keypoints."""
        return self._params.keypoint_threshold

    @property
    def engine_name(self) -> str:
        """What infers."""
        return self.engine.name

    def _estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        places = self._runner.places(frames)
        outputs = self._runner.run_placed(frames, places, stopwatch)
        with stopwatch.stage("postprocess"):
            for binding in self._maps:
                one_each(outputs[binding.tensor], len(frames))
            return [
                self._poses_of(self._decode(outputs, i), place, frame)
                for i, (frame, place) in enumerate(zip(frames, places, strict=True))
            ]

    def _decode(self, outputs: Outputs, item: int) -> Decoded:
        cmap, paf = (binding.take(outputs, item) for binding in self._maps)
        if self._upsample > 1:
            cmap, paf = enlarge(cmap, self._upsample), enlarge(paf, self._upsample)
        return self._decoder(cmap, paf)

    def _poses_of(self, found: Decoded, place: Placement, frame: Frame) -> tuple[Pose, ...]:
        return self.poses(found, place, frame.width, frame.height)

    def poses(
        self, decoded: Decoded, place: Placement, width: int, height: int
    ) -> tuple[Pose, ...]:
        """Decoded keypoints as poses in image pixels, ids without gaps, clamped to the image.

        Keypoints in the padding of a letterbox are missing, as nothing of them is in the picture; of
        poses at the same place, which maps with equal cells give, the best stays.
        """
        spec = self.manifest.input
        points = np.array(decoded.keypoints, np.float32)
        if not points.size:
            return ()
        inside = place.to_image(points[:, :, :2] * (spec.width, spec.height))
        missing = points[:, :, 2] <= 0
        inside[missing] = np.nan
        missing |= ~in_picture(inside, width, height)
        keep = np.flatnonzero((~missing).sum(axis=1) >= self._min_keypoints)
        if not keep.size:
            return ()
        points, missing, links = points[keep], missing[keep], np.array(decoded.links)[keep]
        points[:, :, :2] = np.minimum(np.maximum(inside[keep], 0), (width, height))
        points[missing] = (np.nan, np.nan, 0)
        starts, ends = self._ends
        links[missing[:, starts] | missing[:, ends]] = 0
        links = np.minimum(np.maximum(links, 0), 1)
        # How much of a whole pose was found, and how surely: the sum of all keypoint and link scores,
        # over as many as the topology has. Ranking by it gives a higher AP than the mean of the
        # detected keypoints, which favours fragments.
        total = points[:, :, 2].sum(axis=1, dtype=float) + links.sum(axis=1)
        scores = total / (points.shape[1] + links.shape[1])
        boxes = boxes_of(points)
        near = SAME / min(place.answers.a, place.answers.e)
        kept = unequal(points, boxes, scores, near)
        rows = zip(links.tolist(), scores.tolist(), boxes.tolist(), strict=True)
        found = [(points[i], *row) for i, row in enumerate(rows) if kept[i]]
        found = [row for row in found if row[2] >= self._min_score]
        return tuple(self._pose(number, *row) for number, row in enumerate(found))

    def _pose(
        self,
        number: int,
        points: NDArray[np.float32],
        links: Sequence[float],
        score: float,
        box: Sequence[float],
    ) -> Pose:
        pairs = zip(self.topology.links, links, strict=True)
        matched = tuple(Link(a, b, sure) for (a, b), sure in pairs if sure > 0)
        left, top, right, bottom = box
        return Pose(
            id=number,
            points=points,
            names=self.topology.keypoints,
            links=matched,
            score=score,
            box=(left, top, right, bottom),
        )

    def close(self) -> None:
        """Release the engine, and before it what works on its buffers."""
        self._runner.close()


def largest_pose(topology: Topology) -> int:
    """The most keypoints that links join to one pose."""
    group = list(range(len(topology.keypoints)))
    for a, b in topology.links:
        group = [group[a] if g == group[b] else g for g in group]
    return max(Counter(group).values())


def boxes_of(points: NDArray[np.float32]) -> Float64Array:
    """xyxy (N, 4) around the keypoints of poses (N, K, 3), NaN where one is missing."""
    xy = points[:, :, :2].astype(np.float64)
    boxes = np.empty((len(xy), 4))
    np.fmin.reduce(xy, axis=1, out=boxes[:, :2])
    np.fmax.reduce(xy, axis=1, out=boxes[:, 2:])
    return boxes


def unequal(
    points: NDArray[np.float32], boxes: Float64Array, scores: NDArray[np.floating], near: float
) -> NDArray[np.bool_]:
    """Which poses (N, K, 3) stay: of those with the same keypoints, each within `near` pixels, only the
    first of the best score."""
    kept = np.ones(len(points), bool)
    if len(points) == 1:
        return kept
    # poses that are equal have equal boxes, and nearly always there are none
    across = boxes.T
    twins = np.abs(across[:, :, None] - across[:, None]).max(axis=0) <= near
    if np.count_nonzero(twins) <= len(points):
        return kept
    seen = points[:, :, 2] > 0
    for i in np.argsort(-scores, kind="stable"):
        if kept[i]:
            apart = np.abs(points[:, seen[i], :2] - points[i, seen[i], :2]).max(axis=(1, 2))
            kept &= (seen != seen[i]).any(axis=1) | (apart > near)
            kept[i] = True
    return kept


def _first(given: float | None, default: float) -> float:
    return default if given is None else given


def enlarge(maps: Maps, factor: int) -> Maps:
    """(C, H, W) maps enlarged by a whole factor with cubic interpolation, cell centres kept.

    Networks that answer at an eighth of their input decode more exactly so; it is what the demo of
    lightweight OpenPose does (Osokin 2018).
    """
    size = (maps.shape[2] * factor, maps.shape[1] * factor)
    return np.stack([cv2.resize(m, size, interpolation=cv2.INTER_CUBIC) for m in maps])


def _params(manifest: Manifest, options: EstimatorOptions) -> BottomUpParams:
    decoder = manifest.decoder
    both = options.threshold if options.threshold is not None else DEFAULT_THRESHOLD

    def pick(own: float | None, key: str) -> float:
        if own is not None:
            return own
        return both if options.threshold is not None else float(decoder.get(key, both))

    names = ("window", "samples", "max_peaks", "max_objects")
    return BottomUpParams(
        keypoint_threshold=max(LEAST, pick(options.keypoint_threshold, "keypoint_threshold")),
        link_threshold=pick(options.link_threshold, "link_threshold"),
        **{name: int(decoder[name]) for name in names if name in decoder},
    )
