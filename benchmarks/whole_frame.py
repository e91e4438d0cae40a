"""Video in, poses, overlay, MP4 out: where the time of a frame goes, and how well stages overlap.

usage: python benchmarks/whole_frame.py [--frames N] [--threads N]

Runs human-pose-estimation-0001 INT8 with OpenVINO on the test video, twice: once stage after stage
(how much is our own work), once as the pipeline runs it (how near it comes to its slowest thread).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from common import machine, material, store

from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.engines import EngineOptions
from edgepose.estimators import Estimator, EstimatorOptions, make_estimator
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.sources import open_source
from edgepose.networks.resolve import resolve
from edgepose.pipeline import Pipeline
from edgepose.timing import Stopwatch

OURS = ("preprocess", "postprocess", "overlay")
LIBRARIES = ("decode", "network", "output")


def estimator_of(folder: Path, threads: int) -> Estimator:
    """Intel's network on OpenVINO."""
    model = folder / "networks/human-pose-estimation-0001/FP16-INT8/human-pose-estimation-0001.xml"
    network = resolve("human-pose-estimation-0001", model=model)
    options = EstimatorOptions(engine=EngineOptions(engine="openvino", threads=threads))
    return make_estimator(network, options)


def in_turn(video: Path, estimator: Estimator, frames: int, out: Path) -> dict[str, float]:
    """Mean milliseconds by stage where one stage runs at a time."""
    overlay = Overlay(estimator.topology, parse_overlay("links,keypoints"))
    totals: dict[str, float] = {}
    with open_source(str(video), SourceOptions(frames=frames)) as source:
        output = open_output(str(out), OutputOptions(rate=source.rate))
        iterator = iter(source)
        count = 0
        while True:
            watch = Stopwatch()
            with watch.stage("decode"):
                frame = next(iterator, None)
            if frame is None:
                break
            (poses,) = estimator.estimate([frame], watch)
            with watch.stage("overlay"):
                overlay.draw(frame.pixels, poses, None)
            with watch.stage("output"):
                output.write(frame)
            for name, value in watch.stages.items():
                totals[name] = totals.get(name, 0.0) + value
            count += 1
        output.close()
    return {name: value / count for name, value in totals.items()}


def overlapped(video: Path, estimator: Estimator, frames: int, out: Path) -> dict[str, float]:
    """Frames a second of the pipeline, and of its slowest thread had it never waited."""
    with open_source(str(video), SourceOptions(frames=frames)) as source:
        output = open_output(str(out), OutputOptions(rate=source.rate))
        overlay = Overlay(estimator.topology, parse_overlay("links,keypoints"))
        start = time.perf_counter()
        summary = Pipeline(source, estimator, overlay=overlay, outputs=[output]).run()
        seconds = time.perf_counter() - start
        output.close()
    mean = {name: s.mean for name, s in summary.stages.items()}
    threads = {
        "read": mean["decode"],
        "infer": mean["preprocess"] + mean["network"] + mean["postprocess"],
        "write": mean["overlay"] + mean["output"],
    }
    slowest = max(threads.values())
    rate = summary.frames / seconds
    return {
        "frames_per_s": rate,
        "slowest_thread_frames_per_s": 1000 / slowest,
        "ratio_to_slowest": rate * slowest / 1000,
        **{f"{name}_ms": value for name, value in threads.items()},
    }


def main() -> None:
    """Run both and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    conditions = machine()
    folder = material()
    video = folder / "media/one-by-one-person-detection.mp4"
    estimator = estimator_of(folder, args.threads)
    with tempfile.TemporaryDirectory() as tmp:
        in_turn(video, estimator, 20, Path(tmp) / "warm.mp4")
        stages = in_turn(video, estimator, args.frames, Path(tmp) / "a.mp4")
        pipeline = overlapped(video, estimator, args.frames, Path(tmp) / "b.mp4")
    estimator.close()
    total = sum(stages.values())
    figures = {
        "stages_ms": {k: round(v, 3) for k, v in stages.items()},
        "own_share_of_frame": round(sum(stages[k] for k in OURS) / total, 4),
        "pipeline": {k: round(v, 3) for k, v in pipeline.items()},
    }
    store("whole_frame", figures, conditions)


if __name__ == "__main__":
    main()
