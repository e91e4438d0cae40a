"""`edgepose build-engine`, against a TensorRT double on a pretended GPU, and for real with TensorRT for RTX."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgepose.cli.build_progress import Bar, Lines
from edgepose.cli.common import run_app
from edgepose.cli.console import Talk
from edgepose.cli.main import make_app
from edgepose.engines.cache import sidecar_path
from edgepose.engines.gpu import Gpu
from edgepose.engines.plans import Flavour
from edgepose.paths import engines_cache
from tests.conftest import Material
from tests.engines import trt_double
from tests.engines.cuda_double import lazy_cuda
from tests.engines.onnx_nets import pose_like

ORIN = Gpu(0, "Orin", "8.7", "12.6", 8 << 30, False)
Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "mine.onnx"
    onnx.save(pose_like(("n", 3, "h", "w")), path)
    return path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object) -> Said:
        code = run_app(make_app(), ["build-engine", *map(str, args)], "edgepose")
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A TensorRT 10.3 with two DLA cores on an Orin, all doubles."""
    double = trt_double.make("10.3.0", cores=2)
    lazy, cuda = lazy_cuda()
    double.state.launch = lazy.launch
    flavour = Flavour("tensorrt", "TensorRT", double)
    monkeypatch.setattr("edgepose.engines.tensorrt.flavour", lambda: flavour)
    monkeypatch.setattr("edgepose.engines.tensorrt_load.find_gpu", lambda device: ORIN)
    monkeypatch.setattr("edgepose.engines.tensorrt_load.check_driver", lambda: None)
    monkeypatch.setattr("edgepose.engines.tensorrt_load.open_cuda", lambda index: cuda)
    return double


def test_builds_then_finds(run: Run, trt: Any, model: Path) -> None:
    code, out, err = run(model, "--shape", "48x32")
    assert code == 0, err
    path = Path(out.strip())
    assert path.parent == engines_cache()
    assert path.is_file()
    assert "Building mine.onnx in fp16 for Orin with TensorRT 10.3.0 (none was built yet)" in err
    assert re.search(r"mine \(fp16\): built in \d", err)
    code, again, err = run(model, "--shape", "48x32")
    assert (code, again, err) == (0, out, "mine (fp16): already there\n")
    code, _, err = run(model, "--shape", "48x32", "--force")
    assert code == 0
    assert "(asked for)" in err


def test_every_option_reaches_the_builder(run: Run, trt: Any, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.engine"
    code, out, err = run(
        model, "--shape", "48x32", "--batch", "1:2:4", "--precision", "fp16", "--workspace", 64,
        "--dla", 1, "--optimization-level", 5, "--hardware-compatible", "--timing-cache",
        tmp_path / "t.timing", "--output", target, "--json",
    )  # fmt: skip
    assert code == 0, err
    asked = json.loads(target.read_bytes())
    assert asked["profiles"] == [{"x": [[n, 3, 32, 48] for n in (1, 2, 4)]}]
    assert asked["pools"] == {"WORKSPACE": 64 << 20}
    assert (asked["dla"], asked["level"], asked["compatibility"]) == (1, 5, "AMPERE_PLUS")
    assert (tmp_path / "t.timing").is_file()
    told = json.loads(out)
    assert told["engine"] == str(target)
    assert told["built"] is True
    assert told["key"]["options"] == "workspace=64 level=5 hardware-compatible"
    assert sidecar_path(target).is_file()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--shape", "32"], 2, "is not WIDTHxHEIGHT"),
        (["--batch", "3:2:1"], 2, "MIN:OPT:MAX in ascending order"),
        (["--precision", "fp8"], 2, "use fp32, fp16, int8, best"),
        (["--precision", "int8", "--shape", "48x32"], 2, "--calibration FOLDER"),
        (["--dla", "5", "--shape", "48x32"], 2, "DLA core 5 is asked for, but this device has 2"),
        (["--engine", "onnxruntime"], 2, "nothing is built for it"),
        (["--engine", "tensort"], 2, "Did you mean 'tensorrt'"),
        ([], 2, "Add --shape WIDTHxHEIGHT"),
        (["--optimization-level", "6"], 2, "--optimization-level"),
        (["--calibration", "."], 2, "--like NETWORK"),
        (["--like", "no-such-network"], 2, "Unknown network"),
    ],
)
def test_mistakes(
    run: Run, trt: Any, model: Path, args: list[str], code: int, message: str
) -> None:
    got, out, err = run(model, *args)
    assert got == code, err
    assert out == ""
    assert message in " ".join(err.split())
    assert not list(engines_cache().glob("*.engine"))


def test_files_that_are_no_network(run: Run, trt: Any, tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"\xff" * 100)
    (tmp_path / "plan.engine").write_bytes(b"ptrt1234")
    (tmp_path / "page.onnx").write_bytes(b"<html>")
    for name, message in {
        "garbage.onnx": "damaged, cut off or not an ONNX file",
        "plan.engine": "is a finished plan",
        "page.onnx": "web page",
        "missing.onnx": "does not exist",
    }.items():
        code, out, err = run(tmp_path / name)
        assert (code, out) == (2 if "plan" in name else 1, "")
        assert message in err
        assert err.count("\n") == 1


