"""Cameras and streams through jetson-utils: decoded by NVDEC, and the pixels stay on the device."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from edgepose.errors import SourceError, SourceLost
from edgepose.io.base import Source, SourceOptions
from edgepose.io.jetson_utils import LOG_OPTIONS
from edgepose.io.sources.av_capture import silent
from edgepose.io.sources.capture import Captured
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri

SLICE_MS = 500  # a read is asked again so often, so that it can be ended
MOST_COPIES = 8  # that are kept to be written again
_ONLY_OURS = 3  # references: the list, the loop, and the question itself


class JetsonCapture:
    """A `videoSource`; a Capture of `io.sources.live`.

    Pictures are device images (rgb8). jetson-utils hands out images of a small ring that it writes
    again, so a picture is copied (on the device) when it is taken, into one of our own that nobody
    holds any more: page-locked memory is not made and freed for every frame.

    Raises:
        SourceLost: it cannot be opened; jetson-utils does not say why.
    """

    def __init__(self, utils: Any, address: str, shown: str, options: SourceOptions) -> None:
        self._utils, self._shown = utils, shown
        self._timeout = options.timeout
        self._interrupted = False
        self._copies: list[Any] = []
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
                return Captured(partial(self._copy, image))
            if time.monotonic() > deadline:
                raise silent(self._shown, self._timeout)
        return None

    def _capture(self) -> Any:
        """An image, None when none came in time."""
        try:
            return self._source.Capture(format="rgb8", timeout=SLICE_MS)
        except Exception as e:  # jetson-utils raises a bare Exception at the end and on errors
            raise SourceLost(f"{self._shown}: {e or 'the stream ended'}.") from None

    def _copy(self, image: Any) -> Any:
        """A copy that stays; this object, and with it the source whose memory is read, lives as long.

        Raises:
            SourceLost: the memory is no longer there.
        """
        try:
            free = (c for c in self._copies if sys.getrefcount(c) <= _ONLY_OURS)
            copy = next((c for c in free if c.shape == image.shape), None)
            if copy is None:
                copy = self._utils.cudaMemcpy(image)
            else:
                self._utils.cudaMemcpy(copy, image)
        except Exception as e:  # it knows no other kind
            raise SourceLost(f"{self._shown}: a picture could not be copied ({e}).") from None
        self._copies = [*(c for c in self._copies if c is not copy), copy][-MOST_COPIES:]
        return copy

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._source.Close()


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
