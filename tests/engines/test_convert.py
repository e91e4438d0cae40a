"""Networks in fp16 and int8, compared with the original by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepose.engines.base import Feeds
from edgepose.engines.convert import to_fp16, to_int8
from edgepose.engines.fp16 import convert
from edgepose.engines.int8 import observe
from edgepose.engines.options import Calibration
from edgepose.errors import BackendUnavailable, EngineError
from edgepose.paths import data_networks
from tests.conftest import Material
from tests.engines.conftest import Maker
from tests.engines.onnx_nets import write

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def run(model: bytes | str, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def error(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Largest difference over the largest value, of the worst output."""
    return max(float(np.abs(x - y).max() / np.abs(x).max()) for x, y in zip(a, b, strict=True))


def network(
    nodes: list[Any], weights: dict[str, np.ndarray], shape: list[Any], out: str = "y"
) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(out, FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def types(model: onnx.ModelProto) -> dict[str, str]:
    """Element type by tensor name."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    named = {v.name: v.type.tensor_type.elem_type for v in values}
    named |= {w.name: w.data_type for w in inferred.initializer}
    return {n: TensorProto.DataType.Name(t) for n, t in named.items()}


def test_fp16_computes_in_half_and_talks_in_float(onnx_file: Maker) -> None:
    path = onnx_file()
    model = onnx.load_from_string(to_fp16(path))
    kinds = types(model)
    assert (kinds["x"], kinds["cmap"], kinds["paf"]) == ("FLOAT", "FLOAT", "FLOAT")
    assert kinds["y"] == kinds["z"] == "FLOAT16"
    assert {w.data_type for w in model.graph.initializer} == {HALF}
    assert sum(n.op_type == "Cast" for n in model.graph.node) == 3
    x = {"x": np.random.default_rng(0).random((1, 3, 32, 48), dtype="f")}
    difference = error(run(str(path), x), run(model.SerializeToString(), x))
    assert 0 < difference < 2e-3


@pytest.mark.parametrize(
    ("name", "shipped", "shape", "bound"),
    [
        (
            "openpose-mobilenet-v2-small/openpose_mnv2small_dyn",
            "edgepose-lite-body",
            (1, 3, 352, 416),
            0.03,
        ),
        ("mediapipe-hand/mp_palm_detection_full", "mediapipe-palm", (1, 192, 192, 3), 0.01),
        ("mediapipe-hand/mp_hand_landmark_full", "mediapipe-hand", (1, 224, 224, 3), 0.01),
    ],
)
def test_fp16_of_real_networks(
    shared: Material, name: str, shipped: str, shape: tuple[int, ...], bound: float
) -> None:
    import cv2

    path = shared.network(f"{name}.onnx", f"{shipped}.onnx")
    picture = cv2.imread(str(min((shared / "datasets/coco-mini/images").glob("*.jpg"))))
    last = shape[-1] == 3
    size = (shape[2], shape[1]) if last else (shape[3], shape[2])
    pixels = cv2.resize(picture, size).astype("f")
    pixels = pixels[None] / 255 if last else pixels.transpose(2, 0, 1)[None]
    feeds = {ort.InferenceSession(path).get_inputs()[0].name: np.ascontiguousarray(pixels)}
    half = to_fp16(path)
    # those that are shipped keep their weights in fp16 already
    assert len(half) < (1.01 if path.parent == data_networks() else 0.6) * path.stat().st_size
    assert error(run(str(path), feeds), run(half, feeds)) < bound


def test_sizes_stay_exact() -> None:
    """Resize by a size that the graph computes, 3,076, through numbers that float16 does not have."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Cast", ["s"], ["sf"], to=FLOAT),
        helper.make_node("Mul", ["sf", "factor"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["sizes"], to=TensorProto.INT64),
        helper.make_node("Resize", ["r", "", "", "sizes"], ["y"], mode="nearest"),
    ]
    factor = np.array([1, 1, 1, 1.5], "f")
    model = network(nodes, {"factor": factor}, [1, 1, 1, 2051])
    half = convert(model)
    assert types(half)["sf"] == "FLOAT"
    assert types(half)["r"] == "FLOAT16"
    x = {"x": np.random.default_rng(0).random((1, 1, 1, 2051), dtype="f")}
    a, b = run(model.SerializeToString(), x), run(half.SerializeToString(), x)
    assert a[0].shape == b[0].shape == (1, 1, 1, 3076)
    assert error(a, b) < 1e-3


