"""The one command for a day with a GPU, on the stand-in: every part starts, and none costs the others."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cuda.stand_in import ROOT, StandIn

FOLDER = ROOT / "benchmarks/gpu"
LATE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import run
print(json.dumps(run.found_by("racecheck", 0.5, [], Path(sys.argv[2]))))
"""


def figures(stand_in: StandIn, out: Path, parts: str, **environment: str) -> dict[str, Any]:
    """What the command leaves in its file; the stand-in shares its memory as a Jetson does."""
    command = [str(FOLDER / "run.py"), "--quick", "--out", str(out), "--only", parts]
    run = stand_in.run(command, "cuda-bindings", FAKE_INTEGRATED="1", **environment)
    assert run.returncode == 0, run.stderr[-3000:]
    data: dict[str, Any] = json.loads(out.read_text())
    assert data["machine"]["gpu"]["name"] == "Fake"
    assert json.loads(run.stdout) == data["figures"]
    assert ",".join(data["figures"]) == parts
    return dict(data["figures"])


def sanitizer(folder: Path, does: str) -> dict[str, str]:
    """An environment with a compute-sanitizer that does something."""
    tool = folder / "bin/compute-sanitizer"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{does}\n")
    tool.chmod(0o755)
    return {"PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}"}


def test_what_is_timed_is_there(stand_in: StandIn, tmp_path: Path) -> None:
    found = figures(stand_in, tmp_path / "gpu.json", "kernels,decode,movenet")
    kernels = found["kernels"]
    labels = [
        f"{s} {k} to {n}x{n}" for s in ("4K", "1080p") for k in ("rgb8", "nv12") for n in (224, 640)
    ]
    assert all({"ms", "of_bytes_bound", "host_ms"} == kernels[label].keys() for label in labels)
    assert "128 threads, 1 strips" in kernels["1080p rgb8 to 224x224 by blocks"]
    assert {"straight_ms", "turned_ms"} == kernels["8 crops of 1080p to 192x256"].keys()
    one = found["decode"]["1 people"]
    assert one["poses_found"] == 1
    assert one.keys() > {"peaks_ms", "lines_ms", "copy_ms", "enlarged_twice_gpu_ms"}
    assert found["movenet"]["1 people"]["people_found"] == 1


def test_a_part_that_dies_costs_no_other(stand_in: StandIn, tmp_path: Path) -> None:
    killed = sanitizer(tmp_path, "kill -9 $PPID")
    found = figures(
        stand_in, tmp_path / "gpu.json", "tensorrt_rtx,memcheck,parity-pycuda", **killed
    )
    assert found["memcheck"]["failed"] == "ended with -9"
    assert found["tensorrt_rtx"]["not_run"]
    assert found["parity-pycuda"]["not_run"]


def test_a_part_that_takes_too_long_is_ended(stand_in: StandIn, tmp_path: Path) -> None:
    sleeps = sanitizer(tmp_path, "exec sleep 900")
    (tmp_path / "parts").mkdir()
    words = ["-c", LATE, str(FOLDER), str(tmp_path / "parts")]
    run = stand_in.run(words, "cuda-bindings", **sleeps)
    assert json.loads(run.stdout) == {"failed": "not through after 0.5 s"}, run.stderr


@pytest.mark.parametrize("network", ["movenet-multipose", "movenet-thunder"])
def test_an_engine_is_compared_on_what_posenet_writes(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU's engine with itself: no GPU is needed for that, and nothing may differ."""
    spec = importlib.util.spec_from_file_location("gpu_engines", FOLDER / "engines.py")
    assert spec is not None
    assert spec.loader is not None
    engines = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engines)
    monkeypatch.setattr(engines, "NETWORKS", {network: engines.NETWORKS[network]})
    monkeypatch.setattr(engines, "WHERE", ["--start", "75", "--frames", "2"])
    monkeypatch.setattr(engines, "rate", lambda *_: {})
    found = engines.engine("onnxruntime", tmp_path / "found.json")[network]
    assert found["frames"] == found["frames_with_as_many_people"] == 2, found
    assert found["largest_joint_distance"] == 0
    one = json.loads((tmp_path / f"reference-{network}").read_text())[0]["poses"][0]["keypoints"]
    moved = {name: {**point, "y": point["y"] - 3} for name, point in one.items()}
    assert engines.largest_distance(one, moved) == pytest.approx(3)
