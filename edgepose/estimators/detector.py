"""A detector in front of a top-down network: frames in, boxes of people or palms out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgepose.decode.detections import FORMATS, DetectionParams, decode_detections
from edgepose.decode.hand import ANCHOR_LAYERS, decode_palms
from edgepose.decode.yolo import STRIDES
from edgepose.engines import EngineOptions, load_engine
from edgepose.engines.base import Engine, Outputs
from edgepose.errors import UnknownNameError, UsageError
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.runner import Runner, made_of, one_each
from edgepose.networks.manifest import Manifest
from edgepose.preprocess import Placement
from edgepose.timing import Stopwatch
from edgepose.types import Float64Array, Frame

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network


class Regions(NamedTuple):
    """What a detector found in one frame, by falling score.

    Attributes:
        boxes: float64 (N, 4) xyxy in image pixels; each overlaps the image.
        scores: float64 (N,).
        angles: float64 (N,), radians clockwise; 0 but for palms.
    """

    boxes: Float64Array
    scores: Float64Array
    angles: Float64Array

    def take(self, rows: Any) -> Regions:
        """Some of the rows."""
        return Regions(self.boxes[rows], self.scores[rows], self.angles[rows])


def regions_of(rows: Float64Array) -> Regions:
    """Upright regions of rows (N, 5): xyxy in image pixels and score."""
    return Regions(rows[:, :4], rows[:, 4], np.zeros(len(rows)))


class Detector:
    """Runs a detector network.

    Args:
        engine: the loaded network.
        manifest: of family "detector".
        options: `detector_size`, `box_threshold`, `nms_threshold`, `max_people`, `batch`.

    Raises:
        UsageError: the network is no detector, or cannot take that size.
    """

    def __init__(self, engine: Engine, manifest: Manifest, options: EstimatorOptions) -> None:
        if manifest.family != "detector":
            raise UsageError(
                f"--detector {manifest.name}: it is a {manifest.family} network, not a detector. "
                "`edgepose networks` lists the detectors."
            )
        self.manifest = manifest
        self.kind = str(manifest.decoder.get("type", "yolox"))
        if self.kind not in (*FORMATS, "palm"):
            raise UnknownNameError("detector format", self.kind, (*FORMATS, "palm"))
        side = options.detector_size
        own = replace(options, size=(side, side) if side else None, resize="")
        self._runner = Runner(engine, manifest, own, trim=True)
        self._params = _params(manifest, options, self._runner)
        self._layers = _anchor_layers(manifest)

    @classmethod
    def load(cls, network: Network, options: EstimatorOptions) -> Detector:
        """Load the engine of a detector."""
        # a plan or an input shape that the user names is the pose network's
        spec = network.manifest.input
        chosen = replace(
            options.engine or EngineOptions(),
            engine_file=None,
            shape=None,
            default_shape=(spec.height, spec.width),
        )
        engine = load_engine(network.model, chosen)
        return made_of(engine, lambda engine: cls(engine, network.manifest, options))

    @property
    def finds_turned_regions(self) -> bool:
        """True for palm detectors, whose boxes have an angle."""
        return self.kind == "palm"

    def detect(self, frames: Sequence[Frame], watch: Stopwatch) -> list[Regions]:
        """The boxes of each frame, in the order of `frames`.

        Raises:
            EngineError: the engine failed, or its answer is not of the manifest's format.
        """
        found: list[Regions] = []
        for part in self._runner.batches(frames):
            found += self._detect(part, watch)
        return found

    def _detect(self, frames: Sequence[Frame], watch: Stopwatch) -> list[Regions]:
        places = self._runner.places(frames)
        outputs = self._runner.run_placed(frames, places, watch)
        with watch.stage("postprocess"):
            spec = self._runner.spec_of(frames[0])
            params = replace(self._params, size=(spec.width, spec.height))
            answers = self._runner.answers(len(frames))
            raw = one_each(self._decode(outputs, params, answers), len(frames))
            rows = zip(raw, places, frames, strict=True)
            return [self._in_image(r, where, f) for r, where, f in rows]

    def _decode(self, outputs: Outputs, params: DetectionParams, batch: int) -> list[Regions]:
        if self.kind == "palm":
            palms = decode_palms(
                outputs,
                params.size[0],
                score_threshold=params.score_threshold,
                nms_threshold=params.nms_threshold,
                limit=params.limit,
                layers=self._layers,
            )
            return [Regions(p.boxes, p.scores, p.angles) for p in palms]
        boxes = decode_detections(outputs, params, batch)
        return [Regions(b.xyxy, b.scores, np.zeros(len(b.scores))) for b in boxes]

    def _in_image(self, found: Regions, where: Placement, frame: Frame) -> Regions:
        """In image pixels, without what lies wholly outside or has no extent."""
        boxes = where.to_image(found.boxes)
        low = np.maximum(boxes[:, :2], 0)
        high = np.minimum(boxes[:, 2:], (frame.width, frame.height))
        inside = np.flatnonzero((high > low).all(axis=1))
        return found._replace(boxes=boxes).take(inside)

    def close(self) -> None:
        """Release the engine."""
        self._runner.close()

    @property
    def engine_name(self) -> str:
        """What infers."""
        return self._runner.engine.name


def _anchor_layers(manifest: Manifest) -> tuple[tuple[int, int], ...]:
    """(stride, anchors a cell) of a palm detector, MediaPipe's where the manifest names none."""
    strides, counts = (manifest.decoder.get(key, []) for key in ("strides", "anchors"))
    return tuple(zip(strides, counts, strict=False)) or ANCHOR_LAYERS


def _params(manifest: Manifest, options: EstimatorOptions, runner: Runner) -> DetectionParams:
    decoder = manifest.decoder
    classes = decoder.get("classes", [decoder["label"]] if "label" in decoder else [0])
    score = options.box_threshold
    overlap = options.nms_threshold
    return DetectionParams(
        kind=str(decoder.get("type", "yolox")),
        size=(runner.spec.width, runner.spec.height),
        score_threshold=float(decoder.get("score", 0.3)) if score is None else score,
        nms_threshold=float(decoder.get("nms", 0.45)) if overlap is None else overlap,
        classes=tuple(int(c) for c in classes),
        limit=options.max_people or 300,
        strides=tuple(int(s) for s in decoder.get("strides", STRIDES)),
        unit=bool(decoder.get("unit", False)),
    )
