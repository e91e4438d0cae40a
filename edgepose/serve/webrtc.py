"""The live view over WebRTC (aiortc, the extra `webrtc`): far less to transfer than MJPEG, one encoder a viewer.

Signalling is one request: the offer comes in, the answer with all candidates goes out. No STUN server is asked
unless EDGEPOSE_STUN names one.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepose.errors import UsageError
from edgepose.io.peers import CONNECT_SECONDS, MAX_PEERS, connect, require, send_video
from edgepose.serve.feed import FeedClosed, Listener

if TYPE_CHECKING:
    from edgepose.serve.channel import Channel

CLOCK = 90_000
KEEP = 5.0  # seconds after which a still picture is sent again


def available() -> bool:
    """True where aiortc is installed."""
    return importlib.util.find_spec("aiortc") is not None


class TooMany(UsageError):
    """There are as many viewers as can be."""


class Peers:
    """The open connections.

    Args:
        seconds: for which an offer may hold its place without connecting.
    """

    def __init__(self, seconds: float = CONNECT_SECONDS) -> None:
        self.open: set[Any] = set()
        self._seconds = seconds

    async def answer(self, channel: Channel, offer: object) -> dict[str, str]:
        """Connect a viewer to a channel's pictures; the answer to the browser's offer.

        Raises:
            BackendUnavailable: no aiortc. UsageError: it is no offer of video. TooMany: of them.
        """
        if not isinstance(offer, dict) or offer.get("type") != "offer":
            raise UsageError("The body is no WebRTC offer.")
        require()
        if len(self.open) >= MAX_PEERS:
            raise TooMany(f"There are {MAX_PEERS} WebRTC viewers already; take the MJPEG feed.")
        listener = channel.pictures.listen()

        def gone(peer: Any) -> None:
            self.open.discard(peer)
            channel.pictures.leave(listener)

        async def prepare(peer: Any) -> None:
            self.open.add(peer)
            track = _track(listener, lambda: asyncio.ensure_future(peer.close()))
            send_video(peer, track, "video/H264")  # VP8 takes three times the processor

        try:
            _, answer = await connect(str(offer.get("sdp")), prepare, gone, self._seconds)
        except ValueError as e:
            raise UsageError(str(e)) from None
        channel.look()
        return answer


def _track(listener: Listener[bytes], on_end: Any) -> Any:
    """A video track of a channel's newest pictures."""
    a = require()
    base: Any = a.MediaStreamTrack

    class Newest(base):  # type: ignore[misc,unused-ignore]
        kind = "video"

        def __init__(self) -> None:
            super().__init__()
            self._started = time.monotonic()
            self._last = b""

        async def recv(self) -> Any:
            while True:
                try:
                    items = await listener.get(KEEP)
                except FeedClosed:
                    on_end()
                    self.stop()
                    raise a.mediastreams.MediaStreamError from None
                self._last = items[-1] if items else self._last
                if self._last:
                    break
            loop = asyncio.get_running_loop()
            seconds = time.monotonic() - self._started
            return await loop.run_in_executor(None, _video_frame, self._last, seconds)

    return Newest()


def _video_frame(part: bytes, seconds: float) -> Any:
    """A frame for aiortc's encoders, even in size, of a part of the MJPEG stream."""
    import av
    import cv2

    with contextlib.suppress(ValueError):
        part = part[part.index(b"\r\n\r\n") + 4 :]
    pixels: Any = cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_COLOR)
    height, width = (n // 2 * 2 for n in pixels.shape[:2])
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), "bgr24")
    frame.pts, frame.time_base = round(seconds * CLOCK), Fraction(1, CLOCK)
    return frame
