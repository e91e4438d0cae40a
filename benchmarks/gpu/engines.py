"""An engine on this GPU: the poses of a film against ONNX Runtime's on the CPU, and its rate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.engines.options import EngineOptions
from edgepose.engines.table import find_backend, probe

ROOT = Path(__file__).resolve().parents[2]
FILM = ROOT / "tests/data/material/media/one-by-one-person-detection.mp4"
# with the size that the CPU, which would leave padding away, has to take as well
NETWORKS = {
    "movenet-multipose": ["--network-size=384x384"],
    "movenet-thunder": ["--detector-size=416"],
    "edgepose-lite-body": [],
    "mediapipe-hand": [],
}
WHERE = ["--start", "70", "--frames", "120"]  # somebody walks through
LIMIT = 100  # seconds for one command; building an engine is part of it


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of edgepose, as users run it, with files and caches of this user."""
    program = [sys.executable, "-m", "edgepose", *words]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said last."""
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]


def poses(network: str, engine: str) -> list[dict[str, Any]]:
    """The JSON lines of the film.

    Raises:
        RuntimeError: the command failed; with its last line.
    """
    words = ["posenet", str(FILM), f"--network={network}", f"--engine={engine}", "--headless"]
    done = command(*words, *NETWORKS[network], *WHERE, "--precision=fp32", "--json", "-")
    if done.returncode:
        raise RuntimeError(last_line(done))
    return [json.loads(line) for line in done.stdout.splitlines()]


def difference(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """How far the poses of two runs are apart, in pixels, where both found as many people."""
    same, distances = 0, []
    for a, b in zip(found, wanted, strict=True):
        same += len(a["poses"]) == len(b["poses"])
        if len(a["poses"]) == len(b["poses"]) == 1:
            distances.append(
                largest_distance(a["poses"][0]["keypoints"], b["poses"][0]["keypoints"])
            )
    return {
        "frames": len(found),
        "frames_with_as_many_people": same,
        "median_of_largest_joint_distance": round(float(np.median(distances or [0])), 3),
        "largest_joint_distance": round(float(max(distances, default=0)), 3),
    }


def largest_distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    """How far the keypoints that both poses have are apart, along x or y; in pixels."""
    return max(
        (max(abs(a[name][axis] - b[name][axis]) for axis in "xy") for name in a.keys() & b.keys()),
        default=0.0,
    )


def rate(network: str, engine: str) -> dict[str, Any]:
    """Median milliseconds of the stages of a frame, by `edgepose bench` at fp16 where the engine can."""
    best = "" if engine.startswith("onnxruntime-cuda") else ",precision=fp16"
    words = ["bench", network, "--compare", engine + best, "--frames", "80", "--warmup", "10"]
    done = command(*words, "--input", "test://people?size=1920x1080", "--json", "-")
    if done.returncode:
        return {"not_run": last_line(done)}
    column = json.loads(done.stdout)["columns"][0]
    return {name: times["p50"] for name, times in column["stages_ms"].items()}


def reference(network: str, folder: Path) -> list[dict[str, Any]]:
    """The poses of ONNX Runtime on the CPU, made once for all engines."""
    kept = folder / f"reference-{network}"
    if not kept.exists():
        kept.write_text(json.dumps(poses(network, "onnxruntime")))
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def engine(name: str, into: Path) -> dict[str, Any]:
    """Differences and rates of all networks inside on one engine; what is known by then is left in a file."""
    if reason := probe(find_backend(name), EngineOptions()):
        return {"not_run": reason.text}
    out: dict[str, Any] = {}
    for network in NETWORKS:
        try:
            found = difference(poses(network, name), reference(network, into.parent))
            out[network] = found | {"stages_ms": rate(network, name)}
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            out[network] = {"failed": str(e)}
        into.write_text(json.dumps(out))
    return out
