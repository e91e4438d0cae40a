"""ONNX Runtime and OpenVINO: one test body for both, on small networks and on real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepose.engines import EngineOptions, infer_all, load_engine
from edgepose.engines.signal_stack import signal_stack
from edgepose.errors import (
    BackendUnavailable,
    EngineError,
    NetworkFileError,
    UnknownNameError,
    UsageError,
)
from edgepose.paths import data_networks
from tests.conftest import Material
from tests.engines.conftest import Maker
from tests.engines.onnx_nets import pose_like, write


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return str(request.param)


def options(backend: str, **kwargs: object) -> EngineOptions:
    return EngineOptions(engine=backend, precision="fp32", **kwargs)  # type: ignore[arg-type]


def checked_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def reference(x: np.ndarray, bias: float = 0.5) -> np.ndarray:
    """The output cmap of `pose_like` for a constant picture, away from the border."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 8, 1, 1)).astype("f").reshape(4, 8)
    stem = max(0.0, 0.27 * float(x.flat[0]) + bias)
    return weights.sum(axis=1) * stem


def test_answers_are_right_and_float32(backend: str, onnx_file: Maker) -> None:
    engine = load_engine(onnx_file(), options(backend))
    x = np.full((1, 3, 32, 48), 2.0, "f")
    out = engine.infer({"x": x})
    assert {k: (v.shape, v.dtype) for k, v in out.items()} == {
        "cmap": ((1, 4, 16, 24), np.float32),
        "paf": ((1, 6, 16, 24), np.float32),
    }
    np.testing.assert_allclose(out["cmap"][0, :, 8, 8], reference(x), rtol=1e-5)
    assert engine.max_batch == 1
    assert backend in engine.name


def test_what_runs_here_is_told_to_nobody(tmp_path: Path, onnx_file: Maker) -> None:
    """ONNX Runtime 1.32 left a number of the machine, and a store of what it would send, in the user's cache."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    code = (
        "import sys; from pathlib import Path; from edgepose.engines import EngineOptions, load_engine; "
        "load_engine(Path(sys.argv[1]), EngineOptions(engine='onnxruntime')).close()"
    )
    places = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for place in places.values():
        Path(place).mkdir()
    rest = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code, str(onnx_file())]
    subprocess.run(command, env={**rest, **places}, check=True, timeout=120)
    assert not [f for place in places.values() for f in Path(place).rglob("*") if f.is_file()]


def test_outputs_belong_to_the_caller(backend: str, onnx_file: Maker) -> None:
    engine = load_engine(onnx_file(), options(backend))
    first = engine.infer({"x": np.ones((1, 3, 32, 48), "f")})
    kept = first["cmap"].copy()
    engine.infer({"x": np.full((1, 3, 32, 48), 9.0, "f")})
    np.testing.assert_array_equal(first["cmap"], kept)


def test_other_dtypes_and_strides_are_converted(backend: str, onnx_file: Maker) -> None:
    engine = load_engine(onnx_file(), options(backend))
    x = np.random.default_rng(1).random((1, 32, 48, 3))
    strided = x.transpose(0, 3, 1, 2)
    a = engine.infer({"x": strided})["cmap"]
    b = engine.infer({"x": np.ascontiguousarray(strided, dtype="f")})["cmap"]
    np.testing.assert_array_equal(a, b)


def test_batches_of_any_size(backend: str, onnx_file: Maker) -> None:
    engine = load_engine(onnx_file("n.onnx", ("n", 3, 32, 48)), options(backend))
    assert engine.max_batch == 0
    x = np.random.default_rng(2).random((5, 3, 32, 48), dtype="f")
    together = engine.infer({"x": x})["paf"]
    for i in range(5):
        np.testing.assert_allclose(
            engine.infer({"x": x[i : i + 1]})["paf"][0], together[i], atol=1e-5
        )


def test_infer_all_splits_what_the_network_cannot_take_at_once(
    backend: str, onnx_file: Maker
) -> None:
    x = np.random.default_rng(3).random((5, 3, 32, 48), dtype="f")
    fixed = load_engine(onnx_file("two.onnx", (1, 3, 32, 48)), options(backend))
    free = load_engine(onnx_file("any.onnx", (None, 3, 32, 48)), options(backend))
    a, b = infer_all(fixed, {"x": x}), infer_all(free, {"x": x})
    assert a["cmap"].shape == (5, 4, 16, 24)
    np.testing.assert_allclose(a["cmap"], b["cmap"], atol=1e-5)


def test_signals_are_handled_where_they_were_before(backend: str, onnx_file: Maker) -> None:
    """OpenVINO gives its first thread a stack for handlers on which Python's do not fit."""
    before = signal_stack()
    engine = load_engine(onnx_file("n.onnx", (1, 3, "h", "w")), options(backend))
    assert signal_stack().start == before.start
    engine.close()


