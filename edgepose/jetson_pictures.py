"""What programs take from jetson-utils beside its sources and outputs: pictures, text, messages.

Pictures are numpy arrays here, so that every function also takes what numpy can view. Images of the
real jetson-utils are copied from the device where a function needs their pixels.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgepose.draw.canvas import Canvas
from edgepose.errors import UnknownNameError, UsageError
from edgepose.io import jetson_utils
from edgepose.io.base import OutputOptions
from edgepose.io.outputs import open_output
from edgepose.io.sources import open_source
from edgepose.preprocess import as_rgb
from edgepose.types import Frame

CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
IMAGE_FORMATS = {
    **{f"{name}8": (name, np.uint8) for name in CHANNELS},
    **{f"{name}32f": (name, np.float32) for name in CHANNELS},
}
Color = tuple[float, ...]


class Picture(np.ndarray[Any, np.dtype[Any]]):
    """A picture as an array (height, width, channels) with the attributes of jetson-utils' cudaImage.

    What is computed from it (a part, a copy) is a picture without a `frame` and taken as RGB.

    Attributes:
        frame: the captured frame with its time, None for other pictures.
        format: "rgb8" and the like, see `FORMATS`.
    """

    frame: Frame | None = None
    format: str = "rgb8"

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.shape[0])

    @property
    def channels(self) -> int:
        """Values a pixel."""
        return int(self.shape[2]) if self.ndim > 2 else 1

    @property
    def timestamp(self) -> int:
        """Nanoseconds from the beginning of a film; 0 for a still picture."""
        return round((self.frame.pts or 0.0) * 1e9) if self.frame else 0


def picture(rgb: Any, format: str = "rgb8", frame: Frame | None = None) -> Any:
    """Pixels of a frame (uint8 RGB) as a picture in a format of `FORMATS`.

    What lies on the device is jetson-utils' own picture, and stays as it is.

    Raises:
        UnknownNameError: no such format.
    """
    name, kind = _format(format)
    if not isinstance(rgb, np.ndarray):
        return rgb
    pixels = rgb
    if name == "gray":
        pixels = (rgb @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)[:, :, None]
    elif name.startswith("bgr"):
        pixels = rgb[:, :, ::-1].copy()
    if name.endswith("a"):
        pixels = np.dstack([pixels, np.full(rgb.shape[:2], 255, np.uint8)])
    made = pixels.astype(kind, copy=False).view(Picture)
    made.format, made.frame = format.lower(), frame
    return made


def rgb_of(image: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Any picture as uint8 RGB (height, width, 3); one that says it is BGR is turned.

    Raises:
        UsageError: it is not a picture.
    """
    pixels = as_rgb(cudaToNumpy(image))
    turned = str(getattr(image, "format", "")).startswith("bgr")
    return np.ascontiguousarray(pixels[:, :, ::-1]) if turned else pixels


def _format(name: str) -> tuple[str, Any]:
    if name.lower() not in IMAGE_FORMATS:
        raise UnknownNameError("format of pictures", name, IMAGE_FORMATS)
    return IMAGE_FORMATS[name.lower()]


# memory -------------------------------------------------------------------------------------------
def cudaToNumpy(image: Any) -> Any:
    """A picture as an array: itself, a view, or a copy from the device.

    Raises:
        BackendUnavailable: it lies on a device from which it cannot be copied.
    """
    if hasattr(image, "__cuda_array_interface__"):
        return jetson_utils.to_host(image)
    return np.asarray(image)


def cudaFromNumpy(array: Any, isBGR: bool = False, timestamp: int = 0) -> Any:
    """A copy of an array as a picture: bytes as they are, everything else as float32 (0..255).

    Raises:
        UsageError: its shape is not that of a picture.
    """
    data = np.array(array)
    data = data[:, :, None] if data.ndim == 2 else data
    names = {1: "gray", 3: "bgr" if isBGR else "rgb", 4: "bgra" if isBGR else "rgba"}
    if data.ndim != 3 or data.shape[2] not in names:
        raise UsageError(
            f"Cannot take an array of shape {np.shape(array)} as a picture; it needs (height, "
            "width), or (height, width, channels) with 1, 3 or 4 channels."
        )
    is_bytes = data.dtype == np.uint8
    made = (data if is_bytes else data.astype(np.float32)).view(Picture)
    made.format = names[data.shape[2]] + ("8" if is_bytes else "32f")
    made.frame = Frame(made, pts=timestamp / 1e9) if timestamp else None
    return made


def cudaAllocMapped(width: int = 0, height: int = 0, format: str = "rgb8", like: Any = None) -> Any:
    """A black picture of a size and format, or of those of another picture (`like`).

    Raises:
        UsageError: no size. UnknownNameError: no such format.
    """
    if like is not None:
        made: Any = np.zeros_like(cudaToNumpy(like)).view(Picture)
        made.format = getattr(like, "format", format)
        return made
    name, kind = _format(format)
    if width < 1 or height < 1:
        raise UsageError(f"A picture of {width}x{height} has no pixels.")
    made = np.zeros((int(height), int(width), CHANNELS[name]), kind).view(Picture)
    made.format = format.lower()
    return made


def cudaMemcpy(dst: Any, src: Any = None) -> Any:
    """Copy `src` into `dst`; or, with one argument, a new picture that is its copy."""
    if src is None:
        made = cudaAllocMapped(like=dst)
        made[...] = cudaToNumpy(dst)
        return made
    dst[...] = cudaToNumpy(src)
    return dst


