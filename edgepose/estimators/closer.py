"""A second, closer look at still pictures, for the people that the first is too small for.

A network that was made for people of one size finds large ones best in a small input and small ones in a
large input. A film has many frames and little time for each, so it is looked at once; a picture has time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.people import Limits, distinct
from edgepose.estimators.runner import Runner
from edgepose.networks.topology import Topology
from edgepose.types import Frame, Pose


@dataclass(frozen=True)
class Closer:
    """How the second look is done: the manifest's `closer`, `closer_score` and `closer_alike`.

    Attributes:
        runner: the network with the larger input; the engine is that of the first look.
        limits: of poses of the second look, which sees more things that are nobody.
        alike: object keypoint similarity above which poses of both looks are one person's.
        least: longer side in pixels above which a picture holds more than the first look saw.
    """

    runner: Runner
    limits: Limits
    alike: float
    least: int

    @classmethod
    def of(cls, first: Runner, options: EstimatorOptions, limits: Limits) -> Closer | None:
        """The second look of a network; None where it has none, on a GPU, and where the user gave a size."""
        manifest, spec = first.manifest, first.spec
        side = int(manifest.decoder.get("closer", 0))
        if not side or not first.trim:
            return None
        larger = replace(manifest, input=replace(spec, width=side, height=side))
        score = float(manifest.decoder.get("closer_score", limits.min_score))
        if options.min_score is None:
            limits = replace(limits, min_score=score)
        alike = float(manifest.decoder.get("closer_alike", 0.5))
        runner = Runner(first.engine, larger, options, trim=True)
        return cls(runner, limits, alike, max(spec.width, spec.height))

    def shows_more(self, frame: Frame) -> bool:
        """Whether a frame is a picture that the first look had to shrink."""
        return frame.still and max(frame.width, frame.height) > self.least

    def joined(self, poses: Sequence[Pose], topology: Topology, most: int) -> tuple[Pose, ...]:
        """Poses of both looks, everybody once and at most so many: the best first."""
        scores = np.array([p.score for p in poses])
        points = np.array([p.points for p in poses])
        kept = distinct(points, scores, topology, self.alike)
        best = kept[np.argsort(-scores[kept], kind="stable")][:most]
        return tuple(poses[i].with_(id=number) for number, i in enumerate(best))
