"""MoveNet's six maps, with people put by hand or with any values."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from edgepose.decode.movenet import MAPS

K = 17


def empty(height: int = 24, width: int = 32) -> dict[str, np.ndarray]:
    channels = zip(MAPS, (1, 2, 2, K, 2 * K, 2 * K), strict=True)
    return {name: np.zeros((n, height, width), np.float32) for name, n in channels}


def put(maps: dict[str, np.ndarray], y: int, x: int, score: float = 0.9, half: int = 4) -> None:
    """A person whose keypoint k lies in the cell (y + k % 3, x - k % 2), a quarter cell inside."""
    maps["center"][0, y, x] = score
    maps["box_scale"][:, y, x] = 2 * half
    for k in range(K):
        dy, dx = k % 3, -(k % 2)
        maps["kpt_regress"][2 * k : 2 * k + 2, y, x] = dy + 0.4, dx - 0.3
        maps["kpt_heatmap"][k, y + dy, x + dx] = 0.8
        maps["kpt_offset"][2 * k : 2 * k + 2, y + dy, x + dx] = 0.25, 0.5


@st.composite
def random_maps(draw: st.DrawFn, batch: int = 0) -> dict[str, np.ndarray]:
    """Maps of any values, in steps (flat parts and ties) or without; keypoints near and far from their box."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, k = draw(st.tuples(st.integers(1, 24), st.integers(1, 24))), draw(st.integers(1, 4))
    steps, far = draw(st.sampled_from([0, 1, 4, 64])), draw(st.sampled_from([1.0, 8.0, 300.0]))

    def values(channels: int, low: float, high: float) -> np.ndarray:
        v = rng.uniform(low, high, (*((batch,) if batch else ()), channels, *size))
        return (np.round(v * steps) / steps if steps else v).astype(np.float32)

    return {
        "center": values(1, 0, 1),
        "box_scale": values(2, -2, 2 * max(size)),
        "box_offset": values(2, -2, 2),
        "kpt_heatmap": values(k, 0, 1) * rng.choice([0, 1], (k, 1, 1)).astype(np.float32),
        "kpt_regress": values(2 * k, -far, far),
        "kpt_offset": values(2 * k, -1, 1),
    }
