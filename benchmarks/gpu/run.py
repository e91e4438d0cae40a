"""Everything that needs a GPU, in one command: parity, memory checks, timings.

    python benchmarks/gpu/run.py [--only PART,PART] [--skip PART,PART] [--trt-pose CLONE]

Parts: parity, sanitizer, kernels, decode, network, self_test, engines.

Needs edgepose[gpu,test]; `network` needs torch with CUDA as well, `sanitizer` NVIDIA's compute-sanitizer.
Results go to benchmarks/results/gpu.json. A part that cannot run says why and is left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import timings  # noqa: E402
from common import ROOT, machine, store  # noqa: E402
from engines import command, engines  # noqa: E402

from edgepose.cuda.context import context  # noqa: E402
from edgepose.errors import BackendUnavailable  # noqa: E402

Part = Callable[[argparse.Namespace], dict[str, Any]]
TESTS = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
WHERE = ["tests/cuda", "tests/estimators"]


def parity(options: argparse.Namespace) -> dict[str, Any]:
    """All kernels and the device decoder against their numpy twins, by the tests marked gpu."""
    run = subprocess.run([sys.executable, *TESTS, *WHERE], cwd=ROOT, capture_output=True, text=True)
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
    few = [*TESTS, "-k", "oracle or crowd or shapes or twin", WHERE[0]]
    for check in ("memcheck", "racecheck", "synccheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, *few]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        summary = [line for line in run.stdout.splitlines() if "SUMMARY" in line]
        out[check] = {"clean": run.returncode == 0, "summary": summary[-1:] or run.stdout[-300:]}
    return out


def self_test(options: argparse.Namespace) -> dict[str, Any]:
    """`edgepose doctor --self-test --quick`: each proof with its verdict."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command("doctor", "--self-test", "--quick", "--report", str(report))
        proofs = json.loads(report.read_text())["self_test"]
    return {p["name"]: {"state": p["state"], "found": p["found"]} for p in proofs}


PARTS: dict[str, Part] = {
    "parity": parity,
    "sanitizer": sanitizer,
    "kernels": lambda options: timings.kernels(),
    "decode": lambda options: timings.decode(),
    "network": lambda options: timings.network(options.trt_pose),
    "self_test": self_test,
    "engines": lambda options: engines(),
}


def main() -> None:
    """Run the parts in turn, and store what they found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run")
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
        if name in options.skip.split(",") or name not in options.only.split(","):
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
