"""Top-down: a detector finds the people, a second network the keypoints of each.

The people of all frames go through the pose network together, in batches of bounded size; each costs
one warp. HRNet: Sun et al., CVPR 2019; SimCC: Li et al., ECCV 2022; RTMPose: Jiang et al., 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepose.decode.hand import hand_regions
from edgepose.engines.base import Engine, Outputs
from edgepose.errors import NetworkFileError, UsageError
from edgepose.estimators.base import EstimatorOptions, engine_options
from edgepose.estimators.detector import Detector, Regions
from edgepose.estimators.heads import HeatmapHead, SimccHead, bind_head, check_points
from edgepose.estimators.people import Limits, make_poses
from edgepose.estimators.runner import Runner, chunks, host_pixels
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.preprocess.crops import (
    centres_and_sizes,
    crop_matrices,
    from_pixel_numbers,
    invert,
    map_points,
    mirrored,
    normalise,
    warp,
)
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network

Array = NDArray[np.float64]


class TopDown:
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
        self._runner = Runner(engine, manifest, options.size, options.batch)
        self.manifest = manifest.with_input(
            width=self._runner.spec.width, height=self._runner.spec.height
        )
        self.topology = topology
        self._head = bind_head(manifest, self._runner.spec, topology, engine.outputs)
        self._turned = manifest.decoder.get("type") == "hand-landmark"
        if self._turned != detector.finds_turned_regions:
            raise UsageError(
                f"Detector {detector.manifest.name!r} does not suit network {manifest.name!r}, "
                + ("which needs turned palm boxes" if self._turned else "which needs plain boxes")
                + (f": use --detector {manifest.detector}." if manifest.detector else ".")
            )
        if options.flip_test and not isinstance(self._head, HeatmapHead | SimccHead):
            raise UsageError(
                f"--flip-test works with heatmaps and SimCC; {manifest.name!r} has neither: leave "
                "it out."
            )
        self._limits = Limits.of(manifest, options)
        self._flip = options.flip_test

    @classmethod
    def load(cls, network: Network, options: EstimatorOptions) -> TopDown:
        """Load detector and pose network.

        Raises:
            NetworkFileError: a file is missing or does not fit.
            UsageError: there is no detector, or it does not suit.
        """
        if network.topology is None:
            raise NetworkFileError(
                f"Network {network.manifest.name!r} has no topology; give one with --topology FILE."
            )
        detector = Detector.load(_detector_network(network.manifest, options), options)
        try:
            engine = _load(network, options)
        except BaseException:
            detector.close()
            raise
        try:
            return cls(detector, engine, network.manifest, network.topology, options)
        except BaseException:
            detector.close()
            engine.close()
            raise

    @property
    def engine(self) -> Engine:
        """The engine of the pose network."""
        return self._runner.engine

    @property
    def engine_name(self) -> str:
        """What infers."""
        return self._runner.engine.name

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame; see `Estimator.estimate`."""
        found = self.detector.detect(frames, stopwatch)
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
        on_host = self._runner.device is None
        pixels = [
            host_pixels(f) if on_host and len(r.scores) else f.pixels
            for f, r in zip(frames, found, strict=True)
        ]
        matrices = self._matrices(found)
        parts = [
            self._points(pixels, owners[part], matrices[part], stopwatch)
            for part in chunks(len(owners), self._runner.batch)
        ]
        with stopwatch.stage("postprocess"):
            points = np.concatenate(parts)
            return [
                make_poses(
                    points[owners == i],
                    regions.scores,
                    None if self._turned else regions.boxes,  # a palm's box is not the hand's
                    self.topology,
                    frame,
                    self._limits,
                )
                for i, (frame, regions) in enumerate(zip(frames, found, strict=True))
            ]

    def _matrices(self, found: Sequence[Regions]) -> Array:
        """(N, 2, 3) image -> crop of every region of every frame."""
        spec, decoder = self._runner.spec, self.manifest.decoder
        boxes = np.concatenate([r.boxes for r in found])
        angles = np.concatenate([r.angles for r in found])
        if self._turned:
            margin, shift = float(decoder.get("scale", 2.6)), -float(decoder.get("shift_y", -0.5))
            centres, sizes = hand_regions(boxes, angles, margin=margin, shift=shift)
        else:
            margin = float(decoder.get("padding", 1.25))
            centres, sizes = centres_and_sizes(boxes, spec.width / spec.height, margin)
        return crop_matrices(centres, sizes, (spec.width, spec.height), angles)

    def _points(
        self,
        pixels: Sequence[Any],
        owners: NDArray[np.intp],
        matrices: Array,
        watch: Stopwatch,
    ) -> NDArray[np.float32]:
        """(N, K, 3) in image pixels of one batch of people."""
        plain, mirror = self._infer(pixels, owners, matrices, watch)
        with watch.stage("postprocess"):
            outputs = plain
            if mirror is not None and isinstance(self._head, HeatmapHead | SimccHead):
                outputs = self._head.merge_flipped(plain, mirror, self.topology.flip_pairs)
            k = len(self.topology.keypoints)
            points = check_points(self._head.decode(outputs), self.manifest, k, len(owners))
            xy = map_points(invert(matrices), points.xy)
            return np.concatenate([xy, points.scores[..., None]], axis=2, dtype=np.float32)

    def _infer(
        self, pixels: Sequence[Any], owners: NDArray[np.intp], matrices: Array, watch: Stopwatch
    ) -> tuple[Outputs, Outputs | None]:
        """Answers to the crops and, with the flip test, to their mirror images."""
        spec, device = self._runner.spec, self._runner.device
        if device is not None:
            rows = owners.tolist()
            places = from_pixel_numbers(matrices)
            plain = device.run(pixels, rows, places, watch)
            if not self._flip:
                return plain, None
            return plain, device.run(pixels, rows, mirrored(places, spec.width), watch)
        with watch.stage("preprocess"):
            patches = np.empty((len(owners), spec.height, spec.width, 3), np.uint8)
            for owner in np.unique(owners):
                mine = owners == owner
                patches[mine] = warp(pixels[owner], matrices[mine], (spec.width, spec.height))
            feed = normalise(patches, spec)
        plain = self._runner.run(feed, watch)
        if not self._flip:
            return plain, None
        other = np.ascontiguousarray(np.flip(feed, 3 if spec.layout == "nchw" else 2))
        return plain, self._runner.run(other, watch)

    def close(self) -> None:
        """Release both engines."""
        self.detector.close()
        self._runner.close()


def _load(network: Network, options: EstimatorOptions) -> Engine:
    """The pose network's engine; plans that are built here take a range of batches, for crowds."""
    from edgepose.engines import load_engine
    from edgepose.engines.options import BatchRange

    chosen = engine_options(network, options)
    if chosen.batch is None and options.batch > 1:
        many = BatchRange(1, (options.batch + 1) // 2, options.batch)
        with suppress(UsageError):  # the file has a fixed batch
            return load_engine(network.model, replace(chosen, batch=many))
    return load_engine(network.model, chosen)


def _detector_network(manifest: Manifest, options: EstimatorOptions) -> Network:
    if options.detector is not None:
        return options.detector
    if not manifest.detector:
        raise UsageError(
            f"Network {manifest.name!r} is top-down and names no detector: give --detector NAME."
        )
    from edgepose.networks.resolve import resolve

    return resolve(manifest.detector)
