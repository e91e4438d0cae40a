"""Targets drawn on the whole batch at once, and the masked, weighted loss.

`draw_targets` answers what `targets.py` defines (a test holds them together), some twenty times
faster than a loop: bells of keypoints are outer products, bells of links are computed for all
segments of the batch in one go.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .dataset import LINKS
from .targets import STDEV

N_CMAP = 18
CHUNK = 128  # segments at a time: their intermediate maps stay in the cache


def draw_targets(
    people: list[NDArray[Any]], height: int, width: int, stdev: float = STDEV, device: str = "cpu"
) -> Tensor:
    """(N, 60, height, width) float32: 18 confidence maps, then 42 affinity channels.

    Args:
        people: for each image keypoints (n, 18, 3) in map cells.
    """
    rows = torch.arange(height, device=device) + 0.5
    columns = torch.arange(width, device=device) + 0.5
    maps = torch.zeros(len(people), N_CMAP + 2 * len(LINKS), height, width, device=device)
    _draw_bells(maps, people, rows, columns, stdev)
    _draw_segments(maps, people, rows, columns, stdev)
    return maps


def _draw_bells(
    maps: Tensor, people: list[NDArray[Any]], rows: Tensor, columns: Tensor, stdev: float
) -> None:
    # One pass for everybody's first person, one for the second...: within a pass no map repeats.
    for rank in range(max((len(p) for p in people), default=0)):
        hits = [
            (n, c, p[rank, c, 0], p[rank, c, 1])
            for n, p in enumerate(people)
            if len(p) > rank
            for c in np.flatnonzero(p[rank, :, 2] > 0)
        ]
        if not hits:
            continue
        table = torch.tensor(np.array(hits, np.float32), device=maps.device)
        n, c = table[:, 0].long(), table[:, 1].long()
        bx = torch.exp(-(((columns[None] - table[:, 2:3]) / stdev) ** 2))
        by = torch.exp(-(((rows[None] - table[:, 3:4]) / stdev) ** 2))
        maps[n, c] = torch.maximum(maps[n, c], by[:, :, None] * bx[:, None, :])


def _draw_segments(
    maps: Tensor, people: list[NDArray[Any]], rows: Tensor, columns: Tensor, stdev: float
) -> None:
    found = []
    for n, p in enumerate(people):
        a, b = p[:, LINKS[:, 0]], p[:, LINKS[:, 1]]
        person, k = np.nonzero((a[:, :, 2] > 0) & (b[:, :, 2] > 0))
        found.append(np.column_stack([np.full(len(k), n), k, a[person, k, :2], b[person, k, :2]]))
    table = torch.tensor(np.concatenate(found).astype(np.float32), device=maps.device)
    height, width = maps.shape[2:]
    flat = maps.view(-1, height, width)
    for part in table.split(CHUNK):
        start, end = part[:, 2:4], part[:, 4:6]
        length = torch.linalg.vector_norm(end - start, dim=1) + 1e-5
        u = (end - start) / length[:, None]
        dx, dy = columns[None] - start[:, :1], rows[None] - start[:, 1:]
        ux, uy = u[:, :1], u[:, 1:]
        along = (dy * uy)[:, :, None] + (dx * ux)[:, None, :]
        across = (dy * ux)[:, :, None] - (dx * uy)[:, None, :]
        # Distance beyond either end, without a second pass: |along - L/2| - L/2 where positive.
        half = (length / 2)[:, None, None]
        beyond = along.sub_(half).abs_().sub_(half).clamp_(min=0)
        bell = beyond.square_().add_(across.square_()).mul_(-1 / stdev**2).exp_()
        channel = (part[:, 0] * maps.shape[1] + N_CMAP + 2 * part[:, 1]).long()
        flat.index_add_(0, channel, bell * uy[:, :, None])
        flat.index_add_(0, channel + 1, bell * ux[:, :, None])


def full_weights(weights: Tensor, targets: Tensor) -> Tensor:
    """(N, 60, h, w) weights from the scene's (N, 39, h, w) uint8: everything near a label counts."""
    w = weights.float() / 255
    w = torch.cat([w[:, :N_CMAP], w[:, N_CMAP:].repeat_interleave(2, 1)], 1)
    return torch.maximum(w, (targets.abs() > 0.05).float())


class _WeightedSquares(torch.autograd.Function):
    """Sum of weights * (maps - targets)^2 with its gradient made on the way.

    Autograd would walk over these large maps a dozen times, a tenth of the whole training step.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        # Maps come channels last, targets do not; mixed layouts cost five times the arithmetic.
        error = maps.float().contiguous() - targets
        pull = error * weights
        ctx.save_for_backward(pull)
        ctx.dtype = maps.dtype
        return torch.dot(error.flatten(), pull.flatten())

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (pull,) = ctx.saved_tensors
        gradient = (pull * (2 * outer[0])).to(ctx.dtype, memory_format=torch.channels_last)
        return gradient, None, None


def cell_weights(weights: Tensor, targets: Tensor, peak: float = 3.0, limb: float = 2.0) -> Tensor:
    """Weights with the foreground raised, or the maps collapse to zero.

    Cells near a keypoint weigh up to 1 + `peak`, cells of a limb up to 1 + `limb` times a
    background cell.
    """
    raised = weights.clone()
    raised[:, :N_CMAP].addcmul_(weights[:, :N_CMAP], targets[:, :N_CMAP], value=peak)
    paf = targets[:, N_CMAP:]
    strength = paf[:, 0::2].square() + paf[:, 1::2].square()
    for half in (0, 1):
        part = raised[:, N_CMAP + half :: 2]
        part.addcmul_(part, strength, value=limb)
    return raised


def weighted_loss(maps: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Squared error, weighted, mean over images and cells, times ten for readable figures."""
    cells = len(maps) * maps.shape[2] * maps.shape[3]
    loss: Tensor = _WeightedSquares.apply(maps, targets, weights)
    return loss * (10 / cells)


def total_loss(
    fine: Tensor, guess: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss of the final maps plus half that of the stride-8 guess; the former alone comes second."""
    raised = cell_weights(weights, targets)
    last = weighted_loss(fine, targets, raised)
    first = weighted_loss(guess, F.avg_pool2d(targets, 2), F.avg_pool2d(raised, 2))
    return last + 0.5 * first, last.detach()