def test_scales_of_a_resize_stay_float() -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")]
    model = network(nodes, {"scales": np.array([1, 1, 2, 2], "f")}, [1, 1, 8, 8])
    half = convert(model)
    assert types(half)["scales"] == "FLOAT"
    x = {"x": np.random.default_rng(0).random((1, 1, 8, 8), dtype="f")}
    assert error(run(model.SerializeToString(), x), run(half.SerializeToString(), x)) < 1e-3


def test_sums_that_leave_the_range_of_half_stay_float() -> None:
    nodes = [
        helper.make_node("ReduceSumSquare", ["x"], ["s"], axes=[2, 3], keepdims=1),
        helper.make_node("Sqrt", ["s"], ["n"]),
        helper.make_node("Div", ["x", "n"], ["y"]),
    ]
    model = network(nodes, {}, [1, 2, 64, 64])
    half = convert(model)
    x = {"x": np.full((1, 2, 64, 64), 200, "f")}
    a, b = run(model.SerializeToString(), x), run(half.SerializeToString(), x)
    assert np.isfinite(b[0]).all()
    assert error(a, b) < 1e-3


def test_large_weights_are_clipped_not_infinite() -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    model = network(nodes, {"w": np.array([1e9, -1e9, 1.0], "f")}, [3])
    out = run(convert(model).SerializeToString(), {"x": np.array([0, 0, 2], "f")})[0]
    np.testing.assert_array_equal(out, [0, 0, 2])


def test_outputs_that_are_used_inside_too() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Neg", ["y"], ["z"]),
    ]
    model = network(nodes, {}, [4])
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, [4]))
    half = convert(model)
    assert types(half)["y"] == types(half)["z"] == "FLOAT"
    y, z = run(half.SerializeToString(), {"x": np.array([-1, 0, 1, 2], "f")})
    np.testing.assert_array_equal(y, [0, 0, 1, 2])
    np.testing.assert_array_equal(z, [0, 0, -1, -2])


def test_constants_and_casts_inside() -> None:
    nodes = [
        helper.make_node(
            "Constant", [], ["c"], value=numpy_helper.from_array(np.array([2, 3], "f"))
        ),
        helper.make_node("Constant", [], ["d"], value_float=0.5),
        helper.make_node("Constant", [], ["e"], value_floats=[1.0, 2.0]),
        helper.make_node("Mul", ["x", "c"], ["a"]),
        helper.make_node("Greater", ["a", "d"], ["g"]),
        helper.make_node("Cast", ["g"], ["gf"], to=FLOAT),
        helper.make_node("Add", ["gf", "e"], ["y"]),
    ]
    model = network(nodes, {}, [2])
    half = convert(model)
    assert set(types(half).values()) <= {"FLOAT", "FLOAT16", "BOOL"}
    x = {"x": np.array([0.1, 1.0], "f")}
    np.testing.assert_array_equal(
        run(half.SerializeToString(), x)[0], run(model.SerializeToString(), x)[0]
    )


def test_weights_that_are_inputs_too_and_an_input_that_is_an_output() -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    model = network(nodes, {"w": np.array([2.0], "f")}, [3])
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [1]))
    half = convert(model)
    assert [i.name for i in half.graph.input] == ["x"]
    np.testing.assert_array_equal(
        run(half.SerializeToString(), {"x": np.ones(3, "f")})[0], [2, 2, 2]
    )


