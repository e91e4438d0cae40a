"""Picture outputs: one file a scheme, chosen from one table."""

from __future__ import annotations

import os
from collections.abc import Callable

from edgepose.errors import EdgeposeError
from edgepose.io.base import Output, OutputOptions, load
from edgepose.io.uri import Uri, parse

# scheme -> "module:function" of an opener (Uri, OutputOptions) -> Output; a module is imported only
# when its scheme is used
SCHEMES: dict[str, str] = {
    "file": "edgepose.io.outputs.file:open_file",
    "display": "edgepose.io.outputs.window:open_window",
    "rtp": "edgepose.io.outputs.stream:open_rtp",
    "rtmp": "edgepose.io.outputs.stream:open_rtmp",
    "udp": "edgepose.io.outputs.stream:open_transport_stream",
    "srt": "edgepose.io.outputs.stream:open_transport_stream",
    "hls": "edgepose.io.outputs.stream:open_hls",
    "rtsp": "edgepose.io.outputs.rtsp:open_rtsp",
    "http": "edgepose.io.outputs.mjpeg:open_mjpeg",
    "https": "edgepose.io.outputs.mjpeg:open_mjpeg",
    "mjpeg": "edgepose.io.outputs.mjpeg:open_mjpeg",
    "webrtc": "edgepose.io.outputs.webrtc:open_webrtc",
}


def open_output(uri: str, options: OutputOptions | None = None) -> Output:
    """Open an output for pictures by path or URI.

    Raises:
        UsageError: the name, its scheme or an option cannot be meant.
        OutputError: it cannot be written.
    """
    parsed = parse(uri)
    opener: Callable[[Uri, OutputOptions], Output] = load(SCHEMES, parsed.scheme, "output scheme")
    return opener(parsed, options or OutputOptions())


def default_output(options: OutputOptions | None = None, headless: bool = False) -> Output | None:
    """The window that opens where no output is named; None without a display or a window library."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if headless or not display or "display" not in SCHEMES:
        return None
    try:
        return open_output("display://0", options)
    except EdgeposeError:
        return None