def test_unknown_networks(run: Run, trt: Any) -> None:
    code, _, err = run("resnet18-boddy")
    assert code == 2
    assert "Did you mean 'resnet18-body'" in err


def test_like_gives_the_size_and_prepares_pictures(
    run: Run, trt: Any, model: Path, tmp_path: Path
) -> None:
    import cv2

    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        picture = np.random.default_rng(i).integers(0, 255, (60, 80, 3), np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a picture at all")
    args = (model, "--like", "resnet18-body", "--calibration", folder)
    code, out, err = run(*args, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["key"]["precision"] == "int8"
    assert told["key"]["shape"] == "x 1x3x224x224"
    plan = json.loads(Path(told["engine"]).read_bytes())
    assert plan["calibrated"] == ["batches", 3, 1]
    assert run(*args)[2] == "mine (int8): already there\n"
    (folder / "0.png").unlink()
    code, _, err = run(*args)
    assert code == 0
    assert "calibration: " in err
    shutil.rmtree(folder)
    folder.mkdir()
    code, _, err = run(*args)
    assert code == 2
    assert "holds no pictures" in err


def test_a_build_that_fails(run: Run, trt: Any, model: Path) -> None:
    trt.state.fail = "[virtualMemoryBuffer] Out of memory (requested 4294967296 bytes)"
    code, out, err = run(model, "--shape", "48x32", "-q")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "lower --workspace" in err


def test_a_cache_that_cannot_be_written_is_an_error_here(run: Run, trt: Any, model: Path) -> None:
    engines_cache().parent.mkdir(parents=True)
    engines_cache().touch()
    code, _, err = run(model, "--shape", "48x32")
    assert code == 1
    assert "EDGEPOSE_CACHE" in err


def test_without_tensorrt(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    code, out, err = run(model, "--shape", "48x32")
    assert (code, out) == (1, "")
    assert "sudo apt install python3-libnvinfer" in err
    assert "--system-site-packages" in err
    assert err.count("\n") == 1


def test_with_tensorrt_but_no_gpu(
    run: Run, trt: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgepose.engines.gpu import find_gpu

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr("edgepose.engines.tensorrt_load.find_gpu", find_gpu)
    code, _, err = run(model, "--shape", "48x32")
    assert code == 1
    assert "mine.onnx cannot be built here: CUDA_VISIBLE_DEVICES hides every GPU." in err


# --- progress


def test_lines_say_now_and_then_how_far_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Talk(), every=0)
    lines.phase("parse")
    lines.end("parse")
    lines.phase("Building engine", 4)
    lines.phase("Timing graph", 9)
    lines.step("Timing graph", 3)
    lines.step("Building engine", 2)
    assert not lines.cancelled()
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["reading the network", "building: 2 of 4 steps, 0 s"]


def test_bar_survives_phases_in_any_order(capfd: pytest.CaptureFixture[str]) -> None:
    bar = Bar(Talk())
    bar.phase("build")
    bar.phase("Building engine", 4)
    bar.phase("A phase with a name that is much too long for a line of a terminal", 9)
    bar.step("Building engine", 2)
    bar.step("never begun", 1)
    bar.end("never begun")
    bar.end("Building engine")
    bar.end("build")
    bar.end("build")
    bar.close()
    assert capfd.readouterr().out == ""


# --- for real


@pytest.fixture
def real(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx-cu13 is not installed")

    def start(*args: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edgepose", "build-engine", "--engine", "tensorrt_rtx"]
            + [str(a) for a in args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        )

    return start


@pytest.fixture
def real_network(shared: Material) -> Path:
    """One whose sizes are fixed."""
    name = "openpose-mobilenet-v2-small/openpose_mnv2small_368x432.onnx"
    return shared.network(name, "mediapipe-hand.onnx")


def test_rtx_from_the_command_line(real: Callable[..., subprocess.Popen[str]], model: Path) -> None:
    process = real(model, "--shape", "64x64", "--batch", "1:2:4")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert Path(out.strip()).read_bytes()[:4] == b"vtrt"
    assert "for any GPU with TensorRT for RTX" in err


def test_rtx_two_processes_one_builds(
    real: Callable[..., subprocess.Popen[str]], real_network: Path
) -> None:
    both = [real(real_network, "--json") for _ in range(2)]
    told = [json.loads(p.communicate(timeout=200)[0]) for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sorted(t["built"] for t in told) == [False, True]
    assert told[0]["engine"] == told[1]["engine"]


def test_rtx_cancelled_by_ctrl_c(
    real: Callable[..., subprocess.Popen[str]], real_network: Path
) -> None:
    process = real(real_network, "--precision", "fp32")
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == "building":
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert "cancelled; nothing was kept" in err
    assert not list(engines_cache().glob("*.engine"))
    assert not list(engines_cache().glob(".*.part"))
