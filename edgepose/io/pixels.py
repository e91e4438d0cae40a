"""Flip and resize of input pictures, as `--input-flip` and `--input-width/height` ask.

The flips are GStreamer's, by the names jetson-inference uses. A flip comes first, so width and
height are those of the frame that leaves.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edgepose.errors import UnknownNameError, UsageError
from edgepose.io.base import SourceOptions
from edgepose.io.memory import MAX_PIXELS, pixel_limit
from edgepose.types import Pixels

# OpenCV takes its limit from the environment when it is loaded
LIMIT = int(os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(pixel_limit())))
import cv2  # noqa: E402

# name -> (transpose first, flip up-down, flip left-right)
FLIPS: dict[str, tuple[bool, bool, bool]] = {
    "none": (False, False, False),
    "counterclockwise": (True, True, False),
    "rotate-180": (False, True, True),
    "clockwise": (True, False, True),
    "horizontal": (False, False, True),
    "vertical": (False, True, False),
    "upper-right-diagonal": (True, True, True),
    "upper-left-diagonal": (True, False, False),
}
_ALIASES = {"": "none", "horizontal-flip": "horizontal", "vertical-flip": "vertical"}


def flip_name(name: str) -> str:
    """The canonical name of a flip.

    Raises:
        UnknownNameError: no such flip.
    """
    name = _ALIASES.get(name.lower(), name.lower())
    if name not in FLIPS:
        raise UnknownNameError("flip", name, FLIPS)
    return name


def flip(pixels: Pixels, name: str) -> Pixels:
    """Flip (H, W, C) pixels; contiguous, and the very array where the flip is "none"."""
    transpose, up_down, left_right = FLIPS[flip_name(name)]
    if transpose:
        pixels = cv2.transpose(pixels)
    if up_down or left_right:
        code = -1 if up_down and left_right else int(left_right)
        pixels = cv2.flip(pixels, code)
    return pixels


def size_for(width: int, height: int, asked: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a picture resized to what was asked; 0 = keep (the aspect)."""
    want_w, want_h = asked
    if want_w and want_h:
        return want_w, want_h
    if want_w:
        return want_w, max(1, round(height * want_w / width))
    if want_h:
        return max(1, round(width * want_h / height)), want_h
    return width, height


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize (H, W, C) pixels to (width, height): by area when smaller, else bilinear.

    Raises:
        UsageError: a size above `MAX_PIXELS`.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    if size[0] * size[1] > MAX_PIXELS:
        raise UsageError(
            f"{width}x{height} pixels cannot be made {size[0]}x{size[1]}: the limit is "
            f"{MAX_PIXELS // 10**6} megapixels. Choose a smaller width or height."
        )
    smaller = size[0] * size[1] < width * height
    out: Any = cv2.resize(
        pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    return out  # type: ignore[no-any-return]


class Transform:
    """Flip and resize as the options ask.

    Raises:
        UsageError: an unknown flip, or a negative size.
    """

    def __init__(self, options: SourceOptions) -> None:
        if options.width < 0 or options.height < 0:
            raise UsageError(
                f"Input size {options.width}x{options.height} is negative; 0 keeps the input's."
            )
        self.flip = flip_name(options.flip)
        self.size = (options.width, options.height)

    @property
    def idle(self) -> bool:
        """Nothing is to be done."""
        return self.flip == "none" and self.size == (0, 0)

    def __call__(self, pixels: Pixels) -> Pixels:
        pixels = flip(pixels, self.flip)
        height, width = pixels.shape[:2]
        return resize(pixels, size_for(width, height, self.size))


def letterbox(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The picture scaled to fit into (width, height) and centred on black."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    ratio = min(size[0] / width, size[1] / height)
    inner = (
        max(1, min(size[0], round(width * ratio))),
        max(1, min(size[1], round(height * ratio))),
    )
    scaled = resize(pixels, inner)
    if inner == size:
        return scaled
    out = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    out[top : top + inner[1], left : left + inner[0]] = scaled
    return out


def pad(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    return np.pad(pixels, ((0, size[1] - height), (0, size[0] - width), (0, 0)), mode="edge")
