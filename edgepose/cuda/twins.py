"""The kernels for pictures and maps in numpy: their definition, float32 and in the same order.

The twins of the decoding kernels are `edgepose.decode.peaks` and `edgepose.decode.paf`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.pictures import (
    GREY,
    Planes,
    Shape,
    TensorLayout,
    Window,
    inverse_of,
    shape_records,
    warp_samples,
)
from edgepose.geometry import Affine
from edgepose.types import Float32Array

f32 = np.float32


def preprocess(
    pictures: Sequence[Planes],
    affines: Sequence[Affine],
    layout: TensorLayout,
    windows: Sequence[Window] = (),
) -> NDArray[Any]:
    """Pictures to one input tensor.

    Args:
        pictures: on the host.
        affines: for each picture its map from image to tensor pixels; upright maps (stretch,
            letterbox) go row by row and column by column, others through `_warped`.
        layout: of the tensor.
        windows: for each picture the rows and columns of its output that show it, from start to stop;
            all others are `GREY`. None: all of it.

    Returns:
        float32 or float16, `layout.shape(len(pictures))`.
    """
    out = np.empty(layout.shape(len(pictures)), layout.dtype)
    shown = windows or [(slice(None), slice(None))] * len(out)
    for item, picture, affine, window in zip(out, pictures, affines, shown, strict=True):
        inverse = np.array(inverse_of(affine), np.float32)
        make = _upright if affine.is_axis_aligned else _warped
        rgb = np.full((layout.height, layout.width, 3), GREY, np.float32)
        rgb[window] = make(picture, inverse, layout)[window]
        value = rgb[..., ::-1] if layout.bgr else rgb
        value = value * np.array(layout.gain, np.float32) + np.array(layout.offset, np.float32)
        item[...] = value if layout.nhwc else value.transpose(2, 0, 1)
    return out


class _Taps(NamedTuple):
    """Source pixels behind each output pixel along one axis: first one, how many, weights, norm."""

    first: NDArray[np.int64]
    covered: NDArray[np.int64]
    weights: Float32Array
    norm: Float32Array


def _taps(centre: Float32Array, scale: np.float32, shrinks: bool, size: int) -> _Taps:
    """Two taps (bilinear), or a box over all pixels covered: along axes that shrink, where either
    axis of the picture shrinks more than twofold."""
    centre = np.clip(centre, f32(0), f32(size))
    if shrinks and scale > 1:
        low = np.maximum(centre - scale * f32(0.5), f32(0))
        high = np.minimum(centre + scale * f32(0.5), f32(size))
        first = np.clip(low.astype(np.int64), 0, size - 1)
        count = np.clip(np.ceil(high).astype(np.int64) - 1, first, size - 1) - first + 1
        pixel = (first[:, None] + np.arange(count.max())).astype(np.float32)
        reach = np.minimum(high[:, None], pixel + f32(1)) - np.maximum(low[:, None], pixel)
        weights = np.where(np.arange(count.max()) < count[:, None], np.maximum(reach, f32(0)), 0)
        return _Taps(first, count, weights.astype(np.float32), f32(1) / (high - low))
    position = centre - f32(0.5)
    whole = np.floor(position)
    first = np.clip(whole.astype(np.int64), 0, size - 1)
    count = np.clip(whole.astype(np.int64) + 1, 0, size - 1) - first + 1
    fraction = np.where(count == 2, position - whole, f32(0))
    weights = np.stack([f32(1) - fraction, fraction], 1)
    return _Taps(first, count, weights, np.ones_like(fraction))


def _sum_taps(plane: Float32Array, taps: _Taps) -> Float32Array:
    """Weighted sums of `plane` along its first axis, tap after tap."""
    total = np.zeros((len(taps.first), *plane.shape[1:]), np.float32)
    for i in range(taps.weights.shape[1]):
        row = np.minimum(taps.first + i, len(plane) - 1)
        weight = taps.weights[:, i].reshape(-1, *[1] * (plane.ndim - 1))
        total += weight * plane[row]
    return total


def _sum_rows(plane: Float32Array, taps: _Taps) -> Float32Array:
    """The same along rows of bytes: those between the first and the last are whole, and are summed by
    themselves, up to 256 of them, before they are added."""
    total = np.zeros((len(taps.first), *plane.shape[1:]), np.float32)
    whole = np.zeros_like(total)
    for i in range(taps.weights.shape[1]):
        row = plane[np.minimum(taps.first + i, len(plane) - 1)]
        inner = (i > 0) & (i < taps.covered - 1)
        whole[inner] += row[inner]
        if i % 256 == 0:
            total += whole
            whole[:] = 0
        ends = (i == 0) | (i == taps.covered - 1)
        total[ends] += whole[ends]
        total[ends] += taps.weights[ends, i][:, None, None] * row[ends]
    return total


def _resampled(plane: NDArray[np.uint8], rows: _Taps, columns: _Taps) -> Float32Array:
    """A plane (height, width, channels) at the output's size."""
    down = _sum_rows(plane.astype(np.float32), rows)
    across = _sum_taps(down.transpose(1, 0, 2), columns).transpose(1, 0, 2)
    out: Float32Array = across * (columns.norm[None, :] * rows.norm[:, None])[..., None]
    return out


