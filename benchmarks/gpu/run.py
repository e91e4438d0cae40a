"""Everything that needs a GPU, in one command: parity, memory checks, timings.

    python benchmarks/gpu/run.py [--skip parity,sanitizer,kernels,decode,network] [--trt-pose CLONE]

Needs edgepose[gpu,test]; `network` needs torch with CUDA as well, `sanitizer` NVIDIA's compute-sanitizer.
Results go to benchmarks/results/gpu.json. A part that cannot run says why and is left out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import timings  # noqa: E402
from common import ROOT, machine, store  # noqa: E402

from edgepose.cuda.context import context  # noqa: E402
from edgepose.errors import BackendUnavailable  # noqa: E402

Part = Callable[[argparse.Namespace], dict[str, Any]]
TESTS = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/cuda"]


def parity(options: argparse.Namespace) -> dict[str, Any]:
    """All kernels and the device decoder against their numpy twins, by the tests marked gpu."""
    run = subprocess.run([sys.executable, *TESTS], cwd=ROOT, capture_output=True, text=True)
    lines = run.stdout.strip().splitlines() or [run.stderr.strip()[-300:]]
    for line in lines[-40:] if run.returncode else ():
        print(line, file=sys.stderr)
    return {"passed": run.returncode == 0, "summary": lines[-1]}


def sanitizer(options: argparse.Namespace) -> dict[str, Any]:
    """compute-sanitizer over the same tests: reads and writes out of bounds, races, barriers."""
    tool = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    if tool is None:
        raise BackendUnavailable("compute-sanitizer is not installed")
    out = {}
    few = [*TESTS, "--hypothesis-profile=default", "-k", "oracle or crowd or shapes or twin"]
    for check in ("memcheck", "racecheck", "synccheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, *few]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        summary = [line for line in run.stdout.splitlines() if "SUMMARY" in line]
        out[check] = {"clean": run.returncode == 0, "summary": summary[-1:] or run.stdout[-300:]}
    return out


PARTS: dict[str, Part] = {
    "parity": parity,
    "sanitizer": sanitizer,
    "kernels": lambda options: timings.kernels(),
    "decode": lambda options: timings.decode(),
    "network": lambda options: timings.network(options.trt_pose),
}


def main() -> None:
    """Run the parts in turn, and store what they found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--skip", default="", help=f"parts to leave out: {', '.join(PARTS)}")
    parser.add_argument("--trt-pose", type=Path, metavar="CLONE", help="its C++ decodes its way")
    options = parser.parse_args()
    if options.trt_pose:
        sys.argv = ["CLONE" if a == str(options.trt_pose) else a for a in sys.argv]
    conditions = machine()
    try:
        gpu = context()
    except BackendUnavailable as e:
        sys.exit(f"No GPU to measure: {e}")
    conditions["gpu"] = {
        "name": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver_version,
        "binding": gpu.driver.__name__,
        "shares_memory": gpu.integrated,
    }
    figures: dict[str, Any] = {}
    for name, part in PARTS.items():
        if name in options.skip.split(","):
            continue
        print(f"{name} ...", file=sys.stderr)
        try:
            figures[name] = part(options)
        except (BackendUnavailable, ImportError) as e:
            figures[name] = {"not_run": str(e)}
    gpu.close()
    store("gpu", figures, conditions)


if __name__ == "__main__":
    main()
