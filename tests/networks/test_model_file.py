"""One look at a model file: the same true sentence whoever asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.engines import EngineOptions, choose
from edgepose.errors import BackendUnavailable, NetworkFileError, UsageError
from edgepose.networks.model_file import check_model_file
from edgepose.networks.resolve import resolve

WRONG = {
    "net.uff": "UFF, which TensorRT has dropped",
    "net.caffemodel": "a Caffe network",
    "net.tflite": "a TensorFlow Lite file",
    "net.pth": "`edgepose export`",
    "net.h5": "a TensorFlow file",
    "net.bin": "name the .xml beside it",
    "net.txt": "neither .onnx, .xml (OpenVINO IR) nor .engine (TensorRT)",
}


@pytest.mark.parametrize("name", WRONG)
def test_files_of_other_kinds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something")
    for ask in (
        lambda path: check_model_file(path),
        lambda path: resolve(model=path, topology="human_pose"),
        lambda path: resolve("resnet18-body", model=path),
        lambda path: choose(path, EngineOptions()),
    ):
        with pytest.raises(NetworkFileError) as e:
            ask(tmp_path / name)
        assert WRONG[name] in str(e.value)
    with pytest.raises(UsageError, match="use --model"):
        resolve("net.uff")


@pytest.mark.parametrize("suffix", [".engine", ".plan", ".trt"])
def test_plans_go_to_the_engine_that_reads_them(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"ptrt" + bytes(100))
    assert resolve(model=path, topology="human_pose").model == path
    with pytest.raises(BackendUnavailable, match=r"No engine runs \.engine files.*tensorrt:"):
        choose(path, EngineOptions())


@pytest.mark.parametrize(
    "command",
    [
        ("posenet", "p.jpg", "--model", "net.uff", "--topology", "human_pose", "--headless"),
        ("bench", "resnet18-body", "--model", "net.uff"),
        ("build-engine", "net.uff"),
    ],
    ids=lambda c: c[0],
)
def test_every_command_says_it(command: tuple[str, ...], tmp_path: Path, shared: Path) -> None:
    (tmp_path / "net.uff").write_bytes(b"something")
    picture = next((shared / "datasets/coco-mini/images").glob("*.jpg"))
    (tmp_path / "p.jpg").write_bytes(picture.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "edgepose", *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "UFF, which TensorRT has dropped" in done.stderr
