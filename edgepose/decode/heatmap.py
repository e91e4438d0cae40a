"""Heatmap heads of top-down networks: one map a keypoint, its maximum is the keypoint.

Sub-pixel steps: the quarter step of HRNet and its forerunners, and DARK (Zhang et al., CVPR 2020,
arXiv 1910.06278), also in the form of UDP (Huang et al., CVPR 2020, arXiv 1911.07524).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.decode.simcc import Points

Maps = NDArray[np.float32]
Exact = NDArray[np.float64]
Refine = Literal["none", "quarter", "quarter-axis", "dark", "dark-udp", "dark-udp-zero"]
Border = Literal["mirror", "zero"]

# Newton steps on a flat or saddle-shaped map go astray; the reference's own maps move < 1.5 px
_EPSILON = float(np.finfo(np.float32).eps)


def maxima(maps: Maps) -> tuple[Maps, Maps]:
    """First maximum in row order of each map.

    Args:
        maps: (N, K, H, W).

    Returns:
        float32 (N, K, 2) x, y in map cells, -1 where the maximum is not positive, and (N, K) values.
    """
    n, k, height, width = maps.shape
    flat = maps.reshape(n, k, height * width)
    at = flat.argmax(axis=-1)
    value = np.take_along_axis(flat, at[..., None], axis=-1)[..., 0]
    xy = np.stack([at % width, at // width], axis=-1).astype(np.float32)
    xy[value <= 0] = -1.0
    return xy, value


def _neighbours(maps: Maps, xy: Maps, steps: tuple[tuple[int, int], ...]) -> list[Maps]:
    """Values at xy + step for each step (dx, dy), beyond the border those of the border."""
    n, k, height, width = maps.shape
    rows, cols = np.arange(n)[:, None], np.arange(k)[None]
    x, y = xy[..., 0].astype(np.intp), xy[..., 1].astype(np.intp)
    return [
        maps[rows, cols, np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
        for dx, dy in steps
    ]


def quarter_step(maps: Maps, xy: Maps, *, by_axis: bool = False) -> Maps:
    """Move each maximum a quarter cell toward its larger neighbour, on each axis.

    Not within one cell of the border: both coordinates must be clear of it, or, `by_axis`, each
    coordinate for itself (mmpose). Both leave out column and row 1 too, as the originals do.
    """
    height, width = maps.shape[2:]
    east, west, south, north = _neighbours(maps, xy, ((1, 0), (-1, 0), (0, 1), (0, -1)))
    x, y = xy[..., 0], xy[..., 1]
    clear_x, clear_y = (x > 1) & (x < width - 1), (y > 1) & (y < height - 1)
    if by_axis:
        clear_x, clear_y = clear_x & (y > 0), clear_y & (x > 0)
    else:
        clear_x = clear_y = clear_x & clear_y
    step = np.stack([np.sign(east - west) * clear_x, np.sign(south - north) * clear_y], axis=-1)
    moved: Maps = xy + np.float32(0.25) * step.astype(np.float32)
    return moved


@lru_cache(maxsize=32)
def _blur_matrix(size: int, kernel: int, border: Border) -> Maps:
    """(size, size) matrix that blurs a row by a truncated Gaussian."""
    half = kernel // 2
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8  # OpenCV's choice for a kernel of this size
    weights = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    matrix = np.zeros((size, size))
    for row in range(size):
        for step, weight in enumerate(weights, row - half):
            col = step
            if border == "mirror" and size > 1:
                period = 2 * (size - 1)
                col = min(step % period, period - step % period)
            if 0 <= col < size:
                matrix[row, col] += weight
    return matrix.astype(np.float32)


def blur(maps: Maps, kernel: int, border: Border) -> Maps:
    """Maps (..., H, W) blurred by a Gaussian of that many cells; as two matrix products."""
    rows = _blur_matrix(maps.shape[-2], kernel, border)
    cols = _blur_matrix(maps.shape[-1], kernel, border)
    blurred: Maps = rows @ maps @ cols.T
    return blurred


def _keep_maximum(blurred: Maps, maps: Maps) -> Maps:
    """Blurred maps scaled to the maxima that they had before."""
    top, before = blurred.max(axis=(-2, -1)), maps.max(axis=(-2, -1))
    gain = np.divide(before, top, out=np.ones_like(top), where=top > 0)
    scaled: Maps = blurred * gain[..., None, None]
    return scaled


def _newton(xy: Maps, dx: Exact, dy: Exact, dxx: Exact, dyy: Exact, dxy: Exact) -> Maps:
    """xy - H^-1 g, unmoved where the Hessian is singular."""
    det = dxx * dyy - dxy * dxy
    solvable = np.abs(det) > 0
    safe = np.where(solvable, det, 1.0)
    step = np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], axis=-1) / safe[..., None]
    moved: Maps = (xy - np.where(solvable[..., None], step, 0.0)).astype(np.float32)
    return moved


def dark_step(maps: Maps, xy: Maps, *, kernel: int = 11) -> Maps:
    """DARK: one Newton step on the logarithm of the blurred map, away from the border only.

    Args:
        maps: (N, K, H, W).
        xy: maxima, (N, K, 2).
        kernel: size of the blur in cells; 11 for 64 x 48 maps, 17 for 96 x 72.
    """
    height, width = maps.shape[2:]
    log = np.log(np.maximum(_keep_maximum(blur(maps, kernel, "zero"), maps), 1e-10))
    o, e, w, s, n, e2, w2, s2, n2, se, ne, sw, nw = (
        v.astype(np.float64)
        for v in _neighbours(
            log,
            xy,
            (
                *((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (2, 0), (-2, 0), (0, 2), (0, -2)),
                *((1, 1), (1, -1), (-1, 1), (-1, -1)),
            ),
        )
    )
    moved = _newton(
        xy,
        0.5 * (e - w),
        0.5 * (s - n),
        0.25 * (e2 - 2 * o + w2),
        0.25 * (s2 - 2 * o + n2),
        0.25 * (se - ne - sw + nw),
    )
    x, y = xy[..., 0], xy[..., 1]
    clear = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return np.where(clear[..., None], moved, xy)


def dark_udp_step(
    maps: Maps, xy: Maps, *, kernel: int = 11, border: Border = "mirror", rescale: bool = False
) -> Maps:
    """DARK as UDP networks use it (ViTPose and others): differences between direct neighbours.

    Args:
        maps: (N, K, H, W).
        xy: maxima, (N, K, 2).
        kernel: size of the blur in cells.
        border: what the blur sees beyond the border.
        rescale: scale each blurred map to the maximum that it had before.
    """
    blurred = blur(maps, kernel, border)
    if rescale:
        blurred = _keep_maximum(blurred, maps)
    log = np.log(np.clip(blurred, 0.001, 50.0))
    o, e, w, s, n, se, nw = (
        v.astype(np.float64)
        for v in _neighbours(log, xy, ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)))
    )
    return _newton(
        xy,
        0.5 * (e - w),
        0.5 * (s - n),
        e - 2 * o + w + _EPSILON,
        s - 2 * o + n + _EPSILON,
        0.5 * (se - e - s + 2 * o - w - n + nw),
    )


def refine(maps: Maps, xy: Maps, method: Refine, kernel: int = 11) -> Maps:
    """The sub-pixel step of that name."""
    if method == "quarter":
        return quarter_step(maps, xy)
    if method == "quarter-axis":
        return quarter_step(maps, xy, by_axis=True)
    if method == "dark":
        return dark_step(maps, xy, kernel=kernel)
    if method == "dark-udp":
        return dark_udp_step(maps, xy, kernel=kernel)
    if method == "dark-udp-zero":
        return dark_udp_step(maps, xy, kernel=kernel, border="zero", rescale=True)
    return xy


def decode_heatmaps(
    maps: NDArray[np.floating],
    size: tuple[int, int],
    *,
    method: Refine = "quarter",
    kernel: int = 11,
    udp: bool = False,
    centred: bool = False,
) -> Points:
    """Keypoints of N people from their heatmaps.

    Args:
        maps: (N, K, H, W).
        size: (width, height) of the network's input.
        method: sub-pixel step.
        kernel: blur of the DARK methods in cells.
        udp: the corners of map and input fall together (UDP), else cell 0 is pixel 0 and a cell
            is input / map wide.
        centred: the middle of a cell is the middle of the pixels that it stands for (networks trained
            for bottom-up use), instead of pixel 0 for cell 0.

    Returns:
        Positions in pixels of the network's input, numbered as the networks were trained (OpenCV's
        pixel numbers); scores are the maxima.
    """
    table = np.asarray(maps, np.float32)
    height, width = table.shape[2:]
    xy, value = maxima(table)
    # a step from a made-up position means nothing
    moved = np.where((value > 0)[..., None], refine(table, xy, method, kernel), xy)
    cells = np.array([width - 1, height - 1] if udp else [width, height], np.float32)
    step = np.array(size, np.float32) / np.maximum(cells, 1)
    patch = (moved + 0.5) * step - 0.5 if centred else moved * step
    return Points(patch.astype(np.float32), value)
