"""Line integrals through part affinity fields (PAF): how well two peaks belong together.

Method: Cao et al., "Realtime multi-person 2D pose estimation using part affinity fields", CVPR 2017,
section 2.3, in trt_pose's form. The numpy function is the definition; `edgepose/cuda/paf.cu` is the
same for GPU and host.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Float32Array, Int32Array

IndexArray = NDArray[np.int64]

_TINY = np.float32(1e-5)


def pair_starts(table: Int32Array, offsets: Int32Array) -> IndexArray:
    """int64 (L + 1,): where the scores of each link start in the flat array of `line_scores`."""
    counts = np.diff(offsets).astype(np.int64)
    starts = np.zeros(len(table) + 1, np.int64)
    np.cumsum(counts[table[:, 2]] * counts[table[:, 3]], out=starts[1:])
    return starts


def line_scores(
    paf: Float32Array, table: Int32Array, offsets: Int32Array, positions: Float32Array, samples: int
) -> Float32Array:
    """Mean of field times direction along the line between the peaks of every link.

    Args:
        paf: float32 (C, H, W).
        table: int32 (L, 4) rows [PAF channel of y, PAF channel of x, keypoint a, keypoint b].
        offsets: int32 (K + 1,) of `Peaks`.
        positions: float32 (P, 2), [y, x] normalised, of `refine_peaks`.
        samples: number of cells looked at along a line, both ends among them (at least 2).

    Returns:
        float32, link after link (`pair_starts`), within a link row after row of its peaks a by its
        peaks b. Samples outside the map count 0; a score that is not finite is 0.
    """
    starts = pair_starts(table, offsets)
    link = np.repeat(np.arange(len(table)), np.diff(starts))
    if not len(link):
        return np.zeros(0, np.float32)
    height, width = paf.shape[1:]
    first, last = offsets[table[:, 2:]], offsets[table[:, 2:] + 1]
    row, column = np.divmod(np.arange(len(link)) - starts[link], (last - first)[link, 1])
    a, b = first[link, 0] + row, first[link, 1] + column
    field = paf.reshape(-1)
    size = height * width
    y_plane, x_plane = table[link, 0] * size, table[link, 1] * size
    total = np.zeros(len(link), np.float32)
    with np.errstate(all="ignore"):
        y, x = positions.T * np.array([[height], [width]], np.float32)
        ay, ax, dy, dx = y[a], x[a], y[b] - y[a], x[b] - x[a]
        norm = np.sqrt(dy * dy + dx * dx) + _TINY
        uy, ux = dy / norm, dx / norm
        never_outside = _well_inside(y, height) and _well_inside(x, width)
        for step in range(samples):
            t = np.float32(step) / np.float32(samples - 1)
            py, px = ay + t * dy, ax + t * dx
            cell = py.astype(np.int64) * width + px.astype(np.int64)
            if never_outside:
                total += field.take(y_plane + cell) * uy + field.take(x_plane + cell) * ux
                continue
            # Truncation towards zero takes (-1, 0) to row 0 as well; NaN is outside.
            inside = (py > -1) & (py < height) & (px > -1) & (px < width)
            cell = np.where(inside, cell, 0)
            dot = field.take(y_plane + cell) * uy + field.take(x_plane + cell) * ux
            total += np.where(inside, dot, np.float32(0))
        score: Float32Array = total / np.float32(samples)
    score[~np.isfinite(score)] = 0
    return score


def _well_inside(position: Float32Array, size: int) -> bool:
    """All positions so far inside that rounding on the way between two of them stays inside."""
    return bool(((position > -0.5) & (position < size * (1 - 1e-5))).all())
