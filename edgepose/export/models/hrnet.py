"""HRNet (Sun et al., CVPR 2019, arXiv 1902.09212) with heatmaps, and SimDR on it (Li et al., arXiv 2107.03332).

Four stages; stage s has s branches at 1/4, 1/8, ... of the input, each of twice the channels of the one
before. Every module ends with the exchange of all branches.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from edgepose.export.models.resnet import BasicBlock, Bottleneck, layer

STEM = 64
BLOCKS = 4  # a branch
MODULES = (1, 4, 3)  # of stages 2, 3 and 4


def _conv_bn(inputs: int, outputs: int, stride: int, *, relu: bool) -> Any:
    parts = [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*parts, nn.ReLU()) if relu else nn.Sequential(*parts)


def _down(source: int, target: int, steps: int) -> Any:
    """`steps` times half the size; only the last changes the channels and has no ReLU."""
    parts = [_conv_bn(source, source, 2, relu=True) for _ in range(steps - 1)]
    return nn.Sequential(*parts, _conv_bn(source, target, 2, relu=False))


def _up(source: int, target: int, steps: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(source, target, 1, bias=False),
        nn.BatchNorm2d(target),
        nn.Upsample(scale_factor=2**steps, mode="nearest"),
    )


class Exchange(nn.Module):  # type: ignore[misc]
    """Branches of four blocks each, then every output as the sum of all branches, resized."""

    def __init__(self, channels: list[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(layer(BasicBlock, c, c, BLOCKS, 1) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(channels, i, j) for j in range(len(channels)))
            for i in range(outputs)
        )
        self.relu = nn.ReLU()

    @staticmethod
    def _path(channels: list[int], i: int, j: int) -> Any:
        if i == j:
            return None
        if j > i:
            return _up(channels[j], channels[i], j - i)
        return _down(channels[j], channels[i], i - j)

    def forward(self, xs: list[Any]) -> list[Any]:
        """One tensor a branch in; one an output out."""
        ys = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        out = []
        for row in self.fuse_layers:
            total: Any = None
            for path, y in zip(row, ys, strict=True):
                part = y if path is None else path(y)
                total = part if total is None else total + part
            out.append(self.relu(total))
        return out


class HRNet(nn.Module):  # type: ignore[misc]
    """The backbone: features of `width` channels at a quarter of the input's size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.conv2 = nn.Conv2d(STEM, STEM, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = layer(Bottleneck, STEM, STEM, BLOCKS, 1)
        channels = [width * 2**i for i in range(4)]
        self.transition1 = nn.ModuleList(
            [
                _conv_bn(4 * STEM, channels[0], 1, relu=True),
                nn.Sequential(_conv_bn(4 * STEM, channels[1], 2, relu=True)),
            ]
        )
        self.stage2 = self._stage(channels[:2], MODULES[0], 2)
        self.transition2 = self._grow(channels[:3])
        self.stage3 = self._stage(channels[:3], MODULES[1], 3)
        self.transition3 = self._grow(channels)
        self.stage4 = self._stage(channels, MODULES[2], 1)

    @staticmethod
    def _stage(channels: list[int], count: int, last: int) -> Any:
        """Modules; the last one answers `last` branches only."""
        outputs = [len(channels)] * (count - 1) + [last]
        return nn.Sequential(*(Exchange(channels, n) for n in outputs))

    @staticmethod
    def _grow(channels: list[int]) -> Any:
        """One more branch, from the smallest one."""
        new = nn.Sequential(_conv_bn(channels[-2], channels[-1], 2, relu=True))
        return nn.ModuleList([None] * (len(channels) - 1) + [new])

    def features(self, x: Any) -> Any:
        """(N, 3, H, W) to (N, width, H / 4, W / 4)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))
        xs = self.stage2([t(x) for t in self.transition1])
        xs = self.stage3([*xs, self.transition2[-1](xs[-1])])
        return self.stage4([*xs, self.transition3[-1](xs[-1])])[0]

    def forward(self, x: Any) -> Any:
        """As `features`."""
        return self.features(x)


class PoseHRNet(HRNet):
    """Official checkpoints: the backbone's names at the top, and `final_layer`."""

    def __init__(self, width: int, keypoints: int) -> None:
        super().__init__(width)
        self.final_layer = nn.Conv2d(width, keypoints, 1)

    def forward(self, x: Any) -> Any:
        """(N, 3, H, W) to heatmaps (N, keypoints, H / 4, W / 4)."""
        return self.final_layer(self.features(x))


class SimDR(nn.Module):  # type: ignore[misc]
    """Heatmaps flattened, then one linear layer an axis; two bins a pixel of the input."""

    def __init__(self, width: int, keypoints: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.backbone = HRNet(width)
        self.final_layer = nn.Conv2d(width, keypoints, 1)
        self._flat = (keypoints, (size[0] // 4) * (size[1] // 4))
        self.mlp_head_x = nn.Linear(self._flat[1], 2 * size[0])
        self.mlp_head_y = nn.Linear(self._flat[1], 2 * size[1])

    def forward(self, x: Any) -> Any:
        """(N, 3, H, W) to logits (N, keypoints, 2W) and (N, keypoints, 2H)."""
        flat = self.final_layer(self.backbone(x)).reshape(-1, *self._flat)
        return self.mlp_head_x(flat), self.mlp_head_y(flat)
