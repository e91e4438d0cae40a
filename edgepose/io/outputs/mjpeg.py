"""`http://@:8080/path`: MJPEG over HTTP, for every browser and most cameras' viewers.

A browser that opens the address gets a page with the picture; an <img>, a player or
`?stream` gets the stream, and `?picture` one JPEG. Each frame is encoded once, however many watch,
and not at all while nobody does. A slow viewer misses frames; it holds nobody up.
"""

from __future__ import annotations

import html
import os
import threading

import cv2

from edgepose.errors import OutputError, UsageError
from edgepose.io import web
from edgepose.io.base import Output, OutputOptions
from edgepose.io.outputs.live_encoder import Pacer
from edgepose.io.pixels import letterbox, size_for
from edgepose.io.uri import Uri
from edgepose.types import Frame

MJPEG_PORT = 8080
MAX_QUALITY = 85  # above, JPEGs grow fast and look the same
BOUNDARY = "edgepose-frame"
WAIT_SECONDS = 0.5

VIEWER = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{margin:0;background:#111}}
img{{display:block;margin:auto;max-width:100vw;max-height:100vh}}</style></head>
<body><img alt="{title}" src="{path}?stream"></body></html>"""


class MjpegOutput(Output):
    """A path of the web server that shows the newest frame.

    Raises:
        OutputError: the port cannot be opened.
    """

    drops = True

    def __init__(self, uri: Uri, options: OutputOptions) -> None:
        self._options, self._shown = options, uri.display
        self._path = uri.path.rstrip("/") or "/"
        self._title = html.escape(uri.name)
        self._change = threading.Condition()
        self._jpeg, self._number = b"", 0
        self._watchers = 0
        self._closed = False
        self._pacer = Pacer()
        self._kept: Frame | None = None
        credentials = f"{uri.user}:{uri.password}" if uri.user else ""
        route = web.Route(self._answer, credentials)
        self._server = web.add(uri.host, uri.port_or(MJPEG_PORT), self._path, route)
        self.port = self._server.port

    def write(self, frame: Frame) -> None:
        """Show a frame; encoded only where somebody watches.

        Raises:
            OutputError: the frame cannot be encoded.
        """
        self._pacer.at(frame)
        with self._change:
            self._kept = frame
            watched = bool(self._watchers)
        if watched:
            self._publish(self._encode(frame))

    def _encode(self, frame: Frame) -> bytes:
        size = size_for(frame.width, frame.height, (self._options.width, self._options.height))
        pixels = letterbox(frame.pixels, size)
        quality = [cv2.IMWRITE_JPEG_QUALITY, min(MAX_QUALITY, self._options.quality)]
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)
        if not done:
            raise OutputError(f"{self._shown}: a frame of {size[0]}x{size[1]} is no JPEG.")
        return jpeg.tobytes()

    def _publish(self, jpeg: bytes) -> None:
        with self._change:
            self._jpeg, self._number = jpeg, self._number + 1
            self._change.notify_all()

    # in the threads of the viewers ----------------------------------------------------------------
    def _answer(self, request: web.Request, method: str) -> None:
        query = request.path.partition("?")[2]
        if query == "picture":
            self._picture(request)
        elif query != "stream" and request.wants_page():
            page = VIEWER.format(title=self._title, path=html.escape(self._path))
            request.reply(200, "text/html; charset=utf-8", page.encode(errors="replace"))
        else:
            self._stream(request)

    def _picture(self, request: web.Request) -> None:
        kept = self._kept
        if kept is None:
            request.reply(503, "text/plain", b"no frame yet\n")
        else:
            request.reply(200, "image/jpeg", self._encode(kept))

    def _stream(self, request: web.Request) -> None:
        request.close_connection = True
        request.send_response(200)
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        request.send_header("Content-Type", kind)
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        if request.command == "HEAD":
            return
        with self._change:
            self._watchers += 1
            seen = self._number
        try:
            self._send_frames(request, seen)
        except OSError:
            return  # the viewer went away
        finally:
            with self._change:
                self._watchers -= 1

    def _send_frames(self, request: web.Request, seen: int) -> None:
        while not self._closed:
            with self._change:
                if self._number == seen:
                    self._change.wait(WAIT_SECONDS)
                if self._number == seen:
                    continue
                jpeg, seen = self._jpeg, self._number
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            request.wfile.write(head.encode() + jpeg + b"\r\n")

    def close(self) -> None:
        """Take the path away and end the viewers' streams."""
        if self._closed:
            return
        with self._change:
            self._closed = True
            self._change.notify_all()
        web.remove(self._server, self._path)


def open_mjpeg(uri: Uri, options: OutputOptions) -> Output:
    """Serve MJPEG over HTTP.

    Raises:
        UsageError: https without a certificate. OutputError: the port cannot be opened.
    """
    if uri.scheme == "https" and not os.environ.get("SSL_CERT"):
        raise UsageError(
            f"{uri.display}: https needs a certificate: set SSL_CERT and SSL_KEY to files."
        )
    return MjpegOutput(uri, options)
