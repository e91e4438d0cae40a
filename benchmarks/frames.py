"""Maps of people who were never photographed: input of decoders that needs no network and no picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.networks.topology import Topology

Maps = NDArray[np.float32]

# Where keypoints stand in a person of height 1, x from the middle, y from the top (human_pose order).
_STANDING = (
    (0.0, 0.07), (0.02, 0.05), (-0.02, 0.05), (0.05, 0.06), (-0.05, 0.06), (0.11, 0.2), (-0.11, 0.2),
    (0.15, 0.36), (-0.15, 0.36), (0.17, 0.5), (-0.17, 0.5), (0.07, 0.52), (-0.07, 0.52), (0.08, 0.75),
    (-0.08, 0.75), (0.08, 0.97), (-0.08, 0.97), (0.0, 0.18),
)  # fmt: skip


def people(count: int, seed: int) -> NDArray[np.float64]:
    """(count, 18, 2) x, y as fractions of the picture."""
    rng = np.random.default_rng(seed)
    body = np.array(_STANDING)[None] + rng.normal(0, 0.02, (count, len(_STANDING), 2))
    height = rng.uniform(0.35, 0.7, (count, 1, 1))
    corner = np.stack([rng.uniform(0.12, 0.88, count), rng.uniform(0.02, 0.3, count)], 1)
    return np.clip(corner[:, None] + body * height, 0.01, 0.99)


def frame(topology: Topology, count: int, seed: int, size: int = 56) -> tuple[Maps, Maps]:
    """Confidence maps and fields of a trained network, nearly: hills of one cell and a bit, unit
    vectors along limbs, and faint noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    cmap = np.zeros((len(topology.keypoints), size, size))
    paf = np.zeros((2 * len(topology.links), size, size))
    for body in people(count, seed) * size - 0.5:
        for k, (x, y) in enumerate(body):
            hill = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4)
            cmap[k] = np.maximum(cmap[k], hill)
        for link, (a, b) in enumerate(topology.links):
            (ax, ay), (dx, dy) = body[a], body[b] - body[a]
            length = max(np.hypot(dx, dy), 1e-6)
            along = np.clip(((columns - ax) * dx + (rows - ay) * dy) / length**2, 0, 1)
            near = np.hypot(columns - ax - along * dx, rows - ay - along * dy) < 1.5
            paf[2 * link][near], paf[2 * link + 1][near] = dy / length, dx / length
    noise = 0.01
    cmap += np.abs(rng.normal(0, noise, cmap.shape))
    paf += rng.normal(0, noise, paf.shape)
    return cmap.astype(np.float32), paf.astype(np.float32)