def test_dynamic_size(backend: str, onnx_file: Maker) -> None:
    model = onnx_file("d.onnx", (1, 3, "h", "w"))
    free = load_engine(model, options(backend))
    assert free.inputs[0].shape == (1, 3, -1, -1)
    assert free.infer({"x": np.ones((1, 3, 16, 20), "f")})["cmap"].shape == (1, 4, 8, 10)
    bound = load_engine(model, options(backend, shape=(64, 80)))
    assert bound.inputs[0].shape == (1, 3, 64, 80)
    assert bound.infer({"x": np.ones((1, 3, 64, 80), "f")})["cmap"].shape == (1, 4, 32, 40)
    with pytest.raises(EngineError, match="takes 1x3x64x80, but 1x3x16x20 was given"):
        bound.infer({"x": np.ones((1, 3, 16, 20), "f")})


def test_fixed_size_openvino_reshapes_onnxruntime_explains(onnx_file: Maker) -> None:
    model = onnx_file()
    with pytest.raises(UsageError, match=r"fixed to 1x3x32x48.*--engine openvino"):
        load_engine(model, options("onnxruntime", shape=(64, 64)))
    pytest.importorskip("openvino", reason="openvino is not installed")
    engine = load_engine(model, options("openvino", shape=(64, 64)))
    assert engine.infer({"x": np.ones((1, 3, 64, 64), "f")})["cmap"].shape == (1, 4, 32, 32)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "No data was given for the network's input 'x'"),
        ({"y": np.ones(3)}, "has no input 'y'; its inputs are x"),
        ({"x": np.ones((1, 3, 32, 47), "f")}, "takes 1x3x32x48, but 1x3x32x47"),
        ({"x": np.ones((3, 32, 48), "f")}, "takes 1x3x32x48, but 3x32x48"),
        ({"x": np.ones((0, 3, 32, 48), "f")}, "takes 1x3x32x48, but 0x3"),
    ],
)
def test_feeds_are_checked(
    backend: str, onnx_file: Maker, feeds: dict[str, np.ndarray], message: str
) -> None:
    engine = load_engine(onnx_file(), options(backend))
    with pytest.raises(EngineError, match=message):
        engine.infer(feeds)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_an_error(
    backend: str, onnx_file: Maker, bad: float
) -> None:
    engine = load_engine(onnx_file(head=bad), options(backend))
    with pytest.raises(EngineError, match=r"Output 'cmap' of the network holds .* not finite"):
        engine.infer({"x": np.zeros((1, 3, 32, 48), "f")})


def test_large_finite_values_are_no_error(backend: str, onnx_file: Maker) -> None:
    engine = load_engine(onnx_file(bias=1e37), options(backend))
    out = engine.infer({"x": np.zeros((1, 3, 32, 48), "f")})["cmap"]
    assert np.isfinite(out).all()
    with np.errstate(over="ignore"):
        assert np.isinf(np.abs(out).sum())


def test_closed(backend: str, onnx_file: Maker) -> None:
    engine = load_engine(onnx_file(), options(backend))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"x": np.zeros((1, 3, 32, 48), "f")})


def test_threads(backend: str, onnx_file: Maker) -> None:
    engine = load_engine(onnx_file(), options(backend, threads=1))
    assert "1 threads" in engine.name
    engine.infer({"x": np.zeros((1, 3, 32, 48), "f")})


