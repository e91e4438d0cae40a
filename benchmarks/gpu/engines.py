"""Every engine that runs on this GPU: the poses of a film against ONNX Runtime's on the CPU, and its rate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FILM = ROOT / "tests/data/material/media/one-by-one-person-detection.mp4"
ENGINES = ("tensorrt", "tensorrt_rtx", "onnxruntime-cuda", "onnxruntime-tensorrt")
NETWORKS = ("movenet-multipose", "movenet-thunder", "edgepose-lite-body", "mediapipe-hand")
WHERE = ["--start", "70", "--frames", "120"]  # somebody walks through
LIMIT = 300  # seconds for one command; building an engine is part of it


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of edgepose, as users run it, with files and caches of this user."""
    program = [sys.executable, "-m", "edgepose", *words]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)


def poses(network: str, engine: str) -> list[dict[str, Any]]:
    """The JSON lines of the film.

    Raises:
        RuntimeError: the command failed; with its last line.
    """
    words = ["posenet", str(FILM), f"--network={network}", f"--engine={engine}", "--headless"]
    done = command(*words, *WHERE, "--precision=fp32", "--json", "-")
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1:] or done.returncode)
    return [json.loads(line) for line in done.stdout.splitlines()]


def difference(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """How far the poses of two runs are apart, in pixels, where both found as many people."""
    same, distances = 0, []
    for a, b in zip(found, wanted, strict=True):
        same += len(a["poses"]) == len(b["poses"])
        if len(a["poses"]) == len(b["poses"]) == 1:
            points = [np.array(points_of(f["poses"][0])) for f in (a, b)]
            distances.append(np.nanmax(np.abs(points[0] - points[1])))
    return {
        "frames": len(found),
        "frames_with_as_many_people": same,
        "median_of_largest_joint_distance": round(float(np.median(distances or [0])), 3),
        "largest_joint_distance": round(float(max(distances, default=0)), 3),
    }


def points_of(pose: dict[str, Any]) -> list[tuple[float, float]]:
    """Positions of all joints; NaN where there is none."""
    nowhere = (float("nan"),) * 2
    return [(p["x"], p["y"]) if p else nowhere for p in pose["keypoints"]]


def rate(network: str, engine: str) -> dict[str, Any]:
    """Median milliseconds of the stages of a frame, by `edgepose bench` at fp16 where the engine can."""
    best = "" if engine.startswith("onnxruntime-cuda") else ",precision=fp16"
    words = ["bench", network, "--compare", engine + best, "--frames", "80", "--warmup", "10"]
    done = command(*words, "--input", "test://people?size=1920x1080", "--json", "-")
    if done.returncode:
        return {"not_run": done.stderr.strip().splitlines()[-1:]}
    column = json.loads(done.stdout)["columns"][0]
    return {name: times["p50"] for name, times in column["stages_ms"].items()}


def engines() -> dict[str, Any]:
    """Differences and rates of all networks inside, on all engines that load."""
    from edgepose.engines.options import EngineOptions
    from edgepose.engines.table import find_backend, probe

    out: dict[str, Any] = {}
    wanted: dict[str, list[dict[str, Any]]] = {}
    for engine in ENGINES:
        if reason := probe(find_backend(engine), EngineOptions()):
            out[engine] = {"not_run": reason.text}
            continue
        out[engine] = {}
        for network in NETWORKS:
            try:
                if network not in wanted:
                    wanted[network] = poses(network, "onnxruntime")
                figures = difference(poses(network, engine), wanted[network])
                figures["stages_ms"] = rate(network, engine)
            except (RuntimeError, subprocess.TimeoutExpired) as e:
                figures = {"failed": str(e)}
            out[engine][network] = figures
    return out
