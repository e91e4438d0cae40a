"""Crops of people for top-down networks, and the letterboxes of their detectors.

A box becomes a centre and a size of the network's aspect, grown by a margin (HRNet, Sun et al., CVPR
2019); one warp a person fills the crop. As in HRNet, RTMPose and their training, one matrix moves
labels and OpenCV's pixel numbers alike, so it goes to `warpAffine` as it is: a network's answers come
back in the coordinates of the labels that it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.networks.manifest import InputSpec

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]


def centres_and_sizes(
    boxes: NDArray[np.floating], aspect: float, margin: float = 1.25
) -> tuple[Array, Array]:
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


def crop_matrices(
    centres: NDArray[np.floating],
    sizes: NDArray[np.floating],
    target: tuple[int, int],
    angles: NDArray[np.floating] | float = 0.0,
) -> Array:
    """Matrices image -> patch of (rotated) regions.

    Args:
        centres, sizes: (N, 2) in image pixels.
        target: (width, height) of the patch.
        angles: radians (N,), the region's turn, clockwise in the image (y down).

    Returns:
        float64 (N, 2, 3).
    """
    centres = np.asarray(centres, np.float64)
    scale = np.array(target, np.float64) / np.asarray(sizes, np.float64)
    cos = np.broadcast_to(np.cos(angles), len(centres))
    sin = np.broadcast_to(np.sin(angles), len(centres))
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)
    linear = turn * scale[:, :, None]
    shift = np.array(target, np.float64) / 2 - np.einsum("nij,nj->ni", linear, centres)
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def invert(matrices: NDArray[np.floating]) -> Array:
    """Exact inverses of (N, 2, 3) matrices."""
    m = np.asarray(matrices, np.float64)
    linear = np.linalg.inv(m[:, :, :2])
    return np.concatenate([linear, -(linear @ m[:, :, 2:])], axis=2)


def map_points(matrices: NDArray[np.floating], xy: NDArray[np.floating]) -> Array:
    """Points (N, K, 2) through the matrices (N, 2, 3) of their N people."""
    m = np.asarray(matrices, np.float64)
    moved: Array = np.asarray(xy, np.float64) @ m[:, :, :2].transpose(0, 2, 1) + m[:, None, :, 2]
    return moved


def from_pixel_numbers(matrices: NDArray[np.floating]) -> Array:
    """Matrices (N, 2, 3) between pixel numbers as matrices between points with pixel centres at .5."""
    m = np.array(matrices, np.float64)
    m[:, :, 2] += 0.5 - 0.5 * m[:, :, :2].sum(axis=2)
    return m


def mirrored(matrices: NDArray[np.floating], width: int) -> Array:
    """Matrices (N, 2, 3), pixel centres at .5, to the mirror images of their patches."""
    m = np.array(matrices, np.float64)
    m[:, 0] *= -1
    m[:, 0, 2] += width
    return m


def warp(pixels: Pixels, matrices: NDArray[np.floating], size: tuple[int, int]) -> Pixels:
    """Patches cut from one picture, bilinear, black outside of it.

    Args:
        pixels: uint8 (H, W, 3).
        matrices: (N, 2, 3) image -> patch in pixel numbers.
        size: (width, height) of a patch.

    Returns:
        uint8 (N, height, width, 3).
    """
    import cv2

    patches = np.empty((len(matrices), size[1], size[0], 3), np.uint8)
    for patch, matrix in zip(patches, matrices, strict=True):
        cv2.warpAffine(pixels, matrix, size, dst=patch, flags=cv2.INTER_LINEAR)
    return patches


def normalise(patches: Pixels, spec: InputSpec) -> NDArray[np.float32]:
    """Network tensor of uint8 RGB patches (N, H, W, 3): (pixel / scale - mean) / std in the network's
    channel order and layout, float32."""
    std = np.array(spec.std, np.float64)
    gain = (1.0 / (spec.scale * std)).astype(np.float32)
    bias = (-np.array(spec.mean, np.float64) / std).astype(np.float32)
    order = (2, 1, 0) if spec.color == "bgr" else (0, 1, 2)
    n, height, width = patches.shape[:3]
    if spec.layout == "nhwc":
        out = np.empty((n, height, width, 3), np.float32)
        planes: NDArray[np.float32] = out.transpose(0, 3, 1, 2)
    else:
        planes = out = np.empty((n, 3, height, width), np.float32)
    for to, channel in enumerate(order):
        if gain[to] == 1:
            planes[:, to] = patches[..., channel]
        else:
            np.multiply(patches[..., channel], gain[to], out=planes[:, to])
        if bias[to]:
            planes[:, to] += bias[to]
    return out


@dataclass(frozen=True)
class Placement:
    """A whole picture inside a network's input.

    Attributes:
        ratio_x, ratio_y: input pixels to an image pixel.
        width, height: of the scaled picture.
        left, top: its place.
        full_width, full_height: of the whole input.
    """

    ratio_x: float
    ratio_y: float
    width: int
    height: int
    left: int
    top: int
    full_width: int
    full_height: int

    def to_image(self, xy: NDArray[np.floating]) -> Array:
        """Points (..., 2) or boxes (..., 4) of the input in image pixels, not clipped."""
        p = np.asarray(xy, np.float64)
        offset = np.resize([float(self.left), float(self.top)], p.shape[-1])
        moved: Array = (p - offset) / np.resize([self.ratio_x, self.ratio_y], p.shape[-1])
        return moved

    def matrix(self, width: int, height: int) -> Array:
        """(2, 3) image -> input of an image of that size, pixel centres at .5, as `draw` does it."""
        x, y = self.width / width, self.height / height
        return np.array([[x, 0.0, float(self.left)], [0.0, y, float(self.top)]])

    def draw(self, pixels: Pixels, pad: int = 114, out: Pixels | None = None) -> Pixels:
        """The picture in its place, the rest grey.

        Args:
            pixels: uint8 (H, W, 3).
            pad: grey level.
            out: uint8 (full height, full width, 3) to draw into, overwritten.
        """
        import cv2

        canvas = np.empty((self.full_height, self.full_width, 3), np.uint8) if out is None else out
        bottom, right = self.top + self.height, self.left + self.width
        canvas[: self.top] = pad
        canvas[bottom:] = pad
        canvas[self.top : bottom, : self.left] = pad
        canvas[self.top : bottom, right:] = pad
        region = canvas[self.top : bottom, self.left : right]
        if region.shape == pixels.shape:
            region[:] = pixels
        else:
            region[:] = cv2.resize(pixels, (self.width, self.height))
        return canvas


def letterbox(
    source: tuple[int, int],
    target: tuple[int, int],
    *,
    align: Literal["centre", "top-left"] = "top-left",
    whole: Literal["cut", "round"] = "cut",
    stride: int = 0,
) -> Placement:
    """How an image (width, height) fits into an input (width, height), aspect kept.

    `cut` and top left is YOLOX, RTMDet and RTMO; `round` and centre YOLOv5 and its successors, with
    `stride` = 32 for their smallest rectangle (each axis padded to a multiple only).
    """
    ratio = min(target[0] / source[0], target[1] / source[1])
    sizes = [max(1, int(s * ratio) if whole == "cut" else round(s * ratio)) for s in source]
    spare = [t - s for t, s in zip(target, sizes, strict=True)]
    if stride:
        spare = [s % stride for s in spare]
    # the shift by a tenth keeps an odd pixel at the right and bottom, as YOLOv5 has it
    left, top = [0, 0] if align == "top-left" else [round(s / 2 - 0.1) for s in spare]
    full = (sizes[0] + spare[0], sizes[1] + spare[1])
    return Placement(ratio, ratio, sizes[0], sizes[1], left, top, *full)


def place(spec: InputSpec, width: int, height: int) -> Placement:
    """How an image of that size fits into the input of a detector or one-stage network."""
    target = (spec.width, spec.height)
    if spec.resize == "stretch":
        ratios = (target[0] / width, target[1] / height)
        return Placement(*ratios, *target, 0, 0, *target)
    whole: Literal["cut", "round"] = "cut" if spec.align == "top-left" else "round"
    return letterbox((width, height), target, align=spec.align, whole=whole)
