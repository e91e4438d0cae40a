"""Peaks of confidence maps, found and refined to a fraction of a cell, as trt_pose does.

These numpy functions are the definition; `edgepose/cuda/peaks.cu` is the same for GPU and host.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Float32Array, Int32Array


class Peaks(NamedTuple):
    """The peaks of K confidence maps, one after the other in keypoint order, each in row order.

    Attributes:
        offsets: int32 (K + 1,); the peaks of keypoint k are rows offsets[k] to offsets[k + 1].
        cells: int32 (P, 2), [row, column] in the map.
    """

    offsets: Int32Array
    cells: Int32Array

    @property
    def keypoints(self) -> Int32Array:
        """int32 (P,): the keypoint of each peak."""
        counts = np.diff(self.offsets)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _sliding_maximum(values: Float32Array, axis: int, size: int) -> Float32Array:
    """Maximum over `size` neighbours along an axis, which becomes size - 1 shorter.

    The window is doubled while it fits and closed with one overlapping step: log2(size) passes.
    """

    def pair(a: Float32Array, shift: int) -> Float32Array:
        low: list[Any] = [slice(None)] * a.ndim
        high = list(low)
        low[axis], high[axis] = slice(None, -shift), slice(shift, None)
        out: Float32Array = np.maximum(a[tuple(low)], a[tuple(high)])
        return out

    width = 1
    while 2 * width <= size:
        values, width = pair(values, width), 2 * width
    return pair(values, size - width) if width < size else values


def find_peaks(cmap: Float32Array, threshold: float, window: int, max_peaks: int) -> Peaks:
    """Cells of at least `threshold` that no cell of the window around them exceeds.

    Args:
        cmap: float32 (K, H, W). NaN never is a peak and never hides one.
        threshold: smallest value of a peak.
        window: side of the square window in cells; it is clipped at the border of the map.
        max_peaks: the first so many of each map in row order are kept.

    Equal neighbours are all peaks (the comparison is strict), as in trt_pose.
    """
    keypoints, height, width = cmap.shape
    r = window // 2
    padded = np.full((keypoints, height + 2 * r, width + 2 * r), -np.inf, np.float32)
    clean = padded[:, r : r + height, r : r + width]
    np.fmax(cmap, np.float32(-np.inf), out=clean)
    highest = _sliding_maximum(_sliding_maximum(padded, 1, 2 * r + 1), 2, 2 * r + 1)
    found = np.flatnonzero((clean >= np.float32(threshold)) & (clean == highest))
    keypoint, cell = np.divmod(found, height * width)
    first = np.searchsorted(keypoint, np.arange(keypoints + 1))
    counts = np.diff(first)
    if counts.size and counts.max() > max_peaks:
        keep = np.arange(len(found)) - first[keypoint] < max_peaks
        cell, counts = cell[keep], np.minimum(counts, max_peaks)
    offsets = np.zeros(keypoints + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    cells = np.empty((len(cell), 2), np.int32)
    np.divmod(cell, width, out=(cells[:, 0], cells[:, 1]), casting="same_kind")
    return Peaks(offsets, cells)


def _reflect(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Mirror indices at the border without repeating the border cell."""
    if size == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * size - 2)
    mirrored: NDArray[np.int64] = np.minimum(folded, 2 * size - 2 - folded)
    return mirrored


def refine_peaks(cmap: Float32Array, peaks: Peaks, window: int) -> Float32Array:
    """Centre of mass of the window around each peak, normalised by the size of the map.

    Beyond the border the values are mirrored while the coordinates run on, as in trt_pose, so a
    position may lie slightly outside 0..1. Negative values can push it out of the window, and a
    mass of zero or a value that is not finite makes it infinite or NaN.

    Returns:
        float32 (P, 2), [y, x]; the centre of the top left cell is (0.5 / H, 0.5 / W).
    """
    _, height, width = cmap.shape
    r = window // 2
    span = np.arange(-r, r + 1)
    rows, columns = peaks.cells.T[:, None, :] + span[None, :, None]  # each (window, P)
    size = len(span) ** 2
    weight = cmap[
        peaks.keypoints, _reflect(rows, height)[:, None], _reflect(columns, width)[None, :]
    ].reshape(size, -1)
    shape = (len(span), len(span), len(peaks.cells))
    y = np.broadcast_to(rows[:, None], shape).reshape(size, -1).astype(np.float32)
    x = np.broadcast_to(columns[None, :], shape).reshape(size, -1).astype(np.float32)
    with np.errstate(all="ignore"):
        mass = _ordered_sum(weight)
        centre = np.stack([_ordered_sum(weight * y) / mass, _ordered_sum(weight * x) / mass], 1)
        positions: Float32Array = (centre + np.float32(0.5)) / np.array([height, width], np.float32)
    return positions


def _ordered_sum(terms: Float32Array) -> Float32Array:
    """Sum over the first axis, strictly one after the other, so that every backend rounds alike."""
    total: Float32Array = np.add.accumulate(terms, axis=0)[-1]
    return total
