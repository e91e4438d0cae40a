"""A film's planes (NV12, I420) as the GPU reads them, against RGB that FFmpeg makes of them: poses and CPU time.

    python benchmarks/planes.py [FILM] [--network edgepose-lite-body] [--step 12]

The kernel is the one of the GPU, compiled for the CPU, one thread. CPU time counts, so other work on the machine
disturbs little. Bottom-up networks only.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from common import machine, material, store

from edgepose.cuda.host_kernels import HostRunner
from edgepose.cuda.kernels import Kernels
from edgepose.cuda.pictures import Planes, TensorLayout
from edgepose.engines import EngineOptions
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.bottom_up import BottomUp
from edgepose.eval.loss import loss
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source
from edgepose.networks.resolve import resolve
from edgepose.preprocess import fit, to_tensor
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose


class Way:
    """From a frame's planes, or from its RGB, to poses; counts the CPU time before the network."""

    def __init__(self, estimator: BottomUp, planes: bool, kernel: bool) -> None:
        self._estimator, self._planes, self._kernel = estimator, planes, kernel
        self._layout = TensorLayout.of(estimator.manifest.input)
        self._kernels = Kernels(HostRunner())
        self.seconds, self.tensor = 0.0, np.zeros(0)

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of one frame."""
        (frame,) = frames
        spec, on = self._estimator.manifest.input, self._estimator
        place = fit(spec, frame.width, frame.height)
        start = time.thread_time()
        if self._kernel:
            picture = (
                frame.as_given.planes if self._planes else Planes.packed(frame.as_given._convert())
            )
            self.tensor = self._kernels.preprocess([picture], [place.drawn], self._layout)
        else:
            self.tensor = to_tensor([frame.as_given._convert()], [place], spec)
        self.seconds += time.thread_time() - start
        maps = on.engine.infer({spec.name: self.tensor})
        return [on.poses(on._decode(maps, 0), place, frame.width, frame.height)]


def frames_of(film: str, step: int) -> Iterator[Frame]:
    """Every `step`-th frame, in planes."""
    with open_source(film, SourceOptions()) as source:
        for number, frame in enumerate(source):
            if number % step == 0:
                yield frame


def main() -> None:
    """Compare, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "film", nargs="?", help="a film in yuv420p or nv12; that of the test material"
    )
    parser.add_argument("--network", default="edgepose-lite-body")
    parser.add_argument("--step", type=int, default=12)
    options = parser.parse_args()
    film = options.film or str(next(iter(sorted((material() / "media").glob("*.mp4")))))
    conditions = machine()
    cv2.setNumThreads(1)
    network = resolve(options.network, download=False)
    engine = EngineOptions(engine="onnxruntime", threads=1)
    estimator: Any = BottomUp.load(network, EstimatorOptions(engine=engine))
    planes, rgb, today = (
        Way(estimator, *how) for how in ((True, True), (False, True), (False, False))
    )
    levels = []

    def frames() -> Iterator[Frame]:
        for frame in frames_of(film, options.step):
            yield frame
            levels.append(float(np.abs(planes.tensor - rgb.tensor).mean()))

    by_planes, by_opencv = (
        loss(rgb, planes, frames()),
        loss(rgb, today, frames_of(film, options.step)),
    )
    gain = abs(TensorLayout.of(estimator.manifest.input).gain[0])
    count = len(levels)
    figures = {
        "network": options.network,
        "frames": count,
        "levels_apart": round(float(np.mean(levels)) / gain, 2),
        "planes_instead_of_rgb": str(by_planes),
        "opencv_instead_of_the_kernel": str(by_opencv),
        "cpu_ms": {
            "planes, kernel": round(planes.seconds / count * 1e3, 2),
            "FFmpeg's RGB, kernel": round(rgb.seconds / count / 2 * 1e3, 2),
            "FFmpeg's RGB, OpenCV": round(today.seconds / count * 1e3, 2),
        },
    }
    store("planes", figures, conditions)


if __name__ == "__main__":
    sys.exit(main())
