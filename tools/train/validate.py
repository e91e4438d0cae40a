"""Quick figures while training: no decoder, just where each map is highest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .augment import move_points
from .dataset import Sample
from .letterbox import letterbox
from .losses import draw_targets, full_weights, total_loss
from .network import INPUT_MEAN, INPUT_STD, Network

Array = NDArray[Any]


def normalise(pixels: Array, device: str = "cpu") -> torch.Tensor:
    """uint8 (N, H, W, 3) RGB to the network's float input (N, 3, H, W), channels last in memory."""
    x = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
    mean = torch.tensor(INPUT_MEAN, device=device)[:, None, None]
    std = torch.tensor(INPUT_STD, device=device)[:, None, None]
    return x.sub_(255 * mean).div_(255 * std)


def argmax_pck(
    network: Network, samples: list[Sample], size: int = 256, batch: int = 20, device: str = "cpu"
) -> tuple[float, float]:
    """PCK@0.2 torso taking each map's single highest cell, and the mean height of those cells.

    A lower bound where several people are about: the highest cell may be somebody else's.
    """
    right, total, heights = 0, 0, []
    network.eval()
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        boxed = [letterbox(s.pixels, size) for s in part]
        with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16):
            maps = network(normalise(np.stack([b[0] for b in boxed]), device))[0][:, :18]
        maps = maps.float().cpu().numpy()
        flat = maps.reshape(*maps.shape[:2], -1)
        best = flat.argmax(2)
        heights.append(flat.max(2).mean())
        where = np.stack([best % maps.shape[3], best // maps.shape[3]], 2) * 4 + 2
        for sample, (_, matrix), xy in zip(part, boxed, where, strict=True):
            truth = move_points(sample.keypoints[:1], matrix, False)[0]
            known = truth[:, 2] > 0
            if sample.torso > 0:
                near = np.hypot(*(xy - truth[:, :2]).T) <= 0.2 * sample.torso * matrix[0, 0]
                right += int((near & known).sum())
                total += int(known.sum())
    return right / max(total, 1), float(np.mean(heights))


def copying_loss(
    network: Network, samples: list[Sample], size: int = 256, batch: int = 20, device: str = "cpu"
) -> tuple[float, float]:
    """Loss on letterboxed samples without augmentation, and the mean map value at labelled joints."""
    losses, values = [], []
    network.eval()
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        boxed = [letterbox(s.pixels, size) for s in part]
        people = [move_points(s.keypoints, m, False) for s, (_, m) in zip(part, boxed, strict=True)]
        cells = [p * np.array([0.25, 0.25, 1.0]) for p in people]
        targets = draw_targets(cells, size // 4, size // 4, device=device)
        weights = full_weights(
            torch.full(
                (len(part), 39, size // 4, size // 4), 255, dtype=torch.uint8, device=device
            ),
            targets,
        )
        with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16):
            fine, guess = network(normalise(np.stack([b[0] for b in boxed]), device))
        losses.append(float(total_loss(fine, guess, targets, weights)[1]) * len(part))
        for n, p in enumerate(cells):
            for person, c in np.argwhere(p[:, :, 2] > 0):
                x, y = np.clip(p[person, c, :2], 0, size // 4 - 1).astype(int)
                values.append(float(fine[n, c, y, x]))
    return sum(losses) / len(samples), float(np.mean(values))
