"""Top-down: a detector finds the people, a second network the keypoints of each.

The people of all frames go through the pose network together, in batches of bounded size; each costs
one warp. HRNet: Sun et al., CVPR 2019; SimCC: Li et al., ECCV 2022; RTMPose: Jiang et al., 2023.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.pictures import Window
from edgepose.engines import BatchRange
from edgepose.engines.base import Engine, Outputs
from edgepose.errors import UsageError
from edgepose.estimators.ahead import SideBySide
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.crops import (
    Crops,
    Owners,
    check_detector,
    detector_network,
    detector_options,
)
from edgepose.estimators.detector import Detector, Regions, regions_of
from edgepose.estimators.device_feed import DeviceFeed
from edgepose.estimators.heads import HeatmapHead, SimccHead, bind_head, check_points
from edgepose.estimators.people import Limits, OfPeople, distinct, make_poses
from edgepose.estimators.runner import (
    Runner,
    chunks,
    host_pixels,
    load_for,
    made_of,
    topology_of,
)
from edgepose.geometry import Affine
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.preprocess.crops import in_image
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network


class TopDown(OfPeople, SideBySide):
    """Top-down estimator.

    Args:
        detector: what finds the regions.
        engine: the loaded pose network.
        manifest: input, head and crop of the pose network.
        topology: keypoints and links.
        options: thresholds, batch, flip test.

    Raises:
        NetworkFileError: the engine has not the head that the manifest names.
        UsageError: detector and pose network do not go together.
    """

    def __init__(
        self,
        detector: Detector,
        engine: Engine,
        manifest: Manifest,
        topology: Topology,
        options: EstimatorOptions,
    ) -> None:
        self.detector = detector
        self._runner = Runner(engine, manifest, replace(options, resize=""))
        self.manifest = self._runner.manifest
        self._crops = Crops(self.manifest, self._runner.dtype)
        self.topology = topology
        self._head = bind_head(manifest, self._runner.spec, topology, engine.outputs)
        check_detector(detector, manifest)
        if options.flip_test and not isinstance(self._head, HeatmapHead | SimccHead):
            raise UsageError(
                f"--flip-test works with heatmaps and SimCC; {manifest.name!r} has neither: leave "
                "it out."
            )
        if options.flip_test:
            _check_sides(topology)
        self._limits = Limits.of(manifest, options, topology)
        self._flip = options.flip_test
        self.detect_every = 1 if self._crops.turned else options.detect_every
        self._most_alike = float(manifest.decoder.get("alike", 0.0))

    @classmethod
    def load(cls, network: Network, options: EstimatorOptions) -> TopDown:
        """Load detector and pose network.

        Raises:
            NetworkFileError: a file is missing or does not fit.
            UsageError: there is no detector, or it does not suit.
        """
        topology = topology_of(network)
        found = detector_network(network.manifest, options)
        detector = Detector.load(found, detector_options(network.manifest, options))
        try:
            return made_of(
                load_for(network, options, BatchRange(1, (options.batch + 1) // 2, options.batch)),
                lambda engine: cls(detector, engine, network.manifest, topology, options),
            )
        except BaseException:
            detector.close()
            raise

    @property
    def on_device(self) -> bool:
        """See `base.OnDevice`."""
        return self._runner.device is not None

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame; see `Estimator.estimate`."""
        unknown = [frame for frame in frames if frame.expected is None]
        looked = iter(self.detector.detect(unknown, stopwatch) if unknown else ())
        found = [next(looked) if f.expected is None else regions_of(f.expected) for f in frames]
        return self.estimate_regions(frames, found, stopwatch)

    def estimate_regions(
        self, frames: Sequence[Frame], found: Sequence[Regions], stopwatch: Stopwatch
    ) -> list[tuple[Pose, ...]]:
        """The poses of people whose boxes are known.

        Args:
            frames: the pictures.
            found: boxes of each frame, in image pixels.
            stopwatch: gets the times.
        """
        owners = np.repeat(np.arange(len(frames)), [len(r.scores) for r in found])
        if not owners.size:
            return [() for _ in frames]
        on_host = self._device is None
        pixels = [
            host_pixels(f) if on_host and len(r.scores) else f.as_given
            for f, r in zip(frames, found, strict=True)
        ]
        places = self._crops.places(found)
        windows = self._crops.windows(found, places)
        parts = [
            self._points(pixels, owners[part], places[part], windows[part], stopwatch)
            for part in chunks(len(owners), self._runner.batch)
        ]
        with stopwatch.stage("postprocess"):
            points = np.concatenate([points for points, _ in parts])
            sides = np.concatenate([right for _, right in parts])
            return [
                self._poses(frame, regions, points[owners == i], sides[owners == i])
                for i, (frame, regions) in enumerate(zip(frames, found, strict=True))
            ]

    def _poses(
        self,
        frame: Frame,
        regions: Regions,
        points: NDArray[np.float32],
        right: NDArray[np.float32],
    ) -> tuple[Pose, ...]:
        if self._most_alike:
            shown = points * (points[..., 2:] > self._limits.threshold)
            weights = regions.scores * shown[..., 2].mean(axis=1)
            kept = distinct(shown, weights, self.topology, self._most_alike)
            regions, points, right = regions.take(kept), points[kept], right[kept]
        boxes = None if self._crops.turned else regions.boxes  # a palm's box is not the hand's
        return make_poses(points, regions.scores, boxes, self.topology, frame, self._limits, right)

    def _points(
        self,
        pixels: Sequence[Any],
        owners: Owners,
        places: Sequence[Affine],
        windows: Sequence[Window],
        watch: Stopwatch,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, K, 3) in image pixels of one batch of people, and how sure hands are right ones (N,)."""
        plain, mirror = self._infer(pixels, owners, places, windows, watch)
        with watch.stage("postprocess"):
            outputs = plain
            if mirror is not None and isinstance(self._head, HeatmapHead | SimccHead):
                outputs = self._head.merge_flipped(plain, mirror, self.topology.flip_pairs)
            k = len(self.topology.keypoints)
            points = check_points(self._head.decode(outputs), self.manifest, k, len(owners))
            xy = in_image(places, points.xy)
            right = np.full(len(owners), np.nan) if points.right is None else points.right
            table = np.concatenate([xy, points.scores[..., None]], axis=2, dtype=np.float32)
            return table, np.asarray(right, np.float32)

    def _infer(
        self,
        pixels: Sequence[Any],
        owners: Owners,
        places: Sequence[Affine],
        windows: Sequence[Window],
        watch: Stopwatch,
    ) -> tuple[Outputs, Outputs | None]:
        """Answers to the crops and, with the flip test, to their mirror images; a row a person."""
        spec, device = self._runner.spec, self._device
        if device is not None:
            maps = [place.between_centres() for place in places]
            flipped = [m.mirrored(spec.width) for m in maps]
            mirrored = [
                (rows, slice(spec.width - columns.stop, spec.width - columns.start))
                for rows, columns in windows
            ]
            ways = [(maps, windows), (flipped, mirrored)][: 2 if self._flip else 1]
            answers = [device.run(pixels, owners.tolist(), m, watch, w) for m, w in ways]
        else:
            with watch.stage("preprocess"):
                feed = self._crops.feed(pixels, owners, places, windows)
                across = 3 if spec.layout == "nchw" else 2
                feeds = [feed, np.flip(feed, across)] if self._flip else [feed]
            answers = [self._runner.run(np.ascontiguousarray(f), watch) for f in feeds]
        # engines of a fixed batch answer for empty rows too
        plain, *mirror = [{k: v[: len(owners)] for k, v in a.items()} for a in answers]
        return plain, mirror[0] if mirror else None

    @property
    def _device(self) -> DeviceFeed | None:
        """The kernel that places pictures, where there is one."""
        return self._runner.device

    def close(self) -> None:
        """Release both engines."""
        self.detector.close()
        self._runner.close()


def _check_sides(topology: Topology) -> None:
    """The mirror image of a left keypoint is a right one: the names have to say which.

    Raises:
        UsageError: some have a side, and the other side is missing.
    """
    if lonely := topology.one_sided:
        raise UsageError(
            f"--flip-test: keypoint {lonely[0]!r} of topology {topology.name!r} has a side, and no "
            "keypoint is its mirror image: rename them (left_x, right_x), or leave it out."
        )
    if topology.flip_pairs == tuple(range(len(topology.keypoints))):
        log.warning(
            "--flip-test: no keypoint of topology %r has a side in its name, so each is taken as its "
            "own mirror image.",
            topology.name,
        )
