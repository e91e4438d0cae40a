"""The trunk that begins with MoveNet's weights: reading them, its padding, its export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install torch")

from tools.train import movenet  # noqa: E402
from tools.train.network import INPUT_MEAN, INPUT_STD, Config, Network  # noqa: E402


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as TensorFlow.js writes it: random weights as fp16, an integer constant among them."""
    rng = np.random.default_rng(0)
    nodes: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    data = b""

    def add(name: str, values: Any) -> None:
        nonlocal data
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        if values.dtype == np.float16:
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        else:
            entry["dtype"] = str(values.dtype)
        entries.append(entry)
        data += values.tobytes()

    for conv, name in movenet.named(movenet.Trunk()):
        cout, cin, h, w = conv.weight.shape
        deep = conv.groups > 1
        shape = (h, w, cout, 1) if deep else (h, w, cin, cout)
        scale = (2 / (h * w * cin)) ** 0.5
        full = movenet.NAME + name
        add(full + "/weights", rng.normal(0, scale, shape).astype(np.float16))
        inputs = ["something/before", full + "/weights"]
        if conv.bias is not None:
            add(full + "/bias", rng.normal(0, 0.1, cout).astype(np.float16))
            inputs.append(full + "/bias")
        add(full + "/steps", np.array([1, 2], np.int32))
        op = "FusedDepthwiseConv2dNative" if deep else "_FusedConv2D"
        nodes.append({"op": op, "name": full, "input": inputs})
    path = tmp_path_factory.mktemp("movenet") / "movenet-multipose.json"
    graph = {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": entries}]}
    path.write_text(json.dumps(graph))
    path.with_suffix(".bin").write_bytes(data)
    return path


def same(x: Any, weight: Any, stride: int) -> Any:
    """TensorFlow's depthwise convolution with "SAME" padding, by its definition."""
    c, h, w = x.shape
    out_h, out_w = -(-h // stride), -(-w // stride)
    pad_h, pad_w = max((out_h - 1) * stride + 3 - h, 0), max((out_w - 1) * stride + 3 - w, 0)
    padded = np.zeros((c, h + pad_h, w + pad_w))
    padded[:, pad_h // 2 : pad_h // 2 + h, pad_w // 2 : pad_w // 2 + w] = x
    out = np.zeros((c, out_h, out_w))
    for i in range(out_h):
        for j in range(out_w):
            y, z = i * stride, j * stride
            out[:, i, j] = (padded[:, y : y + 3, z : z + 3] * weight).sum((1, 2))
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("learning", [True, False])
def test_convolutions_pad_as_tensorflow_does(stride: int, learning: bool) -> None:
    torch.manual_seed(0)
    conv = movenet.Conv(4, 4, 3, stride, groups=4)
    x = torch.randn(1, 4, 8, 12, requires_grad=learning)
    with torch.set_grad_enabled(learning):
        ours = conv(x).detach()[0] - conv.bias.detach()[:, None, None]
    expected = same(x.detach()[0].numpy(), conv.weight.detach()[:, 0].numpy(), stride)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


def test_weights_land_where_they_belong(stored: Path) -> None:
    trunk = movenet.Trunk()
    movenet.load(trunk, stored, INPUT_MEAN, INPUT_STD)
    found = movenet.read_convolutions(stored)
    deep = trunk.stages[3][0].depthwise
    weight, bias = found[movenet.NAME + "model/block_6_depthwise/depthwise"]
    np.testing.assert_array_equal(deep.weight[:, 0].numpy(), weight[..., 0].transpose(2, 0, 1))
    assert bias is not None
    np.testing.assert_array_equal(deep.bias.numpy(), bias)
    weight, _ = found[movenet.NAME + "re_lu_1/Relu"]
    np.testing.assert_array_equal(
        trunk.to4.pointwise.weight[:, :, 0, 0].detach().numpy(), weight[0, 0].T
    )


def test_the_first_layer_sees_what_movenet_saw(stored: Path) -> None:
    trunk = movenet.Trunk()
    movenet.load(trunk, stored, INPUT_MEAN, INPUT_STD)
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 3, 16, 16))).float()
    mean, std = (torch.tensor(v)[:, None, None] for v in (INPUT_MEAN, INPUT_STD))
    weight, bias = movenet.read_convolutions(stored)[movenet.NAME + "model/Conv1_relu/Relu6"]
    assert bias is not None
    with torch.no_grad():
        ours = trunk.stem((pixels / 255 - mean) / std)
        theirs = torch.nn.functional.conv2d(
            pixels / 127.5 - 1,
            torch.from_numpy(np.ascontiguousarray(weight.transpose(3, 2, 0, 1))),
            torch.from_numpy(bias.copy()),
            2,
        )
    # The last row and column meet the padding, which is black for neither.
    np.testing.assert_allclose(ours[..., :7, :7], theirs, atol=1e-4)


def test_a_still_trunk_learns_nothing_and_the_head_does(stored: Path) -> None:
    torch.manual_seed(0)
    network = Network(Config(width=16, context=1, refine=1, fine=8, trunk="movenet"))
    movenet.load(network.trunk, stored, INPUT_MEAN, INPUT_STD)
    for still in (True, False):
        network.zero_grad()
        fine, guess = network(torch.randn(1, 3, 64, 64), still=still)
        (fine.square().sum() + guess.square().sum()).backward()
        assert (network.trunk.top.weight.grad is None) is still
        assert network.out.weight.grad is not None
        assert network.trunk.stages[0][0].project.weight.grad is None
    assert fine.shape == (1, 60, 16, 16)
    assert guess.shape == (1, 60, 8, 8)


def test_its_export_answers_what_torch_answers(stored: Path, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx", reason="the export writes ONNX: pip install onnx")
    from tools.train.export import to_onnx

    torch.manual_seed(0)
    network = Network(Config(width=16, context=1, refine=1, fine=8, trunk="movenet")).eval()
    movenet.load(network.trunk, stored, INPUT_MEAN, INPUT_STD)
    model = to_onnx(network)
    assert not {n.op_type for n in model.graph.node} & {"Pad", "Slice", "Transpose", "Gather"}
    onnx.save(model, str(tmp_path / "small.onnx"))
    session = ort.InferenceSession(str(tmp_path / "small.onnx"), providers=["CPUExecutionProvider"])
    for size in ((64, 64), (96, 128)):
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected = network(x)[0].numpy()
        maps = np.concatenate(session.run(["cmap", "paf"], {"input": x.numpy()}), 1)
        np.testing.assert_allclose(maps, expected, atol=1e-4)
