"""The overlay drawn into pictures on the GPU, in place: links, keypoints and boxes by one kernel.

Text and translucent skeletons are the host's; whoever asks is told, and draws there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepose.cuda.pictures import Shape
from edgepose.draw.canvas import RGBA, Point
from edgepose.draw.overlay import Overlay
from edgepose.types import Box, Pose

if TYPE_CHECKING:
    from edgepose.cuda.kernels import Kernels

log = logging.getLogger(__name__)


class ShapeCanvas:
    """What of `canvas.Canvas` an overlay without text needs; keeps shapes instead of drawing.

    Args:
        width, height: of the picture.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.shapes: list[Shape] = []

    def _add(self, kind: str, a: Point, b: Point, radius: float, color: RGBA) -> None:
        self.shapes.append(Shape(kind, a, b, radius, color[:3], color[3] / 255))

    def line(self, a: Point, b: Point, width: float, color: RGBA, *, caps: bool = False) -> None:
        """A line; its ends are always round."""
        self._add("capsule", a, b, width / 2, color)

    def dot(self, centre: Point, radius: float, color: RGBA) -> None:
        """A disc."""
        self._add("capsule", centre, centre, radius, color)

    def fill(self, box: Box, grey: int, opacity: float) -> None:
        """A translucent rectangle."""
        self.shapes.append(Shape("filled box", box[:2], box[2:], 0.0, (grey,) * 3, opacity))

    def outline(self, box: Box, width: float, color: RGBA) -> None:
        """The sides of a rectangle."""
        self._add("box", box[:2], box[2:], width / 2, color)


class DevicePainter:
    """Draws overlays into device pictures; for one thread. The GPU is looked for at first use."""

    def __init__(self) -> None:
        self._kernels: Kernels | None = None
        self._tried = False

    def draw(self, overlay: Any, pixels: Any, poses: Sequence[Pose]) -> bool:
        """Draw, and wait until it is done; False where the host has to.

        Args:
            overlay: an `Overlay`; others are the host's.
            pixels: uint8 RGB (height, width, 3) on the device, drawn into.
            poses: in its pixels.
        """
        if not isinstance(overlay, Overlay) or overlay.needs_host or not self._start(pixels):
            return False
        canvas = ShapeCanvas(int(pixels.shape[1]), int(pixels.shape[0]))
        overlay.put(canvas, poses)
        runner: Any = self._kernels.runner  # type: ignore[union-attr]
        self._kernels.overlay(pixels, canvas.shapes)  # type: ignore[union-attr]
        with runner.context.active():
            runner.context.wait(runner.stream)
        return True

    def _start(self, pixels: Any) -> bool:
        if not self._tried and hasattr(pixels, "__cuda_array_interface__"):
            self._tried = True
            try:
                from edgepose.cuda.device import device_kernels

                self._kernels = device_kernels()
            except Exception as e:  # whatever a driver can think of: the host draws as well
                log.debug("the overlay is drawn on the CPU: %s", str(e).rstrip("."))
        return self._kernels is not None

    def close(self) -> None:
        """Free what the kernels hold; safe to call twice."""
        if self._kernels is not None:
            self._kernels.runner.close()
        self._kernels = None
