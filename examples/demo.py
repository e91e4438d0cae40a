"""`make demo`: poses in a sample image, without a download.

Writes out/astronaut.jpg and prints the poses as JSON.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "examples" / "images" / "astronaut.jpg"


def main() -> int:
    """Run posenet as a user would."""
    out = ROOT / "out"
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "edgepose", "posenet", "--network", "accurate", str(IMAGE)]
    command += ["--output", str(out), "--overlay", "links,keypoints,boxes,scores", "--json", "-"]
    print("$", "posenet", " ".join(command[4:]), file=sys.stderr, flush=True)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    sys.exit(main())
