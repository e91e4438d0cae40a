"""`posenet` with small networks of the user's own: bindings, batches, and networks that misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="these networks are made with onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ASTRONAUT = ROOT / "examples/images/astronaut.jpg"
TOPOLOGY = {"supercategory": "dumbbell", "keypoints": ["left", "right"], "skeleton": [[1, 2]]}


def dumbbell(path: Path, *, fill: float | None = None, outputs: int = 2) -> Path:
    """A network that always answers one dumbbell at (0.25, 0.5) and (0.75, 0.5) of the picture."""
    cmap = np.zeros((1, 2, 16, 16), np.float32)
    cmap[0, 0, 8, 4] = cmap[0, 1, 8, 12] = 0.9
    paf = np.zeros((1, 2, 16, 16), np.float32)
    paf[0, 1] = 1.0  # trt_pose's order: y, then x
    if fill is not None:
        cmap[:] = paf[:] = fill
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=1, axes=[1, 2, 3]),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["cmap_values", "nothing"], ["a"]),
        helper.make_node("Add", ["paf_values", "nothing"], ["b"]),
    ]
    constants = {"zero": np.zeros((1,), np.float32), "cmap_values": cmap, "paf_values": paf}
    shape = [1, 2, 16, 16]
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("a", "b")]
    graph = helper.make_graph(
        nodes,
        "dumbbell",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])],
        made[:outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    (folder / "t.json").write_text(json.dumps(TOPOLOGY))
    command = [sys.executable, "-m", "edgepose", "posenet", str(ASTRONAUT), "--topology", "t.json"]
    command += ["--json", "-", "--min-keypoints", "2", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_a_custom_network_with_equal_channels_is_bound_by_the_names_given(tmp_path: Path) -> None:
    model = dumbbell(tmp_path / "d.onnx")
    result = run(tmp_path, "--model", model, "--output-cmap=a", "--output_paf=b")
    assert result.returncode == 0, result.stderr
    (pose,) = json.loads(result.stdout)["poses"]
    left, right = pose["keypoints"]["left"], pose["keypoints"]["right"]
    assert abs(left["x"] - 512 * 4.5 / 16) < 1
    assert abs(right["x"] - 512 * 12.5 / 16) < 1
    assert abs(left["y"] - 512 * 8.5 / 16) < 1
    assert pose["links"][0][2] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("fill", [float("nan"), float("inf"), 1e30])
def test_numbers_that_are_none_end_in_a_line_or_in_nobody(tmp_path: Path, fill: float) -> None:
    model = dumbbell(tmp_path / "d.onnx", fill=fill)
    result = run(tmp_path, "--model", model, "--output-cmap=a", "--output-paf=b")
    assert result.returncode in (0, 1)
    assert "Traceback" not in result.stderr
    for line in result.stdout.splitlines():
        assert "NaN" not in line
        assert "Infinity" not in line


def test_one_output_is_too_few(tmp_path: Path) -> None:
    model = dumbbell(tmp_path / "d.onnx", outputs=1)
    result = run(tmp_path, "--model", model, "--output-cmap=a", "--output-paf=b")
    assert result.returncode == 1
    assert "does not fit its topology" in result.stderr
    assert "found a [1, 2, 16, 16]" in result.stderr


def test_colours_of_ones_own_are_drawn(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    (tmp_path / "colors.txt").write_text("255 0 255\n255 0 255\n")
    model = dumbbell(tmp_path / "d.onnx")
    words = ("--output-cmap=a", "--output-paf=b", "--colors=colors.txt", "--output", "o.png")
    result = run(tmp_path, "--model", model, *words)
    assert result.returncode == 0, result.stderr
    picture = cv2.imread(str(tmp_path / "o.png"))
    assert picture[int(512 * 8.5 / 16), int(512 * 8.5 / 16)].tolist() == pytest.approx(
        [255, 0, 255], abs=70
    )


def test_a_tensor_that_is_named_must_be_there(tmp_path: Path) -> None:
    model = dumbbell(tmp_path / "d.onnx")
    for flag, there in (("--input_blob", "input"), ("--output-cmap", "a"), ("--output-paf", "b")):
        names = {"--output-cmap": "a", "--output-paf": "b", "--input_blob": "input"}
        names[flag] = "nosuch"
        words = [f"{k}={v}" for k, v in names.items()]
        result = run(tmp_path, "--model", model, *words)
        assert result.returncode == 2, result.stderr
        assert "'nosuch'" in result.stderr
        assert f"{there}" in result.stderr.partition("Known:")[2]
        assert result.stdout == ""