def test_the_original_is_not_touched(onnx_file: Maker) -> None:
    model = onnx.load(onnx_file())
    before = model.SerializeToString()
    convert(model)
    assert model.SerializeToString() == before


def test_control_flow_is_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("b", FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "branch", [], [value])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    path = write(tmp_path / "if.onnx", network(nodes, {}, [1]))
    with pytest.raises(EngineError, match=r"control flow.*--precision fp32"):
        to_fp16(path)


def pictures(count: int = 4) -> Calibration:
    def batches() -> Iterator[Feeds]:
        rng = np.random.default_rng(1)
        for _ in range(count):
            yield {"x": rng.random((1, 3, 32, 48), dtype="f")}

    return Calibration("d", batches, count)


def test_int8_is_close_and_quantised(onnx_file: Maker, capfd: pytest.CaptureFixture[str]) -> None:
    path = onnx_file()
    quantised = to_int8(path, pictures())
    assert capfd.readouterr() == ("", "")
    model = onnx.load_from_string(quantised)
    operators = [n.op_type for n in model.graph.node]
    assert operators.count("QuantizeLinear") == 2  # data and weights of all but the two heads
    makers = {n.output[0]: n for n in model.graph.node}
    ahead = [makers[n.input[0]].op_type for n in model.graph.node if n.op_type == "Conv"]
    assert ahead.count("DequantizeLinear") == len(ahead) - 2
    kinds = types(model)
    assert {kinds["x"], kinds["cmap"], kinds["paf"]} == {"FLOAT"}
    zeros = [w for w in model.graph.initializer if w.name.endswith("zero_point")]
    assert zeros
    assert all(not numpy_helper.to_array(z).any() for z in zeros)
    x = {"x": np.random.default_rng(0).random((1, 3, 32, 48), dtype="f")}
    assert error(run(str(path), x), run(quantised, x)) < 0.05


def test_int8_of_old_opsets(onnx_file: Maker) -> None:
    path = onnx_file("old.onnx", opset=11)
    x = {"x": np.random.default_rng(0).random((1, 3, 32, 48), dtype="f")}
    assert error(run(str(path), x), run(to_int8(path, pictures()), x)) < 0.05


def test_int8_of_a_fixed_batch(onnx_file: Maker) -> None:
    path = onnx_file("two.onnx", (2, 3, 32, 48))
    x = {"x": np.random.default_rng(0).random((2, 3, 32, 48), dtype="f")}
    assert error(run(str(path), x), run(to_int8(path, pictures(3)), x)) < 0.05


def test_int8_of_a_network_that_takes_float16(onnx_file: Maker) -> None:
    model = onnx.load(str(onnx_file()))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in model.graph.node:
        node.input[:] = ["wide" if name == "x" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["wide"], to=FLOAT))
    path = onnx_file()
    onnx.save(model, path)
    x = {"x": np.random.default_rng(0).random((1, 3, 32, 48)).astype(np.float16)}
    assert error(run(str(path), x), run(to_int8(path, pictures()), x)) < 0.05


def test_int8_without_any_picture(onnx_file: Maker) -> None:
    with pytest.raises(EngineError, match="cannot be quantised to int8") as caught:
        to_int8(onnx_file(), Calibration("d", lambda: iter(()), 0))
    assert "\n" not in str(caught.value)


