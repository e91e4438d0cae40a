"""What the detector of a top-down network costs in a film, and what is lost where it looks at every n-th frame only.

    python benchmarks/detect_every.py [FILM] [--network accurate] [--every 1,5,10] [--variants FP16,INT8] [--store]

Whole film, decoded once, then frame after frame through detector and network in turn, so that a busy machine slows all
alike; no drawing, no encoding. CPU time is that of the process with all its threads. Frames with one person count for
`cpu_ms_one_person`; `lost` are poses of the first column that lie in no pose of another one (OKS below .5).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

from common import machine, material, store

from edgepose.engines import EngineOptions
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.expected import Expecting
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source
from edgepose.networks.resolve import resolve
from edgepose.timing import Stopwatch
from edgepose.track.similarity import Bodies, KeypointSimilarity, keypoint_sigmas
from edgepose.types import Frame, Pose

ALIKE = 0.5


class Column:
    """One variant and number of frames between looks."""

    def __init__(self, network: str, variant: str, every: int, threads: int) -> None:
        chosen = resolve(network, variant=variant, download=False)
        engine = EngineOptions(engine="onnxruntime", threads=threads)
        self.estimator = make_estimator(chosen, EstimatorOptions(engine=engine))
        self._way = Expecting(self.estimator, every) if every > 1 else self.estimator
        self.found: list[tuple[Pose, ...]] = []
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def block(self, frames: Sequence[Frame]) -> None:
        """Some frames, in their order."""
        for frame in frames:
            cpu, wall = time.process_time(), time.perf_counter()
            self.found += self._way.estimate([frame], Stopwatch())
            self.cpu.append((time.process_time() - cpu) * 1e3)
            self.wall.append((time.perf_counter() - wall) * 1e3)

    def figures(self, base: Column) -> dict[str, Any]:
        """What it cost and how it differs from another."""
        names = self.estimator.topology.keypoints
        alike = KeypointSimilarity(keypoint_sigmas(names))
        lost, shown = 0, 0
        for right, other in zip(base.found, self.found, strict=True):
            shown += len(right)
            if right and other:
                table = alike(Bodies.of(right, len(names)), Bodies.of(other, len(names)))
                lost += int((table.max(axis=1) < ALIKE).sum())
            else:
                lost += len(right)
        alone = [i for i, poses in enumerate(base.found) if len(poses) == 1]
        return {
            "cpu_ms_one_person": round(statistics.mean(self.cpu[i] for i in alone), 2),
            "wall_ms_one_person": round(statistics.mean(self.wall[i] for i in alone), 2),
            "wall_ms_one_person_median": round(statistics.median(self.wall[i] for i in alone), 2),
            "poses": sum(map(len, self.found)),
            "lost": f"{lost} of {shown}",
            "frames_that_differ": sum(
                len(a) != len(b) for a, b in zip(base.found, self.found, strict=True)
            ),
            "visits": visits(self.found),
        }


def visits(found: Sequence[Sequence[Pose]]) -> list[tuple[int, int]]:
    """First and last frame of each stretch with people, gaps of up to ten frames left out."""
    there = [i for i, poses in enumerate(found) if poses]
    first = [i for k, i in enumerate(there) if not k or i - there[k - 1] > 10]
    last = [i for k, i in enumerate(there) if k + 1 == len(there) or there[k + 1] - i > 10]
    return list(zip(first, last, strict=True))


def main() -> None:
    """Measure, compare, print and perhaps store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("film", nargs="?", help="default: that of the test material")
    parser.add_argument("--network", default="accurate")
    parser.add_argument("--every", default="1,5,10")
    parser.add_argument("--variants", default="FP16,INT8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=0, help="at most so many; 0 = all")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results")
    asked = parser.parse_args()
    film = asked.film or str(material() / "media/one-by-one-person-detection.mp4")
    conditions = machine()
    columns = {
        f"{variant}, every {every}": Column(asked.network, variant, int(every), asked.threads)
        for variant in asked.variants.split(",")
        for every in asked.every.split(",")
    }
    block: list[Frame] = []
    with open_source(film, SourceOptions(frames=asked.frames)) as source:
        for frame in source:
            block.append(frame)
            if len(block) == 50:
                for column in columns.values():
                    column.block(block)
                block = []
    for column in columns.values():
        column.block(block)
    base = next(iter(columns.values()))
    figures = {name: column.figures(base) for name, column in columns.items()}
    if asked.store:
        store("detect_every", figures, conditions)
    else:
        for name, row in figures.items():
            print(name, row)


if __name__ == "__main__":
    main()
