"""`make demo`: poses in a sample image, without a download.

Writes out/astronaut.jpg and prints the poses as JSON. Uses the network that edgepose ships; in a
checkout that lacks it, Intel's network from ../shared/networks where that folder is there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgepose.paths import data_networks

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "examples" / "images" / "astronaut.jpg"
INTEL = ROOT.parent / "shared" / "networks" / "human-pose-estimation-0001" / "FP16-INT8"


def network() -> list[str]:
    """Arguments that choose the network."""
    if (data_networks() / "edgepose-lite-body.onnx").is_file():
        return ["--network", "edgepose-lite-body"]
    weights = INTEL / "human-pose-estimation-0001.xml"
    return ["--network", "human-pose-estimation-0001", "--model", str(weights)]


def main() -> int:
    """Run posenet as a user would."""
    out = ROOT / "out"
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "edgepose", "posenet", *network(), str(IMAGE)]
    command += ["--output", str(out), "--overlay", "links,keypoints,boxes,scores", "--json", "-"]
    print("$", "posenet", " ".join(command[4:]), file=sys.stderr, flush=True)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    sys.exit(main())