def _channels(planes: Sequence[Float32Array], picture: Planes) -> Float32Array:
    """RGB (height, width, 3), 0..255, of resampled planes."""
    if picture.format not in ("nv12", "i420"):
        order = (2, 1, 0) if picture.format.startswith("bgr") else (0, 1, 2)
        packed: Float32Array = planes[0][..., order]
        return packed
    y: Float32Array = planes[0][..., 0]
    u, v = (
        (planes[1][..., 0], planes[1][..., 1])
        if len(planes) == 2
        else (p[..., 0] for p in planes[1:])
    )
    offset, gain, r_v, g_u, g_v, b_u = (f32(c) for c in picture.yuv())
    luma, cb, cr = (y - offset) * gain, u - f32(128), v - f32(128)
    rgb = np.stack([luma + r_v * cr, luma + (g_u * cb + g_v * cr), luma + b_u * cb], axis=-1)
    clipped: Float32Array = np.clip(rgb, f32(0), f32(255))
    return clipped


def _planes(picture: Planes) -> list[NDArray[np.uint8]]:
    """The planes as (height, width, channels)."""
    arrays = [np.asarray(plane) for plane in picture.planes]
    return [a if a.ndim == 3 else a[..., None] for a in arrays]


def _upright(picture: Planes, inverse: Float32Array, layout: TensorLayout) -> Float32Array:
    """RGB at the output's size through a map that keeps the axes; pad where nothing is."""
    a, _, c, _, e, f = inverse
    x = (np.arange(layout.width, dtype=np.float32) + f32(0.5)) * a + c
    y = (np.arange(layout.height, dtype=np.float32) + f32(0.5)) * e + f
    largest = max(abs(a), abs(e))
    planes = []
    for number, plane in enumerate(_planes(picture)):
        part, limit = (f32(0.5), 4) if number else (f32(1), 2)
        height, width = plane.shape[:2]
        rows = _taps(y * part, abs(e) * part, bool(largest > limit), height)
        columns = _taps(x * part, abs(a) * part, bool(largest > limit), width)
        planes.append(_resampled(plane, rows, columns))
    inside = _inside(x[None, :], y[:, None], picture)
    return np.where(inside[..., None], _channels(planes, picture), f32(layout.pad))


def _inside(x: Float32Array, y: Float32Array, picture: Planes) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (x >= 0) & (x < picture.width) & (y >= 0) & (y < picture.height)
    return inside


def _bilinear(plane: NDArray[np.uint8], x: Float32Array, y: Float32Array) -> Float32Array:
    """A plane (height, width, channels) at points, its border repeated outside."""
    height, width = plane.shape[:2]
    px, py = x - f32(0.5), y - f32(0.5)
    left, top = np.floor(px), np.floor(py)
    fx, fy = (px - left)[..., None], (py - top)[..., None]
    column = [np.clip(left.astype(np.int64) + i, 0, width - 1) for i in (0, 1)]
    row = [np.clip(top.astype(np.int64) + i, 0, height - 1) for i in (0, 1)]
    corner = [[plane[r, c].astype(np.float32) for c in column] for r in row]
    upper = corner[0][0] + (corner[0][1] - corner[0][0]) * fx
    lower = corner[1][0] + (corner[1][1] - corner[1][0]) * fx
    value: Float32Array = upper + (lower - upper) * fy
    return value


def _warped(picture: Planes, inverse: Float32Array, layout: TensorLayout) -> Float32Array:
    """RGB at the output's size through any affine map: bilinear, and where the picture shrinks more
    than twofold the mean of several looks spread over each output pixel."""
    a, b, c, d, e, f = inverse
    cx, cy = np.meshgrid(
        np.arange(layout.width, dtype=np.float32) + f32(0.5),
        np.arange(layout.height, dtype=np.float32) + f32(0.5),
    )
    sx, sy = (a * cx + b * cy) + c, (d * cx + e * cy) + f
    samples = warp_samples(inverse.tolist())
    part = f32(1) / f32(samples)
    planes = _planes(picture)
    sums = [np.zeros((*sx.shape, p.shape[2]), np.float32) for p in planes]
    for i in range(samples):
        for j in range(samples):
            dy, dx = (f32(i) + f32(0.5)) * part - f32(0.5), (f32(j) + f32(0.5)) * part - f32(0.5)
            px, py = sx + (a * dx + b * dy), sy + (d * dx + e * dy)
            for number, (total, plane) in enumerate(zip(sums, planes, strict=True)):
                half = f32(0.5) if number else f32(1)
                total += _bilinear(plane, px * half, py * half)
    rgb = _channels([total * (part * part) for total in sums], picture)
    return np.where(_inside(sx, sy, picture)[..., None], rgb, f32(layout.pad))


