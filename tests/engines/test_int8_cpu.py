"""Equalisation changes nothing, and int8 networks for CPUs run in integer kernels and answer about the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.decode.movenet import MAPS, decode_movenet
from edgepose.engines.base import Feeds
from edgepose.engines.convert import to_int8
from edgepose.engines.equalise import equalise
from edgepose.engines.int8 import quantise as symmetric
from edgepose.engines.int8_cpu import quantise
from edgepose.engines.options import Calibration
from edgepose.errors import EngineError
from edgepose.networks.resolve import resolve

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
h = onnx.helper


def pyramid(rng: np.random.Generator, channels: int, spread: float, shared: bool = False) -> Any:
    """Two steps of a feature pyramid; channels of unlike reach, a depthwise convolution, an addition."""
    parts: dict[str, np.ndarray] = {"sizes": np.array([1, 1, 2, 2], np.float32)}
    nodes = []

    def conv(
        x: str, out: str, name: str, inside: int, outside: int, kernel: int, **kw: Any
    ) -> None:
        group = kw.get("group", 1)
        w = rng.normal(0, 0.5, (outside, inside // group, kernel, kernel))
        w *= np.exp(rng.uniform(-spread, spread, (outside, 1, 1, 1)))
        parts[f"{name}.w"] = w.astype(np.float32)
        parts[f"{name}.b"] = rng.normal(0, 0.2, outside).astype(np.float32)
        pads = [kernel // 2] * 4
        nodes.append(h.make_node("Conv", [x, f"{name}.w", f"{name}.b"], [out], pads=pads, **kw))

    c = channels
    conv("x", "a0", "stem", 3, c, 3)
    nodes.append(h.make_node("Relu", ["a0"], ["a"]))
    conv("a", "b0", "down", c, c, 3, strides=[2, 2])
    nodes.append(h.make_node("Relu", ["b0"], ["b"]))
    nodes.append(h.make_node("Resize", ["b", "", "sizes"], ["up"], mode="linear"))
    conv("a", "side", "stem2" if not shared else "side", c, c, 1)
    nodes.append(h.make_node("Add", ["up", "side"], ["sum"]))
    conv("sum", "d0", "depth", c, c, 3, group=c)
    nodes.append(h.make_node("Relu", ["d0"], ["d"]))
    conv("d", "y", "head", c, 2, 1)
    graph = h.make_graph(
        nodes,
        "pyramid",
        [h.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 16, 16])],
        [h.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2, 16, 16])],
        [onnx.numpy_helper.from_array(v, k) for k, v in parts.items()],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def pictures(rng: np.random.Generator, count: int = 6) -> list[Feeds]:
    return [{"x": rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)} for _ in range(count)]


def run(model: Any, feed: Feeds) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, dict(feed))[0])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.floats(0, 4))
def test_an_equalised_network_computes_the_same(seed: int, channels: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    model = pyramid(rng, channels, spread)
    feeds = pictures(rng)
    before, after = run(model, feeds[0]), run(equalise(model, feeds), feeds[0])
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * np.abs(before).max())


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_two_convolutions_stay_as_they_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model, feeds = pyramid(rng, 4, 2.0), pictures(rng)
    for node in model.graph.node:  # both take "a", and what follows on one of them could be scaled
        if node.output[0] == "side":
            node.input[1:] = ["twin.w", "twin.b"]
    square = rng.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(square, "twin.w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(4, np.float32), "twin.b"))
    at = next(i for i, n in enumerate(model.graph.node) if n.output[0] == "sum")
    model.graph.node.insert(at, h.make_node("Conv", ["a", "twin.w", "twin.b"], ["other"]))
    model.graph.node.append(h.make_node("ReduceMax", ["other"], ["peak"], keepdims=1))
    model.graph.node.append(h.make_node("Add", ["y", "peak"], ["z"]))
    model.graph.output[0].name = "z"
    onnx.checker.check_model(model)
    before, after = run(model, feeds[0]), run(equalise(model, feeds), feeds[0])
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * np.abs(before).max())


def test_int8_for_gpus_is_equalised_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    model, feeds = pyramid(rng, 8, 3.0), pictures(rng, 12)
    onnx.save(model, tmp_path / "n.onnx")
    wanted = run(model, feeds[0])
    plain = run(symmetric(model, iter(feeds)), feeds[0])
    made = to_int8(tmp_path / "n.onnx", Calibration("d", lambda: iter(feeds), len(feeds)))
    equal = run(onnx.load_from_string(made), feeds[0])
    assert np.abs(equal - wanted).mean() < 0.7 * np.abs(plain - wanted).mean()


def test_it_helps_where_channels_differ() -> None:
    rng = np.random.default_rng(3)
    model, feeds = pyramid(rng, 8, 3.0), pictures(rng, 12)
    equal = equalise(model, feeds)
    reach = {}
    for name, m in (("before", model), ("after", equal)):
        watched = onnx.ModelProto()
        watched.CopyFrom(m)
        watched.graph.output.append(h.make_tensor_value_info("d", onnx.TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(watched.SerializeToString())
        d = np.concatenate([session.run(["d"], dict(f))[0] for f in feeds])
        high = d.max(axis=(0, 2, 3))
        reach[name] = high.max() / np.median(high[high > 0])
    assert reach["after"] < 1.5 < reach["before"]


def test_it_runs_in_integers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    model, feeds = pyramid(rng, 8, 1.0), pictures(rng, 12)
    made = quantise(model, feeds)
    onnx.checker.check_model(made)
    wanted, found = run(model, feeds[0]), run(made, feeds[0])
    assert np.abs(found - wanted).max() < 0.08 * np.abs(wanted).max()
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(made.SerializeToString(), options)
    kinds = [n.op_type for n in onnx.load(tmp_path / "run.onnx").graph.node]
    assert (
        kinds.count("QLinearConv") == 3
    )  # the head and what stands behind the last step stay float32
    weights = [w for w in made.graph.initializer if w.data_type == onnx.TensorProto.INT8 and w.dims]
    assert sum(len(w.dims) == 4 for w in weights) == 3


def test_nothing_to_measure_with() -> None:
    with pytest.raises(EngineError, match="no calibration picture"):
        quantise(pyramid(np.random.default_rng(0), 4, 1.0), [])


def test_the_networks_in_the_package_agree() -> None:
    """int8 and float32 weights find the same people in a photograph, in nearly the same places."""
    picture = np.load(Path(__file__).parents[1] / "data" / "movenet-tfjs.npz")["pixels"]
    feed = {"input": np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)}
    people = []
    for variant in ("FP16", "INT8"):
        model = resolve("fast", variant=variant, download=False).model
        session = onnxruntime.InferenceSession(str(model))
        maps = dict(zip(MAPS, session.run(list(MAPS), feed), strict=True))
        people.append(decode_movenet({name: m[0] for name, m in maps.items()}, 0.2))
    full, small = people
    assert len(full.scores) == len(small.scores) == 2
    for k in range(2):
        seen = full.points[k, :, 2] > 0.3
        size = (full.boxes[k, 2:] - full.boxes[k, :2]).max()
        apart = np.linalg.norm((full.points - small.points)[k, seen, :2], axis=1)
        assert np.median(apart) < 0.02 * size


def test_the_first_convolutions_may_stay_in_float32() -> None:
    """With the activation behind them: its result goes into int8, what goes in reaches much farther."""
    rng = np.random.default_rng(5)
    model, feeds = pyramid(rng, 4, 2.0), pictures(rng)
    kept = {}
    for spared in (0, 1):
        made = quantise(model, feeds, spared)
        floats = {w.name for w in made.graph.initializer if w.name.endswith(".w")}
        pairs = {n.input[0] for n in made.graph.node if n.op_type == "QuantizeLinear"}
        kept[spared] = floats, pairs & {"x", "a0", "a"}
    assert kept[0] == ({"depth.w", "head.w"}, {"x", "a"})
    assert kept[1] == ({"stem.w", "depth.w", "head.w"}, {"a"})
    with pytest.raises(EngineError, match="no convolution"):
        quantise(model, feeds, 99)
