"""SimCC and SimDR heads: each coordinate is a classification over sub-pixel bins.

SimCC: Li et al., ECCV 2022 (arXiv 2107.03332, first named SimDR); RTMPose: Jiang et al., arXiv 2303.07399.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Score = Literal["mean", "min", "softmax"]


class Points(NamedTuple):
    """Keypoints of N people in pixels of the network's input.

    Attributes:
        xy: float32 (N, K, 2).
        scores: float32 (N, K), raw; 0 or less = nothing found.
        right: float32 (N,), of hands: how sure it is that it is a right one, 0..1.
    """

    xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    right: NDArray[np.float32] | None = None


def _softmax_peak(logits: NDArray[np.float32], peak: NDArray[np.float32]) -> NDArray[np.float32]:
    total: NDArray[np.float32] = np.exp(logits - peak[..., None]).sum(axis=-1)
    return 1.0 / total


def decode_simcc(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    *,
    bins: float = 2.0,
    score: Score = "mean",
) -> Points:
    """Keypoints from the two bin vectors.

    Args:
        x, y: (N, K, bins along the axis); equal maxima count for the first.
        bins: bins a pixel of the input.
        score: `mean` of the two maxima (rtmlib), the `min` of them (mmpose), both for heads whose
            outputs are scores already; `softmax` for logits (SimDR): mean of the two probabilities.

    Returns:
        Positions; where the score is 0 or less the position is (-1, -1) bins.
    """
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    at_x, at_y = x.argmax(axis=-1), y.argmax(axis=-1)
    top_x = np.take_along_axis(x, at_x[..., None], axis=-1)[..., 0]
    top_y = np.take_along_axis(y, at_y[..., None], axis=-1)[..., 0]
    if score == "softmax":
        top_x, top_y = _softmax_peak(x, top_x), _softmax_peak(y, top_y)
    scores = np.minimum(top_x, top_y) if score == "min" else (top_x + top_y) * np.float32(0.5)
    locations = np.stack([at_x, at_y], axis=-1).astype(np.float32)
    locations[scores <= 0] = -1.0
    return Points(locations / np.float32(bins), scores)
