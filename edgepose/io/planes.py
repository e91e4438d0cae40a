"""Pictures as decoders give them, NV12 and I420: kernels read their planes, everyone else RGB made of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.pictures import Planes

# FFmpeg's numbers; where a stream says nothing FFmpeg takes BT.601 and a limited range, and so do we
_MATRICES: dict[int, Literal["bt601", "bt709"]] = {1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601"}
_FULL_RANGE = {0: False, 1: False, 2: True}
_FORMATS = ("yuv420p", "yuvj420p", "nv12")


class PlanarPixels:
    """A `types.Planar`.

    Args:
        planes: NV12 or I420; its memory stays as it is as long as this object lives.
        convert: makes uint8 RGB (height, width, 3) of the same picture, where it lies.
        owner: what the memory of planes on the device belongs to; None where they lie on the host.
    """

    def __init__(self, planes: Planes, convert: Callable[[], Any], owner: Any = None) -> None:
        self.planes = planes
        self.shape = (planes.height, planes.width, 3)
        self.on_device = owner is not None
        self._owner = owner
        self._convert: Callable[[], Any] | None = convert
        self._rgb: Any = None
        self._lock = threading.Lock()

    def rgb(self) -> Any:
        """See `types.Planar`; from any thread."""
        with self._lock:
            if self._rgb is None and self._convert is not None:
                self._rgb, self._convert = self._convert(), None
            assert self._rgb is not None
            return self._rgb


def planes_of(frame: Any) -> Planes | None:
    """The planes of an `av.VideoFrame`, without a copy; None where kernels do not know their like.

    That is NV12 and I420 of 8 bits, of the matrices BT.601 and BT.709.
    """
    matrix = _MATRICES.get(int(frame.colorspace))
    kind = frame.format.name
    full = True if kind == "yuvj420p" else _FULL_RANGE.get(int(frame.color_range))
    if matrix is None or full is None or kind not in _FORMATS:
        return None
    if min(plane.line_size for plane in frame.planes) <= 0:  # upside down
        return None
    make = Planes.nv12 if kind == "nv12" else Planes.i420
    return make(*_arrays(frame), matrix=matrix, full_range=full)


def copied(frame: Any) -> Any:
    """An NV12 or I420 frame in memory of its own, None for others: a driver's memory is soon written again."""
    if frame.format.name not in _FORMATS:
        return None
    copy = type(frame)(frame.width, frame.height, frame.format.name)
    for own, plane in zip(_arrays(copy), _arrays(frame), strict=True):
        own[...] = plane
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    return copy


def _arrays(frame: Any) -> list[NDArray[np.uint8]]:
    """The planes of an NV12 or I420 frame, without a copy."""
    two = frame.format.name == "nv12"
    return [_samples(plane, 2 if two and i else 1) for i, plane in enumerate(frame.planes)]


def _samples(plane: Any, channels: int) -> NDArray[np.uint8]:
    """Bytes (height, width), or (height, width, channels) of more than one."""
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    rows = lines[: plane.height, : plane.width * channels]
    return rows if channels == 1 else rows.reshape(*rows.shape[:1], -1, channels)
