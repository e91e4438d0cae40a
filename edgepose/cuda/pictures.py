"""What goes into the preprocess and overlay kernels, in memory of the host or of the GPU alike."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import UsageError
from edgepose.geometry import Affine

Format = Literal["rgb8", "rgba8", "bgr8", "bgra8", "nv12", "i420"]
PICTURE_FORMATS: tuple[Format, ...] = (
    "rgb8",
    "rgba8",
    "bgr8",
    "bgra8",
    "nv12",
    "i420",
)  # as EpFormat
PIXEL_BYTES = {"rgb8": 3, "rgba8": 4, "bgr8": 3, "bgra8": 4}

# The C structures of preprocess.cu and overlay.cu.
IMAGE = np.dtype(
    [
        ("plane", "<u8", 3),
        ("pitch", "<i4", 3),
        ("format", "<i4"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("slot", "<i4"),
        ("samples", "<i4"),
        ("masked", "<i4"),
        ("window", "<i4", 4),
        ("inverse", "<f4", 6),
        ("yuv", "<f4", 6),
    ],
    align=True,
)
TENSOR = np.dtype(
    [
        ("data", "<u8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("half", "<i4"),
        ("bgr", "<i4"),
        ("step", "<i4", 3),
        ("gain", "<f4", 3),
        ("offset", "<f4", 3),
        ("pad", "<f4"),
    ]
)
SHAPE = np.dtype(
    [
        ("kind", "<i4"),
        ("from", "<f4", 2),
        ("to", "<f4", 2),
        ("radius", "<f4"),
        ("color", "<f4", 3),
        ("alpha", "<f4"),
    ]
)
SHAPE_KINDS = ("capsule", "box", "filled box")  # as EpShapeKind
Window = tuple[slice, slice]  # rows and columns of an output, from start to stop
GREY = 127  # of output outside of a window (EP_GREY)
_SHAPE_NUMBERS = {kind: number for number, kind in enumerate(SHAPE_KINDS)}


def address_of(array: Any) -> int:
    """Address of the first element of a numpy array or of anything with the CUDA array interface."""
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return int(interface["data"][0])


def _layout(array: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides in bytes of an array of bytes."""
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        interface = getattr(array, "__array_interface__", None)
    if interface is None or interface["typestr"] not in ("|u1", "<u1", "u1"):
        found = interface["typestr"] if interface else type(array).__name__
        raise UsageError(f"A picture on the GPU needs bytes (uint8) in an array; found {found}.")
    shape = tuple(int(n) for n in interface["shape"])
    strides = interface.get("strides")
    if strides is None:
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    return shape, tuple(int(n) for n in strides)