def overlay(pixels: NDArray[np.uint8], shapes: Sequence[Shape], bgr: bool = False) -> None:
    """Draw shapes into a picture (height, width, 3 or 4), in place and in their order.

    Edges are ramps of one pixel; overlaps are blended in float32 and rounded once.
    """
    height, width = pixels.shape[:2]
    order = [2, 1, 0] if bgr else [0, 1, 2]
    blended = pixels[..., order].astype(np.float32)
    changed = np.zeros((height, width), bool)
    for shape in shape_records(shapes):
        window = _window(shape, width, height)
        if window is None:
            continue
        rows, columns = window
        y, x = np.mgrid[rows, columns].astype(np.float32) + f32(0.5)
        ramp = shape["radius"] + f32(0.5) - _distance(shape, x, y)
        alpha = np.clip(ramp, f32(0), f32(1)) * shape["alpha"]
        before = blended[rows, columns]
        after = before + (shape["color"] - before) * alpha[..., None]
        drawn = alpha > 0
        before[drawn] = after[drawn]
        changed[rows, columns] |= drawn
    rounded = (np.clip(blended[changed], 0, 255) + f32(0.5)).astype(np.uint8)
    for i, channel in enumerate(order):
        pixels[..., channel][changed] = rounded[:, i]


def _window(shape: Any, width: int, height: int) -> tuple[slice, slice] | None:
    """The rows and columns that a shape may touch; None where it touches nothing."""
    ends = np.stack([shape["from"], shape["to"]])
    reach = shape["radius"] + 1
    low = np.clip(np.floor(ends.min(0) - reach), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(ends.max(0) + reach), 0, (width, height)).astype(int)
    if (low >= high).any():
        return None
    return slice(low[1], high[1]), slice(low[0], high[0])


def _distance(shape: Any, x: Float32Array, y: Float32Array) -> Float32Array:
    """Distance of points from the line of a capsule or the edge of a box (negative inside a filled)."""
    (x0, y0), (x1, y1) = shape["from"], shape["to"]
    if shape["kind"] == 0:
        dx, dy, px, py = x1 - x0, y1 - y0, x - x0, y - y0
        length = dx * dx + dy * dy
        t = (px * dx + py * dy) / length if length > 0 else np.zeros_like(x)
        t = np.clip(t, f32(0), f32(1))
        ex, ey = px - t * dx, py - t * dy
        from_line: Float32Array = np.sqrt(ex * ex + ey * ey)
        return from_line
    outside_x, outside_y = np.maximum(x0 - x, x - x1), np.maximum(y0 - y, y - y1)
    inside = np.minimum(np.maximum(outside_x, outside_y), f32(0))
    ex, ey = np.maximum(outside_x, f32(0)), np.maximum(outside_y, f32(0))
    distance: Float32Array = np.sqrt(ex * ex + ey * ey) + inside
    return distance if shape["kind"] == 2 else np.abs(distance)


def enlarge(maps: Float32Array, factor: int) -> Float32Array:
    """Maps (C, H, W) enlarged by a whole factor by Keys' cubic (1981) with a = -.75, as OpenCV has it: cell
    centres stay, the border is repeated."""
    wide = _enlarged_rows(maps, factor).transpose(0, 2, 1)
    high: Float32Array = _enlarged_rows(wide, factor).transpose(0, 2, 1)
    return high


def _enlarged_rows(maps: NDArray[Any], factor: int) -> NDArray[Any]:
    size = maps.shape[2]
    padded = np.pad(maps, ((0, 0), (0, 0), (2, 2)), "edge")
    out = np.empty((*maps.shape, factor), np.float32)
    for phase in range(factor):
        first, weights = _cubic(phase, factor)
        near = [padded[..., first + i : first + i + size] for i in range(4)]
        out[..., phase] = sum(
            (w * a for w, a in zip(weights[1:], near[1:], strict=True)), weights[0] * near[0]
        )
    return out.reshape((*maps.shape[:2], size * factor))


def _cubic(phase: int, factor: int) -> tuple[int, list[np.float32]]:
    """The first of four neighbours, in cells padded by two, and their weights."""
    offset = (f32(phase) + f32(0.5)) / f32(factor) - f32(0.5)
    before = bool(offset < 0)
    f = offset + f32(1) if before else offset
    g = f32(1) - f
    inner = [(f32(1.25) * v - f32(2.25)) * v * v + f32(1) for v in (f, g)]
    return (0 if before else 1), [f32(-0.75) * f * g * g, *inner, f32(-0.75) * g * f * f]
