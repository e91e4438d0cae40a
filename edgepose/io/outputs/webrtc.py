"""`webrtc://@:8554/name`: a page at http://host:8554/name that shows the video, for many viewers."""

from __future__ import annotations

import asyncio
import threading
import time
from fractions import Fraction
from typing import Any

import av
import numpy as np

from edgepose.errors import UsageError
from edgepose.io.base import Output, OutputOptions
from edgepose.io.outputs.formats import CLOCK
from edgepose.io.outputs.live_encoder import Pacer
from edgepose.io.peers import Peers, require, send_video
from edgepose.io.pixels import letterbox, size_for
from edgepose.io.uri import Uri
from edgepose.types import Frame

CODECS = {"h264": "video/H264", "vp8": "video/VP8"}
POLL_SECONDS = 0.005


class WebrtcOutput(Output):
    """The newest frame for every viewer; each viewer has an encoder of its own.

    Raises:
        BackendUnavailable: no aiortc. OutputError: the port cannot be opened.
        UsageError: a codec that browsers do not know.
    """

    drops = True

    def __init__(self, uri: Uri, options: OutputOptions) -> None:
        self._mime = CODECS.get(options.codec.lower(), "")
        if not self._mime:
            raise UsageError(f"{uri.display}: WebRTC carries h264 or vp8, not {options.codec}.")
        self._options = options
        self._lock = threading.Lock()
        self._picture: tuple[int, float, Any] | None = None
        self._count = 0
        self._pacer = Pacer()
        self._peers = Peers(uri, False, self._prepare)
        self.port = self._peers.port
        self._closed = False

    @property
    def viewers(self) -> int:
        """Open connections."""
        return len(self._peers.open)

    def write(self, frame: Frame) -> None:
        """Show a frame."""
        seconds = self._pacer.at(frame)
        with self._lock:
            self._count += 1
            self._picture = (self._count, seconds, frame)

    def newest(self, seen: int) -> tuple[int, float, Any] | None:
        """(number, seconds, frame) where there is a newer one than number `seen`."""
        with self._lock:
            picture = self._picture
        return picture if picture is not None and picture[0] != seen else None

    def video_frame(self, frame: Frame, seconds: float) -> Any:
        """A frame as aiortc's encoders take it, even in size."""

        asked = size_for(frame.width, frame.height, (self._options.width, self._options.height))
        size = (max(2, asked[0] // 2 * 2), max(2, asked[1] // 2 * 2))
        pixels = np.ascontiguousarray(letterbox(frame.pixels, size))
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        picture.pts, picture.time_base = round(seconds * CLOCK), Fraction(1, CLOCK)
        return picture

    async def _prepare(self, peer: Any) -> None:
        send_video(peer, _track(self), self._mime)

    def close(self) -> None:
        """Hang up and take the page away."""
        if self._closed:
            return
        self._closed = True
        self._peers.close()


def _track(output: WebrtcOutput) -> Any:
    """A track that gives the output's newest frames."""
    base: Any = require().MediaStreamTrack

    class NewestTrack(base):  # type: ignore[misc,unused-ignore]
        kind = "video"

        def __init__(self) -> None:
            super().__init__()
            self._seen = 0
            self._started: float | None = None

        async def recv(self) -> Any:
            while (picture := output.newest(self._seen)) is None:
                await asyncio.sleep(POLL_SECONDS)
            self._seen, _, frame = picture
            # by the clock of sending: a viewer may join at any time, and times must not go back
            now = time.monotonic()
            self._started = self._started or now
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, output.video_frame, frame, now - self._started)

    return NewestTrack()


def open_webrtc(uri: Uri, options: OutputOptions) -> Output:
    """Serve a page with the video over WebRTC."""
    return WebrtcOutput(uri, options)
