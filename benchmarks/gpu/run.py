"""Everything that needs a GPU, in one command: parity, timings, the self-test, engines, memory checks.

    python benchmarks/gpu/run.py [--only PART,PART] [--skip PART,PART] [--trt-pose CLONE] [--out FILE]

Runs from a plain checkout with the packages of edgepose[gpu,test]; `network` needs torch with CUDA as well, the
memory checks NVIDIA's compute-sanitizer, engines their packages. Each part is a process with a limit of its own,
all of them together take eight minutes at most, and what is known is written after each: a part that cannot run,
fails or takes too long says so and costs none of the others. Results go to benchmarks/results/gpu.json.

`--quick` runs small things once, to see that every part starts; its figures mean nothing and are only printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT)]

from common import RESULTS, keep, machine  # noqa: E402

from edgepose.cuda.context import BINDINGS, context  # noqa: E402
from edgepose.cuda.host import library  # noqa: E402
from edgepose.cuda.host_build import build_library  # noqa: E402
from edgepose.errors import BackendUnavailable  # noqa: E402

ALL_SECONDS = 465  # with the start and the end of it below eight minutes
TESTS = ["tests/cuda", "tests/estimators"]
# A process whose tests see one binding only, and run as `python -m pytest` does.
PYTEST = """
import sys
sys.path.insert(0, "")
if sys.argv.pop(1) == "cuda-bindings":
    sys.modules["pycuda"] = None
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def card(options: argparse.Namespace) -> dict[str, Any]:
    """The GPU, its driver, and what speaks to it."""
    gpu = context()
    facts = {
        "name": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver_version,
        "binding": gpu.driver.__name__,
        "shares_memory": gpu.integrated,
    }
    gpu.close()
    return facts


def _pytest(binding: str, *words: str, under: tuple[str, ...] = ()) -> tuple[bool, str]:
    """Whether the tests marked gpu pass, and all that was said."""
    tests = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-p", "no:benchmark", *words]
    command = [*under, sys.executable, "-c", PYTEST, binding, *tests]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return run.returncode == 0, run.stdout.decode(errors="replace")


def parity(binding: str, options: argparse.Namespace) -> dict[str, Any]:
    """All kernels and the device path against their numpy twins, by the tests marked gpu."""
    package = BINDINGS[binding].partition(".")[0]
    importlib.import_module("cuda.bindings" if binding == "cuda-bindings" else package)
    few = ["-k", "a_disc"] if options.quick else []
    passed, said = _pytest(binding, *TESTS, *few)
    lines = said.strip().splitlines() or ["nothing was said"]
    if not passed:
        print("\n".join(lines[-40:]), file=sys.stderr)
    return {"passed": passed, "summary": lines[-1]}


def sanitizer(check: str, options: argparse.Namespace) -> dict[str, Any]:
    """compute-sanitizer over the kernels' tests: accesses out of bounds, races, or barriers."""
    tool = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    if tool is None:
        raise BackendUnavailable("compute-sanitizer is not installed")
    under = (tool, "--tool", check, "--error-exitcode", "9")
    few = ["-k", "oracle or crowd or shapes or twin", TESTS[0]]
    clean, said = _pytest("", *few, under=under)
    summary = [line for line in said.splitlines() if "SUMMARY" in line or " passed" in line]
    return {"clean": clean, "summary": summary[-2:] or said[-300:]}


def timing(module: str, function: str, options: argparse.Namespace) -> dict[str, Any]:
    """A function of a module beside this one, on the kernels of GPU 0."""
    timings = importlib.import_module("timings")
    device = importlib.import_module("edgepose.cuda.device")
    clock = timings.Clock(device.device_kernels(), options.quick)
    more = [options.trt_pose] if function == "network" else []
    figures: dict[str, Any] = getattr(importlib.import_module(module), function)(clock, *more)
    clock.runner.context.close()
    return figures


def self_test(options: argparse.Namespace) -> dict[str, Any]:
    """`edgepose doctor --self-test --quick`: each proof with its verdict."""
    engines = importlib.import_module("engines")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = engines.command("doctor", "--self-test", "--quick", "--report", str(report))
        if not report.exists():
            raise RuntimeError(engines.last_line(done))
        proofs = json.loads(report.read_text())["self_test"]
    return {p["name"]: {"state": p["state"], "found": p["found"]} for p in proofs}


