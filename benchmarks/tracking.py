"""Milliseconds a frame that tracking costs, by number of people, with and without smoothing.

    python benchmarks/tracking.py [--frames 600] [--json FILE]

The people are synthetic: 18 keypoints each, on random walks with noise, drop-outs and occlusions.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from edgepose.geometry import keypoints_box
from edgepose.networks.topology import Topology
from edgepose.track.one_euro import OneEuro
from edgepose.track.tracker import Tracker
from edgepose.types import Pose

NAMES = tuple(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle neck".split()
)


def crowd(people: int, frames: int, seed: int = 1) -> list[list[Pose]]:
    """Poses of each frame in a picture of 1280x720."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform((-50, -200), (50, 0), (len(NAMES), 2))
    place = rng.uniform((100, 250), (1180, 700), (people, 2))
    speed = rng.normal(0, 4, (people, 2))
    film = []
    for _ in range(frames):
        speed = speed * 0.98 + rng.normal(0, 0.5, speed.shape)
        place = np.clip(place + speed, (50, 200), (1230, 720))
        poses = []
        for at in place:
            if rng.random() < 0.05:
                continue
            points = np.full((len(NAMES), 3), np.nan, np.float32)
            seen = rng.random(len(NAMES)) < 0.85
            points[seen, :2] = (at + shape + rng.normal(0, 2, shape.shape))[seen]
            points[:, 2] = np.where(seen, 0.7, 0.0)
            poses.append(Pose(len(poses), points, NAMES, (), 0.7, keypoints_box(points)))
        film.append(poses)
    return film


def measure(people: int, frames: int, smooth: bool) -> dict[str, float]:
    """Median and 99th percentile of one update in milliseconds."""
    film = crowd(people, frames)
    tracker = Tracker(Topology("person", NAMES, ()), smooth=OneEuro() if smooth else None)
    times = []
    for i, poses in enumerate(film):
        start = time.perf_counter()
        tracker.update(poses, i / 30)
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return {
        "median_ms": round(statistics.median(times), 4),
        "p99_ms": round(times[int(len(times) * 0.99)], 4),
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [
        {"people": people, "smooth": smooth, **measure(people, options.frames, smooth)}
        for people in (0, 1, 5, 10, 20, 50)
        for smooth in (False, True)
    ]
    for row in rows:
        kind = "smoothed" if row["smooth"] else "plain"
        print(
            f"{row['people']:3} people  {kind:8}  {row['median_ms']:.3f} ms  "
            f"p99 {row['p99_ms']:.3f} ms"
        )
    if options.json:
        machine = {
            "processor": platform.machine(),
            "python": sys.version.split()[0],
            "numpy": np.__version__,
        }
        options.json.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
