"""Anti-aliased primitives on a picture in memory, through OpenCV's sub-pixel drawing.

Coordinates are image pixels as everywhere (the centre of the top left pixel at 0.5, 0.5); they may
lie far outside the picture. Everything draws in place and touches only the pixels it must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepose.types import Pixels

Point = tuple[float, float]
Rect = tuple[int, int, int, int]
RGBA = tuple[int, int, int, int]

# OpenCV's fixed-point coordinates: 4 fractional bits, a sixteenth of a pixel
SHIFT = 4
ONE = 1 << SHIFT
# measured: its anti-aliased edges make a filled shape wider than asked by so many pixels
LINE_GROWTH = 1.4
DOT_GROWTH = 0.5
# the thinnest anti-aliased line it draws
HAIRLINE = 1.35

PLATE = 40
PLATE_OPACITY = 0.65
TEXT = (240, 240, 240, 255)


def clip_segment(a: Point, b: Point, rect: tuple[float, float, float, float]) -> Any:
    """The part of the segment a-b inside `rect` (left, top, right, bottom) as (a, b), or None.

    Liang and Barsky, "A new concept and method for line clipping", 1984.
    """
    (x, y), (dx, dy) = a, (b[0] - a[0], b[1] - a[1])
    start, end = 0.0, 1.0
    for p, q in (
        (-dx, x - rect[0]),
        (dx, rect[2] - x),
        (-dy, y - rect[1]),
        (dy, rect[3] - y),
    ):
        if p == 0.0:
            if q < 0.0:
                return None
        elif p < 0.0:
            start = max(start, q / p)
        else:
            end = min(end, q / p)
    if not start <= end:
        return None
    return (x + start * dx, y + start * dy), (x + end * dx, y + end * dy)


class Canvas:
    """A picture to draw on, or a translucent layer above a part of it.

    Args:
        pixels: uint8 (H, W, 3) RGB, or (H, W, 4) for a layer of premultiplied RGBA.
        origin: (x, y) of the top left corner of `pixels` in the coordinates that are drawn with.
    """

    def __init__(self, pixels: Pixels, origin: tuple[int, int] = (0, 0)) -> None:
        # here and not at the top of the file: importing OpenCV takes longer than drawing a minute
        import cv2

        self._cv2 = cv2
        self.pixels = pixels
        self.origin = origin
        self.height, self.width = pixels.shape[:2]
        self._x, self._y = origin[0] + 0.5, origin[1] + 0.5
        self._channels = pixels.shape[2]

    def _paint(self, color: RGBA) -> tuple[int, ...]:
        if self._channels == 3:
            return color[:3]
        r, g, b, alpha = color
        return (r * alpha // 255, g * alpha // 255, b * alpha // 255, alpha)

    def _fixed(self, x: float, y: float) -> tuple[int, int]:
        return round((x - self._x) * ONE), round((y - self._y) * ONE)

    def line(self, a: Point, b: Point, width: float, color: RGBA, *, caps: bool = False) -> None:
        """A line `width` pixels wide, round ends with `caps`; far ends are clipped exactly."""
        left, top = self.origin
        if not (
            left <= a[0] <= left + self.width
            and left <= b[0] <= left + self.width
            and top <= a[1] <= top + self.height
            and top <= b[1] <= top + self.height
        ):
            m = width + 2
            bounds = (left - m, top - m, left + self.width + m, top + self.height + m)
            inside = clip_segment(a, b, bounds)
            if inside is None:
                return
            a, b = inside
        paint = self._paint(color)
        if width < HAIRLINE + 0.25:
            cv2 = self._cv2
            cv2.line(self.pixels, self._fixed(*a), self._fixed(*b), paint, 1, cv2.LINE_AA, SHIFT)
            return
        self._thick(a, b, width - LINE_GROWTH, paint)
        if caps:
            self.dot(a, width / 2, color)
            self.dot(b, width / 2, color)

    def _thick(self, a: Point, b: Point, width: float, paint: tuple[int, ...]) -> None:
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy)
        if length == 0.0:
            return
        nx, ny = -dy / length * width / 2, dx / length * width / 2
        corners = np.array(
            (
                self._fixed(a[0] + nx, a[1] + ny),
                self._fixed(b[0] + nx, b[1] + ny),
                self._fixed(b[0] - nx, b[1] - ny),
                self._fixed(a[0] - nx, a[1] - ny),
            ),
            np.int32,
        )
        self._cv2.fillConvexPoly(self.pixels, corners, paint, self._cv2.LINE_AA, SHIFT)

    def dot(self, centre: Point, radius: float, color: RGBA) -> None:
        """A filled circle; nothing where it lies outside."""
        x, y = centre[0] - self.origin[0], centre[1] - self.origin[1]
        if not (-radius < x < self.width + radius and -radius < y < self.height + radius):
            return
        r = max(1, round((radius - DOT_GROWTH) * ONE))
        cv2 = self._cv2
        at = self._fixed(*centre)
        cv2.circle(self.pixels, at, r, self._paint(color), -1, cv2.LINE_AA, SHIFT)

    def part(self, box: tuple[float, float, float, float]) -> Rect | None:
        """The whole pixels (left, top, right, bottom) of the picture that a box touches, or None."""
        left, top, right, bottom = (v - o for v, o in zip(box, self.origin * 2, strict=True))
        if not (left < right and top < bottom):
            return None
        x0, y0 = math.floor(max(0.0, left)), math.floor(max(0.0, top))
        x1, y1 = math.ceil(min(self.width, right)), math.ceil(min(self.height, bottom))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def fill(self, box: tuple[float, float, float, float], grey: int, opacity: float) -> None:
        """Blend a grey rectangle over the picture."""
        rect = self.part(box)
        if rect is not None:
            x0, y0, x1, y1 = rect
            region = self.pixels[y0:y1, x0:x1]
            self._cv2.convertScaleAbs(region, region, 1.0 - opacity, grey * opacity)

    def outline(self, box: tuple[float, float, float, float], width: float, color: RGBA) -> None:
        """The four sides of a rectangle."""
        left, top, right, bottom = box
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        for i, corner in enumerate(corners):
            self.line(corner, corners[(i + 1) % 4], width, color, caps=True)

    def layer(self, box: tuple[float, float, float, float]) -> Canvas | None:
        """An empty RGBA layer above the part of the picture that a box touches, or None."""
        rect = self.part(box)
        if rect is None:
            return None
        x0, y0, x1, y1 = rect
        pixels: Pixels = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
        return Canvas(pixels, (x0 + self.origin[0], y0 + self.origin[1]))

    def blend(self, layer: Canvas) -> None:
        """Put a layer over this picture."""
        cv2 = self._cv2
        x, y = layer.origin[0] - self.origin[0], layer.origin[1] - self.origin[1]
        region = self.pixels[y : y + layer.height, x : x + layer.width]
        through = cv2.cvtColor(255 - layer.pixels[:, :, 3], cv2.COLOR_GRAY2RGB)
        cv2.multiply(region, through, region, 1 / 255)
        cv2.add(region, cv2.cvtColor(layer.pixels, cv2.COLOR_RGBA2RGB), region)

    def text_size(self, text: str, height: float) -> tuple[int, int, int]:
        """(width, height above the baseline, below) in pixels of `text` in capitals of `height`."""
        cv2 = self._cv2
        scale, thickness = _font(height)
        (w, h), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        return w, h, below

    def text(self, text: str, at: tuple[int, int], height: float, color: RGBA) -> None:
        """Text whose base line begins in the pixel `at`, in capitals of `height` pixels."""
        cv2 = self._cv2
        scale, thickness = _font(height)
        font, paint = cv2.FONT_HERSHEY_SIMPLEX, self._paint(color)
        cv2.putText(self.pixels, text, at, font, scale, paint, thickness, cv2.LINE_AA)

    def plate(
        self,
        text: str,
        at: Point,
        height: float,
        *,
        above: bool = False,
        taken: Sequence[Rect] = (),
    ) -> Rect:
        """Text on a translucent grey plate, kept inside the picture where it fits.

        Args:
            text: ASCII.
            at: top left corner of the plate, or with `above` the middle of its lower edge.
            height: height of a capital letter in pixels.
            taken: earlier plates, which this one moves up or else down to keep clear of.

        Returns:
            where the plate came to lie.
        """
        w, h, _ = self.text_size(text, height)
        pad = max(2, round(height * 0.4))
        wide, tall = w + 2 * pad, h + 2 * pad
        x, y = (at[0] - wide / 2, at[1] - tall) if above else at
        left = round(max(0.0, min(x, self.width - wide)))
        top = round(max(0.0, min(y, self.height - tall)))
        top = _clear_of(taken, (left, top, left + wide, top + tall))
        rect = (left, top, left + wide, top + tall)
        self.fill(rect, PLATE, PLATE_OPACITY)
        self.text(text, (left + pad, top + pad + h), height, TEXT)
        return rect


def _clear_of(taken: Sequence[Rect], rect: Rect) -> int:
    """The top at which `rect` overlaps none of `taken`: its own, or above or below what is in the way."""
    left, top, right, bottom = rect
    tall = bottom - top
    row = [t for t in taken if left < t[2] and t[0] < right]
    tops = [top, *(t[1] - tall - 1 for t in row), *(t[3] + 1 for t in row)]
    # farther off it would seem to belong to someone else
    near = [y for y in tops if y >= 0 and abs(y - top) <= 3 * tall]
    free = [y for y in near if all(y >= t[3] or y + tall <= t[1] for t in row)]
    # the nearest one, upwards where there is a choice; where all is full, where it wanted to be
    return min(free, key=lambda y: (abs(y - top), y), default=top)


def _font(height: float) -> tuple[float, int]:
    """Scale and thickness that give the Hershey font capitals of `height` pixels (22 at scale 1)."""
    return height / 22, max(1, round(height / 11))
