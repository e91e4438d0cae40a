"""Crops of people for top-down networks.

A box becomes a centre and a size of the network's aspect, grown by a margin (HRNet, Sun et al., CVPR
2019); one warp a person fills the crop. As in HRNet, RTMPose and their training, one matrix moves
labels and OpenCV's pixel numbers alike, so it goes to `warpAffine` as it is: a network's answers come
back in the coordinates of the labels that it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.geometry import Affine, crop
from edgepose.types import Float64Array, Pixels


def centres_and_sizes(
    boxes: NDArray[np.floating], aspect: float, margin: float = 1.25
) -> tuple[Float64Array, Float64Array]:
    """Centres and sizes of the regions to crop around boxes.

    Args:
        boxes: (N, 4) xyxy in image pixels.
        aspect: width / height of the network's input; the short side grows to it.
        margin: factor on the size.

    Returns:
        float64 (N, 2) centres x, y and (N, 2) sizes width, height.
    """
    b = np.asarray(boxes, np.float64).reshape(-1, 4)
    sides = b[:, 2:] - b[:, :2]
    width = np.maximum(sides[:, 0], sides[:, 1] * aspect)
    # a box without any extent still needs a map that can be inverted
    width = np.maximum(width, 1.0)
    sizes = np.stack([width, width / aspect], axis=1) * margin
    return (b[:, :2] + b[:, 2:]) / 2, sizes


def crops(
    centres: NDArray[np.floating],
    sizes: NDArray[np.floating],
    target: tuple[int, int],
    angles: NDArray[np.floating] | None = None,
) -> list[Affine]:
    """Maps image -> patch of N regions, see `geometry.crop`; centres and sizes are (N, 2), angles (N,)."""
    turns = np.zeros(len(centres)) if angles is None else angles
    rows = zip(centres.tolist(), sizes.tolist(), turns.tolist(), strict=True)
    return [crop(centre, size, target, angle) for centre, size, angle in rows]


def in_image(places: Sequence[Affine], xy: NDArray[np.floating]) -> Float64Array:
    """Points (N, K, 2) of N patches in image pixels."""
    return np.array([place.inverse().apply(p) for place, p in zip(places, xy, strict=True)])


def in_patch(places: Sequence[Affine], xy: NDArray[np.floating]) -> Float64Array:
    """Points (N, K, 2) of pictures in the pixels of N patches."""
    return np.array([place.apply(p) for place, p in zip(places, xy, strict=True)])


def warp(pixels: Pixels, place: Affine, patch: Pixels) -> None:
    """Fill a patch from a picture, bilinear, black outside of it.

    Args:
        pixels: uint8 (H, W, 3).
        place: image -> patch in pixel numbers.
        patch: uint8 (height, width, 3), overwritten.
    """
    size = (patch.shape[1], patch.shape[0])
    cv2.warpAffine(pixels, place.matrix, size, dst=patch, flags=cv2.INTER_LINEAR)
