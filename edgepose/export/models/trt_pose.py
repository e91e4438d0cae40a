"""trt_pose's bottom-up networks: a classifier's features, enlarged eightfold, gated by attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edgepose.export.models.densenet import densenet121, densenet169
from edgepose.export.models.resnet import resnet18, resnet50

FEATURES = 256
BACKBONES: dict[str, tuple[str, Callable[[], Any]]] = {
    "resnet18": ("resnet", resnet18),
    "resnet50": ("resnet", resnet50),
    "densenet121": ("densenet", densenet121),
    "densenet169": ("densenet", densenet169),
}


def _enlarge(inputs: int) -> Any:
    """Three times twice the size."""
    parts: list[Any] = []
    for channels in (inputs, FEATURES, FEATURES):
        up = nn.ConvTranspose2d(channels, FEATURES, 4, 2, 1)
        parts += [up, nn.BatchNorm2d(FEATURES), nn.ReLU()]
    return nn.Sequential(*parts)


class AttentionHead(nn.Module):  # type: ignore[misc]
    """Confidence maps and PAFs, each from features weighted by their own attention."""

    def __init__(self, inputs: int, cmap: int, paf: int) -> None:
        super().__init__()
        self.cmap_up, self.paf_up = _enlarge(inputs), _enlarge(inputs)
        self.cmap_att = nn.Conv2d(FEATURES, FEATURES, 3, 1, 1)
        self.paf_att = nn.Conv2d(FEATURES, FEATURES, 3, 1, 1)
        self.cmap_conv = nn.Conv2d(FEATURES, cmap, 1)
        self.paf_conv = nn.Conv2d(FEATURES, paf, 1)

    def forward(self, x: Any) -> Any:
        """(N, inputs, h, w) to (N, cmap, 8h, 8w) and (N, paf, 8h, 8w)."""
        c, p = self.cmap_up(x), self.paf_up(x)
        c = c * torch.sigmoid(self.cmap_att(c))
        p = p * torch.tanh(self.paf_att(p))
        return self.cmap_conv(c), self.paf_conv(p)


class _Named(nn.Module):  # type: ignore[misc]
    """A backbone under the name that it has in the checkpoints."""

    def __init__(self, name: str, backbone: Any) -> None:
        super().__init__()
        self.add_module(name, backbone)
        self._inside = name

    def forward(self, x: Any) -> Any:
        """As the backbone."""
        return getattr(self, self._inside)(x)


def baseline_att(backbone: str, keypoints: int, links: int) -> Any:
    """`<backbone>_baseline_att` of trt_pose.

    Args:
        backbone: a key of `BACKBONES`.
        keypoints, links: of the topology; there are two PAF channels a link.
    """
    name, build = BACKBONES[backbone]
    features = build()
    head = AttentionHead(features.channels, keypoints, 2 * links)
    return nn.Sequential(_Named(name, features), head)
