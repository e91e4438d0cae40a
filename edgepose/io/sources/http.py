"""`http(s)://`: MJPEG of network cameras and HLS (live), films and pictures (every frame)."""

from __future__ import annotations

from collections.abc import Callable

from edgepose.errors import SourceLost, SourceTimeout
from edgepose.io.base import Source, SourceOptions
from edgepose.io.ffmpeg import network_url
from edgepose.io.sources.av_capture import Address, AvCapture
from edgepose.io.sources.capture import Capture
from edgepose.io.sources.live import LiveSource
from edgepose.io.sources.whole import WholeSource, interruptible
from edgepose.io.uri import Uri

Opener = Callable[[], Capture]


def address(uri: Uri, options: SourceOptions, *, ends: bool = False) -> Address:
    """How FFmpeg opens the address."""
    hls = uri.path.lower().endswith((".m3u8", ".m3u"))
    ffmpeg = {"timeout": str(round(options.timeout / 2 * 1e6)), "user_agent": "edgepose"}
    if not hls:
        # FFmpeg 8 asks again on a connection that it wanted closed, and loses frames where it was;
        # where the server has closed one that it promised to keep, it has to ask once more
        ffmpeg.update(multiple_requests="1", reconnect="1", reconnect_on_network_error="1")
        ffmpeg["reconnect_delay_max"] = "0"
    if hls and not ends:
        ffmpeg["live_start_index"] = "-1"  # the newest segment, not the third newest
        ffmpeg.update(fpsprobesize="1", analyzeduration="200000")
    return Address(network_url(uri), uri.display, options=ffmpeg, ends=ends, paced=hls and not ends)


def open_http(uri: Uri, options: SourceOptions) -> Source:
    """Open what an address serves: live where it has no end, else every frame of it."""
    live = address(uri, options)

    def opener() -> Capture:
        return AvCapture(live, options)

    def supervised(opener_: Opener) -> Source:
        return LiveSource(opener_, options, uri=uri.display, name=uri.name)

    try:
        first = interruptible(lambda: AvCapture(live, options), stop=lambda: None)
    except (SourceLost, SourceTimeout):
        if not options.wait:
            raise
        return supervised(opener)  # absent: whatever it will be, it is not a file
    if not endless(first):
        first.close()
        whole = address(uri, options, ends=True)
        return WholeSource(
            lambda: AvCapture(whole, options), options, uri=uri.display, name=uri.name
        )
    return supervised(Once(first, opener))


def endless(capture: AvCapture) -> bool:
    """A live stream, by its format and whether its length is stated, in seconds or in bytes."""
    if capture.kind in ("mpegts", "mjpeg"):
        return capture.seconds is None and not capture.size
    return capture.kind in ("mpjpeg", "hls") and capture.seconds is None


class Once:
    """An opener that hands out what is open already first."""

    def __init__(self, first: Capture, opener: Opener) -> None:
        self._first: Capture | None = first
        self._opener = opener

    def __call__(self) -> Capture:
        first, self._first = self._first, None
        return first or self._opener()
