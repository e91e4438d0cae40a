"""The whole image centred on a square canvas, as the shipped network is fed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .augment import PAD

Array = NDArray[Any]


def letterbox(pixels: Array, size: int) -> tuple[Array, Array]:
    """uint8 canvas (size, size, 3), and the (2, 3) matrix from image to canvas pixels."""
    height, width = pixels.shape[:2]
    scale = min(size / width, size / height)
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)
    # Averaging when shrinking; bilinear alone would alias.
    small = cv2.resize(
        pixels, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    left, top = (size - w) // 2, (size - h) // 2
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = PAD
    canvas[top : top + h, left : left + w] = small
    return canvas, np.array([[w / width, 0.0, left], [0.0, h / height, top]])