def test_without_the_onnx_package(onnx_file: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = onnx_file()
    monkeypatch.setitem(sys.modules, "onnx", None)
    for convert_file in (lambda: to_fp16(path), lambda: to_int8(path, pictures())):
        with pytest.raises(BackendUnavailable, match="pip install onnx"):
            convert_file()


# --- the scales of int8


def test_scales_are_those_of_the_largest_values(tmp_path: Path) -> None:
    """Over all pictures; what is not finite does not count, and a tensor of zeros has a scale too."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path = write(
        tmp_path / "c.onnx", network(nodes, {"w": np.ones((1, 3, 1, 1), "f")}, [1, 3, 8, 8])
    )
    feeds = [np.zeros((1, 3, 8, 8), "f") for _ in range(3)]
    assert observe(onnx.load(path), ["x"], ({"x": f} for f in feeds)) == {"x": 1.0}
    feeds[0][0, 0, 0, :3] = np.nan, np.inf, -np.inf
    feeds[1][0, 1, 2, 3] = -6.35
    feeds[2][0, 2, 2, 3] = 5.0
    (scale,) = observe(onnx.load(path), ["x"], ({"x": f} for f in feeds)).values()
    assert scale == pytest.approx(0.05)


def test_channels_have_scales_of_their_own(tmp_path: Path) -> None:
    """Two output channels, one a thousand times the other: both keep their precision."""
    weights = np.ones((2, 3, 1, 1), "f") * np.array([1.0, 1e-3], "f").reshape(2, 1, 1, 1)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path = write(tmp_path / "c.onnx", network(nodes, {"w": weights}, [1, 3, 8, 8]))
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.random((1, 3, 8, 8), dtype="f")} for _ in range(3)]
    quantised = to_int8(path, Calibration("d", lambda: iter(feeds), 3))
    (a,), (b,) = run(str(path), feeds[0]), run(quantised, feeds[0])
    for channel in (0, 1):
        assert error([a[:, channel]], [b[:, channel]]) < 0.02


def test_transposed_convolutions_and_matrix_products(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["t"], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["t", "v"], ["u"], group=2),
        helper.make_node("GlobalAveragePool", ["u"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "b"], ["k"], transB=1),
        helper.make_node("MatMul", ["k", "m"], ["y"]),
    ]
    weights = {
        "w": rng.normal(size=(3, 4, 2, 2)),
        "v": rng.normal(size=(4, 2, 1, 1)),
        "g": rng.normal(size=(5, 4)),
        "b": rng.normal(size=5),
        "m": rng.normal(size=(5, 6)),
    }
    model = network(nodes, {k: v.astype("f") for k, v in weights.items()}, [1, 3, 8, 8])
    path = write(tmp_path / "t.onnx", model)
    feeds = [{"x": rng.random((1, 3, 8, 8), dtype="f")} for _ in range(4)]
    quantised = to_int8(path, Calibration("d", lambda: iter(feeds), 4))
    operators = [n.op_type for n in onnx.load_from_string(quantised).graph.node]
    assert operators.count("QuantizeLinear") == 6  # the product is the head, and stays as it is
    assert error(run(str(path), feeds[0]), run(quantised, feeds[0])) < 0.05


def test_a_tensor_that_feeds_two_is_quantised_once(onnx_file: Maker) -> None:
    model = onnx.load_from_string(to_int8(onnx_file(), pictures()))
    sources = [n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert len(sources) == len(set(sources))


def test_networks_without_weights_cannot_be_quantised(tmp_path: Path) -> None:
    path = write(tmp_path / "r.onnx", network([helper.make_node("Relu", ["x"], ["y"])], {}, [3]))
    with pytest.raises(EngineError, match="no convolution or matrix product"):
        to_int8(path, pictures())


def test_the_networks_own_weights_keep_their_answers(shared: Path) -> None:
    """edgepose-lite-body on a photograph: fp16 within 1 %, int8 within 30 % of the largest value."""
    from edgepose.calibration import calibration
    from edgepose.estimators.preparation import preparation
    from edgepose.networks import registry

    manifest = registry.find("edgepose-lite-body")
    path = registry.installed(manifest)
    if path is None:
        pytest.skip("edgepose-lite-body is not in the package yet")
    folder = shared / "datasets/coco-mini/images"
    made = calibration(folder, preparation(manifest, None), "input", most=6)
    photo = next(made.batches())
    feeds = {k: np.asarray(v) for k, v in photo.items()}
    full = run(str(path), feeds)
    assert error(full, run(to_fp16(path), feeds)) < 0.01
    assert error(full, run(to_int8(path, made), feeds)) < 0.3
