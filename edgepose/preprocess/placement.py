"""Where a whole picture lies in a network's input, and the picture put there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.geometry import Affine, letterbox, stretch
from edgepose.networks.manifest import InputSpec
from edgepose.types import Float64Array, Pixels

Way = Literal["maps", "boxes"]


@dataclass(frozen=True)
class Placement:
    """A whole picture inside a network's input.

    Attributes:
        answers: picture -> input pixels, as the network's answers are meant.
        drawn: the same as the resize to whole pixels puts it; it may differ by a rounding.
        left, top, width, height: of the picture in the input, in pixels.
        smooth: averages areas where the picture shrinks more than so many times, so that nothing
            aliases; 0 = always bilinear, as detectors are trained.
    """

    answers: Affine
    drawn: Affine
    left: int
    top: int
    width: int
    height: int
    smooth: float = 0.0

    def to_image(self, xy: NDArray[np.floating]) -> Float64Array:
        """Points (..., 2) or boxes (..., 4) of the input in image pixels, float64, not clipped."""
        p = np.asarray(xy, np.float64)
        pairs = p.reshape(*p.shape[:-1], p.shape[-1] // 2, 2)
        return self.answers.inverse().apply(pairs).reshape(p.shape)

    def draw(self, pixels: Pixels, canvas: Pixels, pad: int = 114) -> None:
        """Put a picture, uint8 (H, W, 3), in its place of a canvas of the input's size, the rest grey."""
        bottom, right = self.top + self.height, self.left + self.width
        canvas[: self.top] = pad
        canvas[bottom:] = pad
        canvas[self.top : bottom, : self.left] = pad
        canvas[self.top : bottom, right:] = pad
        region = canvas[self.top : bottom, self.left : right]
        if region.shape == pixels.shape:
            region[:] = pixels
            return
        shrinks = max(pixels.shape[0] / self.height, pixels.shape[1] / self.width)
        mode = cv2.INTER_AREA if 0 < self.smooth < shrinks else cv2.INTER_LINEAR
        region[:] = cv2.resize(pixels, (self.width, self.height), interpolation=mode)


def fit(spec: InputSpec, width: int, height: int, way: Way = "maps") -> Placement:
    """How a picture of width x height fits into the input.

    Args:
        spec: size, resize and align.
        way: "maps" of bottom-up networks: what is drawn is what the answers mean. "boxes" of
            detectors and one-stage networks, as they were trained: a letterbox at the top left cuts
            the scaled size to whole pixels (YOLOX, RTMDet, RTMO), a centred one rounds it and shifts
            by a tenth, which keeps an odd pixel at the right and bottom (YOLOv5 and its successors);
            answers follow the exact ratio.
    """
    source, target = (width, height), (spec.width, spec.height)
    smooth = 1.0 if spec.shrink == "area" else 2.0 if way == "maps" else 0.0
    if spec.resize == "stretch":
        drawn = stretch(source, target)
        return Placement(drawn, drawn, 0, 0, *target, smooth)
    if way == "maps":
        drawn = letterbox(source, target, centre=spec.align == "centre")
        sizes = round(drawn.a * width), round(drawn.e * height)
        return Placement(drawn, drawn, round(drawn.c), round(drawn.f), *sizes, smooth)
    ratio = min(target[0] / width, target[1] / height)
    whole = int if spec.align == "top-left" else round
    w, h = (max(1, whole(s * ratio)) for s in source)
    left, top = 0, 0
    if spec.align == "centre":
        left, top = (round((t - s) / 2 - 0.1) for t, s in zip(target, (w, h), strict=True))
    answers = Affine(ratio, 0.0, float(left), 0.0, ratio, float(top))
    drawn = Affine(w / width, 0.0, float(left), 0.0, h / height, float(top))
    return Placement(answers, drawn, left, top, w, h, smooth)
