"""Cameras and streams through jetson-utils: decoded by NVDEC, and the pixels stay on the device."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from edgepose.cuda.buffers import DeviceArray
from edgepose.cuda.pictures import Planes, address_of
from edgepose.errors import SourceError, SourceLost
from edgepose.io.base import Source, SourceOptions
from edgepose.io.jetson_utils import LOG_OPTIONS
from edgepose.io.planes import PlanarPixels
from edgepose.io.sources.av_capture import silent
from edgepose.io.sources.capture import Captured
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri

RAW = "unknown"  # as it comes, without a conversion
SLICE_MS = 500  # a read is asked again so often, so that it can be ended
MOST_COPIES = 8  # that are kept to be written again
_BYTE = np.dtype(np.uint8)
_ONLY_OURS = 3  # references: the list, the loop, and the question itself


class JetsonCapture:
    """A `videoSource`; a Capture of `io.sources.live`.

    Pictures are device images: NV12 or I420 where the decoder or the camera gives that, in planes that
    kernels read, else rgb8. jetson-utils hands out images of a small ring that it writes again, so a picture
    is copied (on the device) when it is taken, into one of our own that nobody holds any more: page-locked
    memory is not made and freed for every frame.

    Raises:
        SourceLost: it cannot be opened; jetson-utils does not say why.
    """

    def __init__(self, utils: Any, address: str, shown: str, options: SourceOptions) -> None:
        self._utils, self._shown = utils, shown
        self._timeout = options.timeout
        self._interrupted = False
        self._copies: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._format, self._begun = RAW, False
        try:
            self._source = utils.videoSource(address, argv=LOG_OPTIONS, options=_settings(options))
        except Exception as e:  # jetson-utils raises plain Exception
            raise SourceLost(
                f"{shown} cannot be opened through jetson-utils ({str(e).replace(address, shown)}). EDGEPOSE_VIDEO=pyav tries "
                "without it."
            ) from None
        self.rate = float(self._source.GetFrameRate() or 0)

    def read(self) -> Captured | None:
        deadline = time.monotonic() + self._timeout
        while not self._interrupted:
            image = self._capture()
            if image is not None:
                return Captured(partial(self._taken, image))
            if time.monotonic() > deadline:
                raise silent(self._shown, self._timeout)
        return None

    def _capture(self) -> Any:
        """An image, None when none came in time."""
        try:
            image = self._source.Capture(format=self._format, timeout=SLICE_MS)
            self._begun = self._begun or image is not None
            return image
        except Exception as e:  # jetson-utils raises a bare Exception at the end and on errors
            if self._format == RAW and not self._begun:  # an old one always converts
                self._format = "rgb8"
                return self._capture()
            raise SourceLost(f"{self._shown}: {e or 'the stream ended'}.") from None

    def _taken(self, image: Any) -> Any:
        """A copy that stays; this object, and with it the source whose memory is read, lives as long.

        Raises:
            SourceLost: the memory is no longer there.
        """
        if not _readable(image):
            return self._rgb(image)
        with self._copying():
            copy = self._free(image, image.format)
            self._utils.cudaMemcpy(copy, image)
        return PlanarPixels(_planes(copy), partial(self._rgb, copy), copy)

    def _rgb(self, image: Any) -> Any:
        """An rgb8 image of ours of the same picture."""
        with self._copying():
            copy = self._free(image, "rgb8")
            if image.format == "rgb8":
                self._utils.cudaMemcpy(copy, image)
            else:
                self._utils.cudaConvertColor(image, copy)
        return copy

    @contextmanager
    def _copying(self) -> Iterator[None]:
        try:
            yield
        except Exception as e:  # it knows no other kind
            raise SourceLost(f"{self._shown}: a picture could not be copied ({e}).") from None

    def _free(self, image: Any, kind: str) -> Any:
        """An image of ours, as large as another, that nobody holds."""
        with self._lock:  # RGB is made in the threads of those who look
            kept = self._copies.get(kind, [])
            free = (c for c in kept if sys.getrefcount(c) <= _ONLY_OURS)
            copy = next((c for c in free if c.shape[:2] == image.shape[:2]), None)
            if copy is None:
                size = {"width": image.width, "height": image.height}
                copy = self._utils.cudaAllocMapped(**size, format=kind)
            self._copies[kind] = [*(c for c in kept if c is not copy), copy][-MOST_COPIES:]
            return copy

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._source.Close()


def _readable(image: Any) -> bool:
    """Whether its planes lie as kernels read them: GStreamer pads rows of odd lengths."""
    return image.format in ("nv12", "i420") and image.width % 4 == image.height % 2 == 0


def _planes(image: Any) -> Planes:
    """The planes of an image, without a copy. Which colours they mean nobody says: BT.601, limited, as FFmpeg
    takes it then."""
    width, height = image.width, image.height
    start, area = address_of(image), width * height
    luma = DeviceArray(start, (height, width), _BYTE)
    half = (height // 2, width // 2)
    if image.format == "nv12":
        return Planes.nv12(luma, DeviceArray(start + area, (*half, 2), _BYTE))
    return Planes.i420(luma, *(DeviceArray(start + area * n // 4, half, _BYTE) for n in (4, 5)))


def _settings(options: SourceOptions) -> dict[str, Any]:
    """jetson-utils' names of our options; only what was asked."""
    asked = {
        "width": options.width,
        "height": options.height,
        "framerate": options.rate,
        "codec": options.codec,
        "flipMethod": "" if options.flip == "none" else options.flip,
        "save": options.save,
    }
    return {"latency": options.latency} | {k: v for k, v in asked.items() if v}


def open_jetson(utils: Any, uri: Uri, options: SourceOptions, address: str = "") -> Source:
    """Open a camera or stream through jetson-utils, supervised.

    Raises:
        SourceError: it cannot be opened, or an option that jetson-utils has no word for.
    """
    if options.transport == "udp" and uri.scheme == "rtsp":
        raise SourceError(
            f"{uri.display}: jetson-utils chooses the RTSP transport itself; with "
            "EDGEPOSE_VIDEO=pyav --rtsp-transport works."
        )
    where = address or uri.text
    return LiveSource(
        lambda: JetsonCapture(utils, where, uri.display, options),
        options,
        uri=uri.display,
        name=uri.name,
    )
