"""ResNet without its classifier's use (He et al., CVPR 2016, arXiv 1512.03385), stride on the 3x3 convolution."""

from __future__ import annotations

from typing import Any

from torch import nn


class BasicBlock(nn.Module):  # type: ignore[misc]
    """Two 3x3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, downsample: Any = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        """(N, inputs, H, W) to (N, width, H / stride, W / stride)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(y + shortcut)


class Bottleneck(nn.Module):  # type: ignore[misc]
    """1x1, 3x3, 1x1 convolutions around a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, downsample: Any = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        """(N, inputs, H, W) to (N, 4 x width, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(y + shortcut)


def layer(block: type[Any], inputs: int, width: int, count: int, stride: int) -> Any:
    """`count` blocks, the first with the stride and, where shapes change, a projected shortcut."""
    outputs = width * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
    blocks = [block(inputs, width, stride, downsample)]
    blocks += [block(outputs, width) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


class ResNet(nn.Module):  # type: ignore[misc]
    """Features at a 32nd of the input's size; `fc` is there because checkpoints hold it."""

    def __init__(self, block: type[Any], counts: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        e = block.expansion
        self.layer1 = layer(block, 64, 64, counts[0], 1)
        self.layer2 = layer(block, 64 * e, 128, counts[1], 2)
        self.layer3 = layer(block, 128 * e, 256, counts[2], 2)
        self.layer4 = layer(block, 256 * e, 512, counts[3], 2)
        self.channels = 512 * e
        self.fc = nn.Linear(self.channels, 1000)

    def forward(self, x: Any) -> Any:
        """(N, 3, H, W) to (N, channels, H / 32, W / 32)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def resnet18() -> ResNet:
    """18 layers, 512 channels."""
    return ResNet(BasicBlock, (2, 2, 2, 2))


def resnet50() -> ResNet:
    """50 layers, 2048 channels."""
    return ResNet(Bottleneck, (3, 4, 6, 3))
