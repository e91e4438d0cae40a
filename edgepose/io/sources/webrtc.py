"""`webrtc://@:8554/name`: the camera of a browser that opens http://host:8554/name.

Browsers give their camera only to https pages and to localhost: set SSL_CERT and SSL_KEY.
"""

from __future__ import annotations

import asyncio
import queue
from dataclasses import replace
from functools import partial
from typing import Any

from edgepose.errors import SourceError, SourceLost
from edgepose.io.base import Source, SourceOptions
from edgepose.io.ffmpeg import Converter
from edgepose.io.peers import Peers
from edgepose.io.pixels import Transform
from edgepose.io.sources.capture import Capture, Captured
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri

WAITING = 2  # pictures between the network's thread and the capture thread


class Browser:
    """The page, and the pictures of whoever sends; opened once, it outlives its visitors."""

    def __init__(self, uri: Uri) -> None:
        self.shown = uri.display
        self.pictures: queue.Queue[Any] = queue.Queue(WAITING)
        try:
            self._peers = Peers(uri, True, self._prepare)
        except OSError as e:
            raise SourceError(str(e)) from None
        self.port = self._peers.port

    async def _prepare(self, peer: Any) -> None:
        @peer.on("track")  # type: ignore[untyped-decorator,unused-ignore]
        def arrived(track: Any) -> None:
            if track.kind == "video":
                self._task = asyncio.ensure_future(self._receive(track))

    async def _receive(self, track: Any) -> None:
        while True:
            try:
                self._put(await track.recv())
            except Exception:  # aiortc's MediaStreamError: the browser left
                self._put(None)
                return

    def _put(self, picture: Any) -> None:
        """Newest wins here, too."""
        while True:
            try:
                self.pictures.put_nowait(picture)
                return
            except queue.Full:
                try:
                    self.pictures.get_nowait()
                except queue.Empty:
                    continue

    def close(self) -> None:
        """Take the page away and hang up."""
        self._peers.close()


class BrowserCapture:
    """One visit; a Capture."""

    rate = 0.0

    def __init__(self, browser: Browser, options: SourceOptions) -> None:
        self._browser, self._transform = browser, Transform(options)
        self._convert = Converter(browser.shown)
        self._interrupted = False

    def read(self) -> Captured | None:
        while not self._interrupted:
            try:
                picture = self._browser.pictures.get(timeout=0.2)
            except queue.Empty:
                continue
            if picture is None:
                raise SourceLost(f"{self._browser.shown}: the browser left.")
            return Captured(partial(self._pixels, picture))
        return None

    def _pixels(self, picture: Any) -> Any:
        return self._transform(self._convert(picture))

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._interrupted = True


class WebrtcSource(LiveSource):
    """Waits for a browser for as long as it takes; one that left may come back."""

    def __init__(self, browser: Browser, uri: Uri, options: SourceOptions) -> None:
        self._browser = browser
        self.port = browser.port

        def opener() -> Capture:
            return BrowserCapture(browser, options)

        patient = replace(options, wait=True, timeout=max(options.timeout, 1e9))
        super().__init__(opener, patient, uri=uri.display, name=uri.name)

    def close(self) -> None:
        """Stop receiving and take the page away."""
        super().close()
        browser, self._browser = self._browser, None  # type: ignore[assignment]
        if browser is not None:
            browser.close()


def open_webrtc(uri: Uri, options: SourceOptions) -> Source:
    """Receive the camera of a browser.

    Raises:
        BackendUnavailable: no aiortc. SourceError: the port cannot be opened.
    """
    return WebrtcSource(Browser(uri), uri, options)
