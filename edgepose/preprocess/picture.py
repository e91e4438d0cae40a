"""One picture to one input tensor, on the CPU through OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import UsageError
from edgepose.geometry import Affine, letterbox, stretch
from edgepose.networks.manifest import InputSpec

Pixels = NDArray[np.uint8]


def fit(spec: InputSpec, width: int, height: int) -> Affine:
    """Where a picture of width x height lies in the network's input: image to input pixels."""
    target = (spec.width, spec.height)
    if spec.resize == "stretch":
        return stretch((width, height), target)
    return letterbox((width, height), target, centre=spec.align == "centre")


def to_tensor(pixels: Pixels, spec: InputSpec, affine: Affine) -> NDArray[np.float32]:
    """The picture as the network wants it.

    Args:
        pixels: uint8 RGB (height, width, 3).
        spec: size, colour order, scale, mean, std and layout of the input.
        affine: image to input pixels, from `fit` or of a rotated crop.

    Returns:
        float32 (3, H, W), or (H, W, 3) where the layout is nhwc; (pixel / scale - mean) / std, the
        padding too. Bilinear; area-averaged where it shrinks more than twice (no aliasing).
    """
    canvas = _place(pixels, spec, affine)
    gain = 1.0 / (spec.scale * np.asarray(spec.std, np.float64))
    bias = -np.asarray(spec.mean, np.float64) / np.asarray(spec.std, np.float64)
    order = (0, 1, 2) if spec.color == "rgb" else (2, 1, 0)
    out = np.empty((3, spec.height, spec.width), np.float32)
    for i, channel in enumerate(order):
        np.multiply(canvas[:, :, channel], np.float32(gain[i]), out=out[i])
        if bias[i]:
            out[i] += np.float32(bias[i])
    return out if spec.layout == "nchw" else np.ascontiguousarray(out.transpose(1, 2, 0))


def _place(pixels: Pixels, spec: InputSpec, affine: Affine) -> Pixels:
    """uint8 (H, W, 3) canvas of the input's size with the picture in its place."""
    import cv2

    if not affine.is_axis_aligned:
        return np.asarray(
            cv2.warpAffine(
                pixels,
                affine.opencv_matrix,
                (spec.width, spec.height),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(spec.pad,) * 3,
            ),
            np.uint8,
        )
    height, width = pixels.shape[:2]
    w, h = round(affine.a * width), round(affine.e * height)
    shrinks = width > 2 * w or height > 2 * h
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = pixels if (w, h) == (width, height) else cv2.resize(pixels, (w, h), interpolation=mode)
    if (w, h) == (spec.width, spec.height):
        return np.asarray(small, np.uint8)
    canvas = np.full((spec.height, spec.width, 3), spec.pad, np.uint8)
    left, top = round(affine.c), round(affine.f)
    canvas[top : top + h, left : left + w] = small
    return canvas


def as_rgb(image: Any) -> Pixels:
    """Any picture array as contiguous uint8 RGB (height, width, 3).

    Takes uint8 or float (0..255) arrays of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4; alpha is
    dropped), and anything numpy can view (`__array_interface__`, buffer protocol).

    Raises:
        UsageError: another shape or type, or a picture without pixels.
    """
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UsageError(
            f"Cannot take an array of shape {np.shape(image)} as a picture; "
            "it needs (height, width, 3) RGB, (height, width, 4) RGBA or (height, width) grey."
        )
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.number):
            raise UsageError(f"Cannot take an array of {array.dtype} as a picture; it needs uint8.")
        array = np.clip(np.nan_to_num(array.astype(np.float32)), 0, 255).astype(np.uint8)
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
    return np.ascontiguousarray(array)