def test_float16_networks_answer_in_float32(backend: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 3, 4, 4])],
        [numpy_helper.from_array(np.array(2, "e"), "two")],
    )
    model = checked_model(graph)
    engine = load_engine(write(tmp_path / "half.onnx", model), EngineOptions(engine=backend))
    assert engine.inputs[0].dtype == np.float16
    out = engine.infer({"x": np.full((1, 3, 4, 4), 1.5, "f")})["y"]
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, np.full((1, 3, 4, 4), 3, "f"))


# --- files that cannot be used: one line, the right kind of error


def test_missing_empty_and_truncated(backend: str, onnx_file: Maker, tmp_path: Path) -> None:
    good = onnx_file().read_bytes()
    cases = {
        "missing.onnx": (None, "does not exist"),
        "empty.onnx": (b"", "is empty"),
        "cut.onnx": (good[: len(good) // 2], "damaged|cannot be used"),
        "long.onnx": (good + b"\x00", "damaged"),
        "text.onnx": (b"hello, this is not a network at all", "damaged|cannot be used"),
        "web.onnx": (b"<!DOCTYPE html><title>404</title>", "web page"),
        "lfs.onnx": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        "zip.onnx": (b"PK\x03\x04abcdef", "zip archive"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(NetworkFileError, match=message) as caught:
            load_engine(path, options(backend))
        assert "\n" not in str(caught.value), name
        assert len(str(caught.value)) < 400, name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.pth", "edgepose export"),
        ("a.tflite", "tf2onnx"),
        ("a.bin", r"name the \.xml"),
        ("a.jpg", "neither .onnx, .xml"),
        ("noext", "neither .onnx, .xml"),
    ],
)
def test_other_kinds_of_files(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(NetworkFileError, match=message):
        load_engine(tmp_path / name)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match="is not a file"):
        load_engine(tmp_path)


def test_unknown_operators(backend: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["x"], ["y"], name="odd")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])],
    )
    path = write(tmp_path / "odd.onnx", checked_model(graph))
    with pytest.raises(NetworkFileError, match="Frobnicate") as caught:
        load_engine(path, options(backend))
    assert "\n" not in str(caught.value)


def test_text_outputs_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [1])],
    )
    path = write(tmp_path / "text.onnx", checked_model(graph))
    with pytest.raises(NetworkFileError, match=r"tensor\(string"):
        load_engine(path, options("onnxruntime"))