def cudaResize(input: Any, output: Any, filter: str = "linear") -> None:
    """Resize one picture into another of any size and the same channels.

    Args:
        filter: "linear", or "point" for the nearest pixel.
    """
    import cv2

    way = cv2.INTER_LINEAR if filter == "linear" else cv2.INTER_NEAREST
    size = (output.shape[1], output.shape[0])
    output[...] = cv2.resize(cudaToNumpy(input), size, interpolation=way).reshape(output.shape)


def cudaDeviceSynchronize() -> None:
    """Wait for the GPU where jetson-utils is installed; nothing to wait for elsewhere."""
    utils, _ = jetson_utils.find()
    if utils is not None:
        utils.cudaDeviceSynchronize()


# files --------------------------------------------------------------------------------------------
def loadImage(filename: str, format: str = "rgb8") -> Any:
    """The picture in a file.

    Raises:
        SourceError: it cannot be read. UnknownNameError: no such format.
    """
    with open_source(str(filename)) as source:
        return picture(next(iter(source)).pixels, format)


def saveImage(filename: str, image: Any, quality: int = 95) -> None:
    """Write a picture to a file; its suffix says how.

    Raises:
        OutputError: it cannot be written. UsageError: not a picture.
    """
    with open_output(str(filename), OutputOptions(quality=int(quality))) as output:
        output.write(Frame(rgb_of(image), name=str(filename)))


# text ---------------------------------------------------------------------------------------------
@dataclass
class cudaFont:
    """Writes text into pictures.

    Args:
        font: accepted for compatibility; there is one font, of ASCII characters.
        size: height of a line in pixels.
    """

    font: str = ""
    size: float = 32.0

    Black: ClassVar[Color] = (0, 0, 0, 255)
    White: ClassVar[Color] = (255, 255, 255, 255)
    Red: ClassVar[Color] = (255, 0, 0, 255)
    Green: ClassVar[Color] = (0, 255, 0, 255)
    Blue: ClassVar[Color] = (0, 0, 255, 255)
    Yellow: ClassVar[Color] = (255, 255, 0, 255)
    Gray: ClassVar[Color] = (128, 128, 128, 255)
    Gray40: ClassVar[Color] = (40, 40, 40, 100)

    def OverlayText(
        self, image: Any, width: int = 0, height: int = 0, text: str = "", x: int = 0, y: int = 0,
        color: Color = White, background: Color = (0, 0, 0, 0),
    ) -> None:  # fmt: skip
        """Write `text` into `image` itself, its top left corner at (x, y).

        Args:
            width, height: accepted for compatibility. color, background: RGBA 0..255.

        Raises:
            UsageError: the picture is not a writable uint8 array of three channels.
        """
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or not pixels.flags.writeable:
            raise UsageError("Text is written into a writable uint8 array (height, width, 3 or 4).")
        rgb = np.ascontiguousarray(pixels[:, :, :3])
        left, top, right, bottom = self.TextExtents(text, x, y)
        plate = rgb[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        opacity = background[3] / 255 if len(background) > 3 else 1.0
        plate[...] = np.round(plate * (1 - opacity) + np.array(background[:3]) * opacity)
        red, green, blue = (int(v) for v in color[:3])
        line = bottom - round(0.25 * self.size)
        Canvas(rgb).text(text, (int(x), line), 0.6 * self.size, (red, green, blue, 255))
        pixels[:, :, :3] = rgb

    def TextExtents(self, text: str, x: int = 0, y: int = 0) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of a text at (x, y)."""
        width, _, _ = Canvas(np.empty((1, 1, 3), np.uint8)).text_size(text, 0.6 * self.size)
        return int(x), int(y), int(x) + width, int(y) + round(self.size)

    def GetSize(self) -> float:
        """Height of a line in pixels."""
        return self.size


# messages -----------------------------------------------------------------------------------------
class Log:
    """jetson-utils' messages of a program, on stderr."""

    LEVELS = ("silent", "error", "warning", "success", "info", "verbose", "debug")
    _level = "verbose"

    @classmethod
    def SetLevel(cls, level: str) -> None:
        """Show messages up to a level of `LEVELS`.

        Raises:
            UnknownNameError: no such level.
        """
        if level.lower() not in cls.LEVELS:
            raise UnknownNameError("level of messages", level, cls.LEVELS)
        cls._level = level.lower()

    @classmethod
    def GetLevel(cls) -> str:
        """The level up to which messages are shown."""
        return cls._level

    @classmethod
    def _say(cls, level: str, text: str) -> None:
        if cls.LEVELS.index(level) <= cls.LEVELS.index(cls._level):
            sys.stderr.write(text.rstrip("\n") + "\n")  # in one piece, whatever other threads say

    @classmethod
    def Error(cls, text: str) -> None:
        """Say what went wrong."""
        cls._say("error", text)

    @classmethod
    def Warning(cls, text: str) -> None:
        """Say what may surprise."""
        cls._say("warning", text)

    @classmethod
    def Success(cls, text: str) -> None:
        """Say what succeeded."""
        cls._say("success", text)

    @classmethod
    def Info(cls, text: str) -> None:
        """Say what happens."""
        cls._say("info", text)

    @classmethod
    def Verbose(cls, text: str) -> None:
        """Say more."""
        cls._say("verbose", text)

    @classmethod
    def Debug(cls, text: str) -> None:
        """Say what helps to find a fault."""
        cls._say("debug", text)

    @staticmethod
    def Usage() -> str:
        """Help of the options about messages."""
        return "logging arguments:\n  --log-level=LEVEL  silent, error, warning, info, verbose or debug\n"
