"""How long the first moments take, and whether memory stays flat over many frames.

usage: python benchmarks/startup.py [--frames N]

Times `posenet --help` and one picture to its JSON line as whole processes (median of seven, warm file
cache), then pushes N frames (default 10,000) through one pipeline and reads the resident memory.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import ROOT, machine, material, store

MEMORY = """
import json, sys
from pathlib import Path
from edgepose.engines import EngineOptions
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source
from edgepose.networks import registry
from edgepose.networks.resolve import resolve
from edgepose.pipeline import Pipeline
video, model, network, frames = sys.argv[1:]
def rss():
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 1e6
found = resolve(network, model=model or None)
estimator = make_estimator(found, EstimatorOptions(engine=EngineOptions()))
seen = []
class Watch:
    def write(self, result):
        if result.frame % 50 == 0:
            seen.append(rss())
    def close(self):
        pass
source = open_source(video, SourceOptions(loop=-1, frames=int(frames)))
Pipeline(source, estimator, sinks=[Watch()]).run()
tenth = max(1, len(seen) // 10)
print(json.dumps({'frames': int(frames), 'after_tenth_mb': seen[tenth], 'peak_mb': max(seen), 'last_mb': seen[-1]}))
"""


def timed(command: list[str], runs: int = 7) -> float:
    """Median seconds of a whole process, after one run that warms the file cache."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Run all three and store the figures."""
    import json

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    args = parser.parse_args()
    conditions = machine()
    folder = material()
    posenet = str(Path(sys.executable).with_name("posenet"))
    image = str(ROOT / "examples/images/astronaut.jpg")
    model = str(
        folder / "networks/human-pose-estimation-0001/FP16-INT8/human-pose-estimation-0001.xml"
    )
    intel = ["--network", "human-pose-estimation-0001", "--model", model]
    video = str(folder / "media/one-by-one-person-detection.mp4")
    figures: dict[str, object] = {
        "python_alone_s": round(timed([sys.executable, "-c", "pass"]), 3),
        "help_s": round(timed([posenet, "--help"]), 3),
        "first_image_openvino_s": round(timed([posenet, *intel, image, "--json", "-"]), 3),
        "first_image_shipped_network_s": round(
            timed([posenet, "--network", "edgepose-lite-body", image, "--json", "-"]), 3
        ),
    }
    for name, weights in (("human-pose-estimation-0001", model), ("edgepose-lite-body", "")):
        command = [sys.executable, "-c", MEMORY, video, weights, name, str(args.frames)]
        out = subprocess.run(command, check=True, capture_output=True, text=True)
        figures[f"memory {name}"] = json.loads(out.stdout)
    store("startup", figures, conditions)


if __name__ == "__main__":
    main()