def test_broken_ir(ir: Path, tmp_path: Path) -> None:
    xml, weights = ir.read_bytes(), ir.with_suffix(".bin").read_bytes()
    cases = {
        "nobin": (xml, None, "is missing"),
        "emptybin": (xml, b"", "are empty"),
        "cutbin": (xml, weights[: len(weights) // 2], "cut off or belongs to another"),
        "cutxml": (xml[:3000], weights, "damaged or cut off"),
        "notir": (b"<svg></svg>", weights, "not an OpenVINO network"),
        "web": (b"<html></html>", weights, "web page"),
    }
    for name, (a, b, message) in cases.items():
        path = tmp_path / f"{name}.xml"
        path.write_bytes(a)
        if b is not None:
            path.with_suffix(".bin").write_bytes(b)
        with pytest.raises(NetworkFileError, match=message) as caught:
            load_engine(path)
        assert "\n" not in str(caught.value), name


def test_openvino_devices(onnx_file: Maker) -> None:
    ov = pytest.importorskip("openvino", reason="openvino is not installed")
    model = onnx_file()
    with pytest.raises(UnknownNameError, match="Did you mean 'CPU'"):
        load_engine(model, options("openvino", device="cpuu"))
    assert "CPU" in load_engine(model, options("openvino", device="cpu")).name
    x = {"x": np.ones((1, 3, 32, 48), "f")}
    assert load_engine(model, EngineOptions("openvino", device="AUTO")).infer(x)["cmap"].any()
    if "NPU" not in ov.Core().available_devices:
        with pytest.raises(BackendUnavailable, match="no device NPU here"):
            load_engine(model, options("openvino", device="NPU"))


def test_openvino_precision(onnx_file: Maker) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    x = {"x": np.random.default_rng(4).random((1, 3, 32, 48), dtype="f")}
    exact = load_engine(onnx_file(), options("openvino"))
    assert "fp32" in exact.name
    np.testing.assert_allclose(
        exact.infer(x)["cmap"],
        load_engine(onnx_file(), options("onnxruntime")).infer(x)["cmap"],
        atol=1e-5,
    )


def test_stderr_stays_quiet(tmp_path: Path, onnx_file: Maker) -> None:
    """Libraries that log on their own would spoil the command line's one-line errors."""
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(onnx_file().read_bytes()[:200])
    code = (
        "import sys; from pathlib import Path\n"
        "from edgepose.engines import EngineOptions, load_engine\n"
        "from edgepose.errors import EdgeposeError\n"
        "for name in ('onnxruntime', 'openvino'):\n"
        "    try: load_engine(Path(sys.argv[1]), EngineOptions(name))\n"
        "    except EdgeposeError: pass\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(bad)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert run.stdout == ""


# --- real networks


@pytest.mark.parametrize(
    ("name", "shipped"),
    [
        ("openpose_mnv2small_368x432", "yolox-nano"),
        ("openpose_mnv2small_dyn", "edgepose-lite-body"),
    ],
)
def test_onnxruntime_and_openvino_agree_on_a_real_network(
    shared: Material, name: str, shipped: str
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    found = shared.find(f"networks/openpose-mobilenet-v2-small/{name}.onnx")
    model, size = found or data_networks() / f"{shipped}.onnx", (368, 432) if found else (352, 416)
    both = [load_engine(model, options(n, shape=size)) for n in ("onnxruntime", "openvino")]
    pixels = np.random.default_rng(5).uniform(0, 255, (1, 3, *size)).astype("f")
    a, b = (e.infer({e.inputs[0].name: pixels})[e.outputs[0].name] for e in both)
    assert not found or a.shape == (1, 57, 46, 54)
    np.testing.assert_allclose(a, b, atol=2e-4 * max(1.0, float(np.abs(a).max())))


def test_intel_network_at_its_size_and_another(hpe_alike: Path) -> None:
    engine = load_engine(hpe_alike)
    assert engine.choice.name == "openvino"
    assert [s.name for s in engine.outputs] == ["Mconv7_stage2_L1", "Mconv7_stage2_L2"]
    wide = load_engine(hpe_alike, EngineOptions(shape=(256, 512)))
    out = wide.infer({"data": np.zeros((1, 3, 256, 512), "f")})
    assert out["Mconv7_stage2_L2"].shape == (1, 19, 32, 64)


def test_channels_last_networks() -> None:
    model = data_networks() / "mediapipe-palm.onnx"
    engine = load_engine(model, EngineOptions("onnxruntime", shape=(192, 192)))
    assert engine.inputs[0].shape == (1, 192, 192, 3)
    with pytest.raises(UsageError, match="fixed to 1x192x192x3"):
        load_engine(model, EngineOptions("onnxruntime", shape=(192, 224)))


def test_weights_beside_the_onnx_file(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "outside.onnx"
    onnx.save(
        pose_like(), path, save_as_external_data=True, location="outside.data", size_threshold=0
    )
    engine = load_engine(path, options(backend))
    x = np.full((1, 3, 32, 48), 2.0, "f")
    np.testing.assert_allclose(engine.infer({"x": x})["cmap"][0, :, 8, 8], reference(x), rtol=1e-5)
    (tmp_path / "outside.data").unlink()
    with pytest.raises(NetworkFileError, match="outside"):
        load_engine(path, options(backend))


@pytest.mark.parametrize(
    "shape", [(1, 3, 30_000, 30_000), (1 << 20, 3, 64, 64), (1, 3, 1 << 40, 1)]
)
def test_inputs_that_no_machine_holds(backend: str, tmp_path: Path, shape: tuple[int, ...]) -> None:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [given], [out])
    path = write(tmp_path / "net.onnx", checked_model(graph))
    with pytest.raises(NetworkFileError, match=r"fixed to .* Export it at a smaller size"):
        load_engine(path, options(backend))