@dataclass(frozen=True)
class Planes:
    """A picture as its planes of bytes, each an array on the host or the GPU whose rows may be apart.

    Attributes:
        planes: packed (height, width, 3 or 4); nv12: luma (height, width) and chroma (height / 2,
            width / 2, 2); i420: luma, u and v; halves are rounded up.
        format: one of `FORMATS`.
        width, height: in pixels.
        matrix: "bt601" or "bt709", of nv12 and i420.
        full_range: luma 0..255 instead of 16..235.
    """

    planes: tuple[Any, ...]
    format: Format
    width: int
    height: int
    matrix: Literal["bt601", "bt709"] = "bt601"
    full_range: bool = False

    @classmethod
    def packed(cls, pixels: Any, format: Format = "rgb8") -> Planes:
        """From an array (height, width, 3 or 4) of bytes.

        Raises:
            UsageError: another shape or type, or pixels that do not lie side by side.
        """
        shape, _ = _layout(pixels)
        if format not in PIXEL_BYTES or len(shape) != 3 or shape[2] != PIXEL_BYTES[format]:
            raise UsageError(f"An array of shape {shape} is no {format} picture.")
        return cls((pixels,), format, shape[1], shape[0]).checked()

    @classmethod
    def nv12(cls, luma: Any, chroma: Any, **changes: Any) -> Planes:
        """From luma (height, width) and chroma (height / 2, width / 2, 2).

        Raises:
            UsageError: shapes that do not fit each other.
        """
        (height, width), _ = _layout(luma)
        return cls((luma, chroma), "nv12", width, height, **changes).checked()

    @classmethod
    def i420(cls, luma: Any, u: Any, v: Any, **changes: Any) -> Planes:
        """From luma (height, width), u and v (height / 2, width / 2).

        Raises:
            UsageError: shapes that do not fit each other.
        """
        (height, width), _ = _layout(luma)
        return cls((luma, u, v), "i420", width, height, **changes).checked()

    def checked(self) -> Planes:
        """This picture, when its planes are what its format says.

        Raises:
            UsageError: they are not.
        """
        full, half = (self.height, self.width), ((self.height + 1) // 2, (self.width + 1) // 2)
        wanted = {"nv12": (full, (*half, 2)), "i420": (full, half, half)}.get(
            self.format, ((*full, PIXEL_BYTES.get(self.format, 0)),)
        )
        found = tuple(_layout(plane) for plane in self.planes)
        shapes = tuple(shape for shape, _ in found)
        inner = all(strides[1:] == (*shape[2:], 1) for shape, strides in found)
        if shapes != wanted or 0 in full or not inner or any(s[0] < 0 for _, s in found):
            raise UsageError(
                f"Planes of shape {shapes} are no {self.format} picture of {self.width}x"
                f"{self.height}; it needs {wanted} with the pixels of a row side by side."
            )
        return self

    @property
    def pitches(self) -> tuple[int, ...]:
        """Bytes from row to row of each plane."""
        return tuple(_layout(plane)[1][0] for plane in self.planes)

    def yuv(self) -> tuple[float, ...]:
        """Luma offset and gain, red of v, green of u, green of v, blue of u (ITU-R BT.601, BT.709)."""
        red, blue = (0.299, 0.114) if self.matrix == "bt601" else (0.2126, 0.0722)
        green = 1 - red - blue
        offset, gain, chroma = (0.0, 1.0, 1.0) if self.full_range else (16.0, 255 / 219, 255 / 224)
        r_v, b_u = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
        return (offset, gain, r_v, -b_u * blue / green, -r_v * red / green, b_u)


class _InputSpec(Protocol):
    """The part of a network manifest's input that matters here."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def color(self) -> str: ...
    @property
    def scale(self) -> float: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...
    @property
    def pad(self) -> int: ...
    @property
    def layout(self) -> str: ...


@dataclass(frozen=True)
class TensorLayout:
    """The tensor that a network wants: (byte / scale - mean) / std by output channel.

    Attributes:
        width, height: pixels.
        gain, offset: value = byte * gain + offset, by output channel.
        pad: byte where the picture does not reach.
        bgr, nhwc, half: channel order, layout, and float16 instead of float32.
    """

    width: int
    height: int
    gain: tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pad: float = 0.0
    bgr: bool = False
    nhwc: bool = False
    half: bool = False

    @classmethod
    def of(cls, spec: _InputSpec, half: bool = False) -> TensorLayout:
        """The layout of a manifest's input."""
        gain = [1 / (spec.scale * s) for s in spec.std]
        offset = [-m / s for m, s in zip(spec.mean, spec.std, strict=True)]
        return cls(
            spec.width,
            spec.height,
            (gain[0], gain[1], gain[2]),
            (offset[0], offset[1], offset[2]),
            float(spec.pad),
            spec.color == "bgr",
            spec.layout == "nhwc",
            half,
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float16."""
        return np.dtype(np.float16 if self.half else np.float32)

    def shape(self, batch: int) -> tuple[int, int, int, int]:
        """Shape of the tensor of so many pictures."""
        if self.nhwc:
            return (batch, self.height, self.width, 3)
        return (batch, 3, self.height, self.width)

    def packed(self, address: int) -> bytes:
        """`EpTensor` at an address."""
        return struct.pack("<Q", address) + self._behind_the_address

    @cached_property
    def _behind_the_address(self) -> bytes:
        area = self.width * self.height
        steps = (3, 1, 3 * area) if self.nhwc else (1, area, 3 * area)
        size, flags = (self.width, self.height), (self.half, self.bgr)
        record = (0, *size, *flags, steps, self.gain, self.offset, self.pad)
        return np.array(record, TENSOR).tobytes()[8:]


def inverse_of(affine: Affine) -> tuple[float, ...]:
    """Output to source pixels, six numbers by row.

    Raises:
        UsageError: the map cannot be inverted.
    """
    try:
        inverse = affine.inverse()
    except ZeroDivisionError:
        raise UsageError(f"A picture cannot be placed by a map without area: {affine}.") from None
    return (inverse.a, inverse.b, inverse.c, inverse.d, inverse.e, inverse.f)


def warp_samples(inverse: Sequence[float]) -> int:
    """How many looks along each axis a warp averages: as many as pixels shrink, from twofold on."""
    a, b, _, d, e, _ = inverse
    scale = max(math.hypot(a, d), math.hypot(b, e))
    return min(math.ceil(scale), 64) if scale > 2 else 1


def image_records(
    pictures: Sequence[Planes],
    affines: Sequence[Affine],
    windows: Sequence[Window] = (),
) -> NDArray[Any]:
    """`EpImage` records of pictures that affines place into the items of a batch.

    Args:
        windows: for each picture the output that shows it; all of it where there are none.

    Raises:
        UsageError: a map that cannot be inverted, or a turned one with a window.
    """
    if windows and not all(a.is_axis_aligned for a in affines):
        raise UsageError("Pictures that are turned on their way cannot be masked.")
    records = np.array(
        [_image(p, a, i) for i, (p, a) in enumerate(zip(pictures, affines, strict=True))], IMAGE
    )
    if windows:
        records["masked"] = 1
        records["window"] = [(x.start, y.start, x.stop, y.stop) for y, x in windows]
    return records


def _image(picture: Planes, affine: Affine, slot: int) -> tuple[Any, ...]:
    none = (0,) * (3 - len(picture.planes))
    inverse = np.array(inverse_of(affine), np.float32).tolist()  # as the kernel has it
    return (
        (*map(address_of, picture.planes), *none),
        (*picture.pitches, *none),
        PICTURE_FORMATS.index(picture.format),
        picture.width,
        picture.height,
        slot,
        warp_samples(inverse),
        0,
        (0, 0, 0, 0),
        tuple(inverse),
        picture.yuv(),
    )


@dataclass(frozen=True)
class Shape:
    """Something to draw: a capsule (a disc where both ends are equal), a box or a filled box.

    Attributes:
        kind: one of `SHAPE_KINDS`.
        start, end: ends of the capsule or corners of the box: x, y in image pixels, centres at .5.
        radius: half the line width; rounds and widens a filled box.
        color: 0..255 red, green, blue.
        alpha: 0..1.
    """

    kind: str
    start: tuple[float, float]
    end: tuple[float, float]
    radius: float
    color: tuple[float, float, float]
    alpha: float = 1.0


def shape_records(shapes: Sequence[Shape]) -> NDArray[Any]:
    """`EpShape` records; the corners of boxes in ascending order.

    Shapes whose numbers are not finite or beyond a million pixels are left out.
    """
    numbers = np.array(
        [(*s.start, *s.end, s.radius, *s.color, s.alpha, _SHAPE_NUMBERS[s.kind]) for s in shapes]
    ).reshape(-1, 10)
    sane = (np.abs(numbers[:, [0, 1, 2, 3, 4, 8]]) < 1e6).all(axis=1)
    numbers = numbers[sane]
    start, end, boxes = numbers[:, :2], numbers[:, 2:4], numbers[:, 9:] != _SHAPE_NUMBERS["capsule"]
    records = np.empty(len(numbers), SHAPE)
    records["from"] = np.where(boxes, np.minimum(start, end), start)
    records["to"] = np.where(boxes, np.maximum(start, end), end)
    records["radius"], records["color"] = numbers[:, 4], numbers[:, 5:8]
    records["alpha"], records["kind"] = numbers[:, 8], numbers[:, 9]
    return records
