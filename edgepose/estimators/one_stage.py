"""One-stage: boxes and keypoints of all people out of one run (MoveNet, RTMO, YOLO-pose)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgepose.decode.movenet import MovenetPeople
from edgepose.decode.one_stage import (
    ONE_STAGE_FORMATS,
    OneStageParams,
    People,
    decode_people,
    select_movenet,
)
from edgepose.engines.base import Engine
from edgepose.errors import UnknownNameError
from edgepose.estimators.ahead import FramesAhead
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.closer import Closer
from edgepose.estimators.people import Limits, OfPeople, make_poses
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
from edgepose.types import Frame, Pose

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network


class OneStage(OfPeople, FramesAhead[MovenetPeople]):
    """One-stage estimator.

    Args:
        engine: the loaded network.
        manifest: input and format of the answer.
        topology: keypoints and links.
        options: thresholds, size, batch.

    Raises:
        UnknownNameError: the manifest's format is unknown.
        NetworkFileError, UsageError: the input is no picture, or not of the size asked for.
    """

    def __init__(
        self, engine: Engine, manifest: Manifest, topology: Topology, options: EstimatorOptions
    ) -> None:
        kind = str(manifest.decoder.get("type", "rtmo"))
        if kind not in ONE_STAGE_FORMATS:
            raise UnknownNameError("one-stage format", kind, ONE_STAGE_FORMATS)
        self._runner = Runner(engine, manifest, options, trim=True)
        self.manifest = self._runner.manifest
        self.topology = topology
        decoder = manifest.decoder
        score, overlap = options.box_threshold, options.nms_threshold
        self._params = OneStageParams(
            kind=kind,
            keypoints=len(topology.keypoints),
            score_threshold=float(decoder.get("score", 0.3)) if score is None else score,
            nms_threshold=float(decoder.get("nms", 0.45)) if overlap is None else overlap,
            limit=options.max_people or 300,
            classes=int(decoder.get("class_count", 1)),
            values=int(decoder.get("keypoint_values", 3)),
            unit=bool(decoder.get("unit", False)),
        )
        self._limits = Limits.of(manifest, options, topology)
        self._around_keypoints = decoder.get("boxes") == "keypoints"
        self._closer = Closer.of(self._runner, options, self._limits)
        self.device = None
        if kind == "movenet" and self._runner.device is not None:
            from edgepose.estimators.device_path import movenet_path

            self.device = movenet_path(
                engine,
                self._runner.device,
                self._runner.spec,
                self._params.keypoints,
                self._params.score_threshold,
            )

    @classmethod
    def load(cls, network: Network, options: EstimatorOptions) -> OneStage:
        """Load the engine of a network and make the estimator."""
        topology = topology_of(network)
        return made_of(
            load_for(network, options, frames_together(options)),
            lambda engine: cls(engine, network.manifest, topology, options),
        )

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame; still pictures are looked at a second time, closer."""
        poses = super().estimate(frames, stopwatch)
        closer = self._closer
        again = [i for i, f in enumerate(frames) if closer and closer.shows_more(f)]
        if closer is None or not again:
            return poses
        small: list[tuple[Pose, ...]] = []
        for part in closer.runner.batches([frames[i] for i in again]):
            small += self._look(closer.runner, closer.limits, part, stopwatch)
        with stopwatch.stage("postprocess"):
            for i, more in zip(again, small, strict=True):
                poses[i] = closer.joined(poses[i] + more, self.topology, self._params.limit)
        return poses

    def _estimate(self, frames: Sequence[Frame], watch: Stopwatch) -> list[tuple[Pose, ...]]:
        return self._look(self._runner, self._limits, frames, watch)

    def _look(
        self, runner: Runner, limits: Limits, frames: Sequence[Frame], watch: Stopwatch
    ) -> list[tuple[Pose, ...]]:
        places = runner.places(frames)
        outputs = runner.run_placed(frames, places, watch)
        with watch.stage("postprocess"):
            spec = runner.spec_of(frames[0])
            params = replace(self._params, size=(spec.width, spec.height))
            people = one_each(decode_people(outputs, params), len(frames))
            rows = zip(people, places, frames, strict=True)
            return [self._poses(found, where, frame, limits) for found, where, frame in rows]

    def _poses_of(self, found: MovenetPeople, place: Placement, frame: Frame) -> tuple[Pose, ...]:
        return self._poses(select_movenet(found, self._params), place, frame, self._limits)

    def _poses(
        self, people: People, where: Placement, frame: Frame, limits: Limits
    ) -> tuple[Pose, ...]:
        points = people.points.copy()
        points[..., :2] = where.to_image(points[..., :2])
        boxes = None if self._around_keypoints else where.to_image(people.boxes)
        return make_poses(points, people.scores, boxes, self.topology, frame, limits)

    def close(self) -> None:
        """Release the engine."""
        self._runner.close()
