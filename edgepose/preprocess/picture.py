"""Pictures to input tensors: normalised, in the network's order of channels and layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.errors import UsageError
from edgepose.networks.manifest import InputSpec
from edgepose.preprocess.placement import Placement
from edgepose.types import FEWER_BITS, Pixels


def to_tensor(
    pictures: Sequence[Pixels],
    places: Sequence[Placement],
    spec: InputSpec,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Whole pictures as the network wants them.

    Args:
        pictures: uint8 RGB (height, width, 3) each.
        places: where each lies in the input, of `fit`.
        spec: size, colour order, scale, mean, std and layout of the input.
        dtype: of the input.

    Returns:
        (N, 3, H, W), or (N, H, W, 3) where the layout is nhwc; see `normalise`.
    """
    canvas = np.empty((len(pictures), spec.height, spec.width, 3), np.uint8)
    for pixels, place, out in zip(pictures, places, canvas, strict=True):
        place.draw(pixels, out, spec.pad)
    return normalise(canvas, spec, dtype)


def normalise(patches: Pixels, spec: InputSpec, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Network tensor of uint8 RGB patches (N, H, W, 3): (pixel / scale - mean) / std in the network's
    channel order and layout; the padding too. Integers get whole steps, see `whole_steps`."""
    gain, bias = _gain_and_bias(spec)
    order = (2, 1, 0) if spec.color == "bgr" else (0, 1, 2)
    n, height, width = patches.shape[:3]
    if spec.layout == "nhwc":
        out = np.empty((n, height, width, 3), dtype)
        planes: NDArray[Any] = out.transpose(0, 3, 1, 2)
    else:
        planes = out = np.empty((n, 3, height, width), dtype)
    for to, channel in enumerate(order):
        if gain[to] == 1:
            planes[:, to] = patches[..., channel]
        else:
            np.multiply(patches[..., channel], gain[to], out=planes[:, to])
        if bias[to]:
            planes[:, to] += bias[to].astype(dtype)
    return out


def whole_steps(spec: InputSpec, dtype: np.dtype[Any]) -> bool:
    """True where prepared pixels are whole numbers that fit into an integer type."""
    gain, bias = _gain_and_bias(spec)
    ends = np.array([bias, bias + 255 * gain])
    limits = np.iinfo(dtype)
    whole = (gain == 1).all() and (bias == np.round(bias)).all()
    return bool(whole and ends.min() >= limits.min and ends.max() <= limits.max)


def _gain_and_bias(spec: InputSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What pixels are multiplied with, and what is added, by channel in the network's order."""
    std = np.array(spec.std, np.float64)
    gain = (1.0 / (spec.scale * std)).astype(np.float32)
    return gain, (-np.array(spec.mean, np.float64) / std).astype(np.float32)


def as_rgb(image: Any) -> Pixels:
    """Any picture array as contiguous uint8 RGB (height, width, 3).

    Takes arrays of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4; alpha is dropped), and anything numpy
    can view (`__array_interface__`, buffer protocol). What the numbers mean follows from their type:
    uint8 and other integers 0..255; uint16 the whole range of 16 bits; floats 0..255, or 0..1 where the
    largest is at most 1; bool black and white.

    Raises:
        UsageError: another shape or type, a picture without pixels, or numbers whose range is not one
            of these.
    """
    try:
        array = np.asarray(image)
    except (ValueError, TypeError) as e:  # lists of lists that are no rectangle
        raise UsageError(f"Cannot take {type(image).__name__} as a picture: {e}") from None
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UsageError(
            f"Cannot take an array of shape {np.shape(image)} as a picture; "
            "it needs (height, width, 3) RGB, (height, width, 4) RGBA or (height, width) grey."
        )
    levels = _as_bytes(array[:, :, :3])
    return np.ascontiguousarray(np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels)


def _as_bytes(array: NDArray[Any]) -> Pixels:
    """Levels 0..255 of an array of any type; see `as_rgb`."""
    levels: Pixels
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        levels = array
        return levels
    if kind not in "uifb":
        raise UsageError(f"Cannot take an array of {array.dtype} as a picture; it needs uint8.")
    least, most = float(array.min()), float(array.max())
    if kind == "b":
        levels = array.astype(np.uint8) * np.uint8(255)
        return levels
    if kind == "u" and array.dtype.itemsize == 2:  # of either byte order
        if most == 0 or most >= FEWER_BITS:
            levels = (array >> 8).astype(np.uint8)
            return levels
    elif kind == "f" and least >= 0 and most <= 1.001:
        levels = np.rint(np.minimum(array, 1.0).astype(np.float64) * 255).astype(np.uint8)
        return levels
    elif least >= 0 and most <= 255.5 and (kind != "f" or most >= 2):
        levels = np.minimum(np.rint(array), 255).astype(np.uint8)
        return levels
    raise UsageError(
        f"Cannot tell what the numbers of this picture mean: {array.dtype} from {least:g} to {most:g}. "
        "It needs uint8; uint16 of the whole range; or floats 0..255 or 0..1 (for example "
        "`(image * 255).astype(np.uint8)`)."
    )
