"""Plane geometry between the image and the network's input.

One kind of object, `Affine`, carries every way of getting from the image to the network's input
(stretch, letterbox, rotated crop) and its exact inverse. Coordinates are continuous pixels: the
centre of the top left pixel is (0.5, 0.5), so a stretch is a plain scale and flips need no "-1".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Box, Float64Array


@dataclass(frozen=True)
class Affine:
    """x' = a x + b y + c, y' = d x + e y + f."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @property
    def matrix(self) -> Float64Array:
        """The (2, 3) float64 matrix."""
        return np.array([[self.a, self.b, self.c], [self.d, self.e, self.f]])

    @property
    def is_axis_aligned(self) -> bool:
        """True where x' depends on x only and y' on y only (stretch and letterbox)."""
        return self.b == 0.0 and self.d == 0.0

    def apply(self, xy: NDArray[np.floating]) -> Float64Array:
        """Map points: (..., 2) in, float64 (..., 2) out."""
        p = np.asarray(xy, np.float64)
        x, y = p[..., 0], p[..., 1]
        mapped = np.empty(p.shape)
        mapped[..., 0] = self.a * x + self.b * y + self.c
        mapped[..., 1] = self.d * x + self.e * y + self.f
        return mapped

    def inverse(self) -> Affine:
        """The exact inverse.

        Raises:
            ZeroDivisionError: the map is singular.
        """
        det = self.a * self.e - self.b * self.d
        a, b, d, e = self.e / det, -self.b / det, -self.d / det, self.a / det
        return Affine(a, b, -(a * self.c + b * self.f), d, e, -(d * self.c + e * self.f))

    def between_centres(self) -> Affine:
        """A map between pixel numbers as the same map between points, pixel centres at .5."""
        c = self.c + 0.5 - 0.5 * (self.a + self.b)
        f = self.f + 0.5 - 0.5 * (self.d + self.e)
        return Affine(self.a, self.b, c, self.d, self.e, f)

    def mirrored(self, width: float) -> Affine:
        """This map, then the mirror image of a target of that width."""
        return Affine(-self.a, -self.b, width - self.c, self.d, self.e, self.f)


def stretch(source: tuple[int, int], target: tuple[int, int]) -> Affine:
    """Image (width, height) stretched to the target (width, height), aspect not kept."""
    return Affine(target[0] / source[0], 0.0, 0.0, 0.0, target[1] / source[1], 0.0)


def letterbox(source: tuple[int, int], target: tuple[int, int], *, centre: bool = True) -> Affine:
    """Image (width, height) scaled to fit into the target with its aspect kept.

    The scaled size is rounded to whole pixels, as a resize needs it; padding is centred, or all at
    the right and bottom where `centre` is False.
    """
    ratio = min(target[0] / source[0], target[1] / source[1])
    width = max(1, min(target[0], round(source[0] * ratio)))
    height = max(1, min(target[1], round(source[1] * ratio)))
    left = (target[0] - width) // 2 if centre else 0
    top = (target[1] - height) // 2 if centre else 0
    return Affine(width / source[0], 0.0, float(left), 0.0, height / source[1], float(top))


def crop(
    centre: tuple[float, float],
    size: tuple[float, float],
    target: tuple[int, int],
    angle: float = 0.0,
) -> Affine:
    """Map a (rotated) rectangle of the image onto the whole target (width, height).

    `centre` and `size` (width, height) are in image pixels; `angle` in radians turns the rectangle
    clockwise in the image (y down). Both axes scale on their own, so give `size` the target's
    aspect for an undistorted crop.
    """
    sx, sy = target[0] / size[0], target[1] / size[1]
    cos, sin = math.cos(angle), math.sin(angle)
    a, b, d, e = sx * cos, sx * sin, -sy * sin, sy * cos
    cx, cy = centre
    return Affine(a, b, target[0] / 2 - a * cx - b * cy, d, e, target[1] / 2 - d * cx - e * cy)


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> Float64Array:
    """Intersection over union of boxes: (N, 4) and (M, 4) xyxy in, (N, M) out; 0 where empty."""
    a64, b64 = np.asarray(a, np.float64).reshape(-1, 4), np.asarray(b, np.float64).reshape(-1, 4)
    low = np.maximum(a64[:, None, :2], b64[None, :, :2])
    high = np.minimum(a64[:, None, 2:], b64[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_a = np.prod(np.clip(a64[:, 2:] - a64[:, :2], 0, None), axis=-1)
    area_b = np.prod(np.clip(b64[:, 2:] - b64[:, :2], 0, None), axis=-1)
    union = area_a[:, None] + area_b[None] - overlap
    iou: Float64Array = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def keypoints_box(points: NDArray[np.floating], margin: float = 0.0) -> Box:
    """Tight box around the detected rows (score > 0) of (K, 3) points, grown by `margin` of its size."""
    seen = np.asarray(points)[:, 2] > 0
    if not seen.any():
        return (0.0, 0.0, 0.0, 0.0)
    xy = np.asarray(points, np.float64)[seen, :2]
    low, high = xy.min(axis=0), xy.max(axis=0)
    grow = (high - low) * margin
    low, high = low - grow, high + grow
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