def engine(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """An engine's poses against ONNX Runtime's on the CPU, and its rate."""
    figures: dict[str, Any] = importlib.import_module("engines").engine(name, options.into)
    return figures


class Part(NamedTuple):
    """What is run, and for how many seconds at most."""

    seconds: int
    run: Callable[[argparse.Namespace], dict[str, Any]]


# In the order of what would be missed most where the time does not suffice.
PARTS: dict[str, Part] = {
    "card": Part(40, card),
    "parity-cuda-bindings": Part(100, partial(parity, "cuda-bindings")),
    "kernels": Part(60, partial(timing, "timings", "kernels")),
    "decode": Part(40, partial(timing, "decoding", "decode")),
    "movenet": Part(40, partial(timing, "decoding", "movenet")),
    "network": Part(80, partial(timing, "timings", "network")),
    "self_test": Part(100, self_test),
    "onnxruntime-cuda": Part(90, partial(engine, "onnxruntime-cuda")),
    "tensorrt": Part(150, partial(engine, "tensorrt")),
    "tensorrt_rtx": Part(120, partial(engine, "tensorrt_rtx")),
    "onnxruntime-tensorrt": Part(120, partial(engine, "onnxruntime-tensorrt")),
    "memcheck": Part(60, partial(sanitizer, "memcheck")),
    "racecheck": Part(60, partial(sanitizer, "racecheck")),
    "parity-pycuda": Part(100, partial(parity, "PyCUDA")),
    "synccheck": Part(60, partial(sanitizer, "synccheck")),
}


def run_part(options: argparse.Namespace) -> None:
    """Run one part in this process, and leave what it found in a file."""
    try:
        figures = PARTS[options.part].run(options)
    except (BackendUnavailable, ImportError) as e:
        figures = {"not_run": str(e)}
    except (
        Exception
    ) as e:  # whatever a driver or a library can think of: the part says it, the others go on
        traceback.print_exc()
        figures = {"failed": f"{type(e).__name__}: {e}"}
    options.into.write_text(json.dumps(figures))


def found_by(name: str, seconds: float, words: list[str], folder: Path) -> dict[str, Any]:
    """What a part finds in a process of its own; what it had found by then, where it does not end well."""
    into = folder / f"{len(list(folder.iterdir()))}.json"
    command = [sys.executable, __file__, *words, "--part", name, "--into", str(into)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr, start_new_session=True)
    try:
        child.wait(seconds)
        ending = {"failed": f"ended with {child.returncode}"} if child.returncode else {}
    except subprocess.TimeoutExpired:
        ending = {"failed": f"not through after {seconds:g} s"}
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    known: dict[str, Any] = json.loads(into.read_text()) if into.exists() else {}
    return known | ending


def run_all(options: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """All parts that were asked for, in turn."""
    conditions, figures = machine(), dict[str, Any]()
    wanted = [n for n in PARTS if n in options.only.split(",") and n not in options.skip.split(",")]
    patience = 10 if options.quick else 1  # a stand-in is slow, and nothing is measured
    until = time.monotonic() + options.seconds * patience
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys(["card", *wanted]):
            left = min(PARTS[name].seconds * patience, until - time.monotonic())
            print(f"{name} ...", file=sys.stderr)
            if left < 1:
                figures[name] = {"not_run": "no time was left"}
                continue
            started = time.monotonic()
            found = found_by(name, left, words, Path(folder))
            if name == "card":
                if "name" not in found:
                    sys.exit(f"No GPU to measure: {next(iter(found.values()))}")
                conditions["gpu"] = found
                continue
            figures[name] = found | {"seconds": round(time.monotonic() - started, 1)}
            if options.out:
                keep(options.out, figures, conditions)
    return figures


def main() -> None:
    """Run the parts, and store what they found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    every = ",".join(PARTS)
    parser.add_argument("--only", default=every, metavar="PART,PART", help=f"of {every}")
    parser.add_argument("--skip", default="", metavar="PART,PART", help="parts to leave out")
    parser.add_argument("--trt-pose", type=Path, metavar="CLONE", help="its C++ decodes its way")
    parser.add_argument("--seconds", type=float, default=ALL_SECONDS, help="for all parts together")
    parser.add_argument("--quick", action="store_true", help="only see that each part starts")
    parser.add_argument("--out", type=Path, metavar="FILE", help="instead of results/gpu.json")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(options)
        return
    if not options.out and not options.quick:
        options.out = RESULTS / "gpu.json"
    try:
        library()
    except BackendUnavailable:  # a plain checkout
        print(build_library() or "The kernels were compiled for the host.", file=sys.stderr)
    words = ["--quick"] * options.quick
    if options.trt_pose:
        words += ["--trt-pose", str(options.trt_pose.resolve())]
        sys.argv = ["CLONE" if a == str(options.trt_pose) else a for a in sys.argv]
    print(json.dumps(run_all(options, words), indent=1))


if __name__ == "__main__":
    main()
