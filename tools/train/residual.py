"""What the trunks share: inverted residuals (Sandler et al., CVPR 2018), normalisation folded in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MakeConv = Callable[..., nn.Conv2d]  # (channels in, out, kernel, stride=1, groups=1)


class Block(nn.Module):
    """Inverted residual without squeeze-and-excitation."""

    def __init__(
        self, conv: MakeConv, cin: int, cout: int, expansion: int, stride: int, kernel: int
    ) -> None:
        super().__init__()
        mid = cin * expansion
        self.expand = conv(cin, mid, 1) if expansion != 1 else None
        self.depthwise = conv(mid, mid, kernel, stride, groups=mid)
        self.project = conv(mid, cout, 1)
        self.skip = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.skip else y


def build_stages(conv: MakeConv, cin: int, table: Sequence[Sequence[int]]) -> nn.ModuleList:
    """The stages of a table of (expansion, channels, repeats, first stride, kernel)."""
    stages = nn.ModuleList()
    for expansion, c, repeats, stride, k in table:
        blocks = [
            Block(conv, cin if i == 0 else c, c, expansion, stride if i == 0 else 1, k)
            for i in range(repeats)
        ]
        stages.append(nn.Sequential(*blocks))
        cin = c
    return stages


def run_stages(stem: nn.Module, stages: nn.ModuleList, frozen: int, x: Tensor) -> list[Tensor]:
    """What each stage answers; stem and the first `frozen` stages stay out of the backward pass."""
    features = []
    tracking = torch.is_grad_enabled()
    with torch.set_grad_enabled(False):
        x = F.relu6(stem(x))
    for i, stage in enumerate(stages):
        with torch.set_grad_enabled(tracking and i >= frozen):
            x = stage(x)
        features.append(x)
    return features
