"""JPEG pictures of frames, and those that are stored with events: who it was, and in which zone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgepose.draw.canvas import RGBA, Canvas
from edgepose.draw.overlay import track_color
from edgepose.events.event import Event
from edgepose.events.zones import Line, Zone
from edgepose.types import Box

ZONE_COLOR: RGBA = (125, 211, 252, 255)  # as on the page
LINE_COLOR: RGBA = (252, 211, 77, 255)
STROKE = 2.0  # of lines, and
CAPITAL = 10.0  # height of a capital, in a picture of so many pixels on the longer side:
USUAL = 640


def encode(
    pixels: Any, longest: int, quality: int, draw: Callable[[Canvas], None] | None = None
) -> bytes:
    """JPEG of uint8 RGB (H, W, 3), at most `longest` pixels wide or high; `draw` draws on a copy."""
    import cv2

    scale = longest / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if draw is not None:
        pixels = np.array(pixels, np.uint8, order="C")
        draw(Canvas(pixels))
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def smaller(jpeg: bytes, longest: int) -> bytes:
    """A JPEG again, at most `longest` pixels wide or high; as it is where it cannot be read."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return jpeg if pixels is None else encode(np.ascontiguousarray(pixels[..., ::-1]), longest, 80)


def of_event(
    pixels: Any, event: Event, shape: Zone | Line | None, longest: int, quality: int
) -> bytes:
    """JPEG of what an event was about: the person's outline and number, and its zone or line.

    Args:
        pixels: uint8 RGB (H, W, 3), stays as it is.
        event: its box in these pixels. shape: the zone or line it is of.
        longest, quality: as of `encode`.
    """
    height, width = pixels.shape[:2]

    def draw(canvas: Canvas) -> None:
        size = max(1.0, max(canvas.width, canvas.height) / USUAL)
        if shape is not None:
            _put_shape(canvas, shape, size)
        if event.box is not None:
            across, down = canvas.width / width, canvas.height / height
            left, top, right, bottom = event.box
            box = (left * across, top * down, right * across, bottom * down)
            _put_person(canvas, box, event.track, size)

    return encode(pixels, longest, quality, draw)


def _put_person(canvas: Canvas, box: Box, track: int | None, size: float) -> None:
    canvas.outline(box, STROKE * size, track_color(track))
    if track is not None:
        at = ((box[0] + box[2]) / 2, box[1] - 2 * size)
        canvas.plate(f"#{track}", at, CAPITAL * size, above=True)


def _put_shape(canvas: Canvas, shape: Zone | Line, size: float) -> None:
    points = [(x * canvas.width, y * canvas.height) for x, y in shape.points]
    closed = isinstance(shape, Zone)
    ends = [*points[1:], points[0]] if closed else points[1:]
    for a, b in zip(points, ends, strict=False):
        canvas.line(a, b, STROKE * size, ZONE_COLOR if closed else LINE_COLOR, caps=True)
    x, y = min(points, key=lambda point: point[1])
    name = shape.name.encode("ascii", "replace").decode()
    canvas.plate(name, (x, y + 2 * size), CAPITAL * size)
