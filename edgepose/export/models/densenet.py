"""DenseNet without its classifier's use (Huang et al., CVPR 2017, arXiv 1608.06993)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

GROWTH, BOTTLENECK, STEM = 32, 4, 64


class DenseLayer(nn.Module):  # type: ignore[misc]
    """32 new channels from all that came before."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * GROWTH)
        self.conv2 = nn.Conv2d(BOTTLENECK * GROWTH, GROWTH, 3, 1, 1, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        """The input with the new channels behind it."""
        y = self.conv2(self.relu(self.norm2(self.conv1(self.relu(self.norm1(x))))))
        return torch.cat([x, y], 1)


def _block(inputs: int, count: int) -> Any:
    layers = [(f"denselayer{i + 1}", DenseLayer(inputs + i * GROWTH)) for i in range(count)]
    return nn.Sequential(OrderedDict(layers))


def _transition(inputs: int) -> Any:
    """Half the channels, half the size."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(),
            conv=nn.Conv2d(inputs, inputs // 2, 1, bias=False),
            pool=nn.AvgPool2d(2, 2),
        )
    )


class DenseNet(nn.Module):  # type: ignore[misc]
    """Features at a 32nd of the input's size; no ReLU behind the last norm, as trt_pose uses it."""

    def __init__(self, counts: tuple[int, int, int, int]) -> None:
        super().__init__()
        parts: OrderedDict[str, Any] = OrderedDict(
            conv0=nn.Conv2d(3, STEM, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(STEM),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        channels = STEM
        for i, count in enumerate(counts, 1):
            parts[f"denseblock{i}"] = _block(channels, count)
            channels += count * GROWTH
            if i < len(counts):
                parts[f"transition{i}"] = _transition(channels)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(parts)
        self.channels = channels
        self.classifier = nn.Linear(channels, 1000)

    def forward(self, x: Any) -> Any:
        """(N, 3, H, W) to (N, channels, H / 32, W / 32)."""
        return self.features(x)


def densenet121() -> DenseNet:
    """121 layers, 1024 channels."""
    return DenseNet((6, 12, 24, 16))


def densenet169() -> DenseNet:
    """169 layers, 1664 channels."""
    return DenseNet((6, 12, 32, 32))
