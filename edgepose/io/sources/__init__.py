"""Inputs: one file a scheme, chosen from one table."""

from __future__ import annotations

from collections.abc import Callable

from edgepose.io.base import Source, SourceOptions, load
from edgepose.io.uri import Uri, parse

# scheme -> "module:function" of an opener (Uri, SourceOptions) -> Source; a module is imported only
# when its scheme is used
SCHEMES: dict[str, str] = {
    "file": "edgepose.io.sources.file:open_file",
    "test": "edgepose.io.sources.testsrc:open_test",
    "rtsp": "edgepose.io.sources.rtsp:open_rtsp",
    "rtsps": "edgepose.io.sources.rtsp:open_rtsp",
    "v4l2": "edgepose.io.sources.v4l2:open_v4l2",
    "csi": "edgepose.io.sources.csi:open_csi",
    "http": "edgepose.io.sources.http:open_http",
    "https": "edgepose.io.sources.http:open_http",
    "rtp": "edgepose.io.sources.rtp:open_rtp",
    "udp": "edgepose.io.sources.rtp:open_stream",
    "tcp": "edgepose.io.sources.rtp:open_stream",
    "srt": "edgepose.io.sources.rtp:open_stream",
    "rtmp": "edgepose.io.sources.rtp:open_stream",
    "webrtc": "edgepose.io.sources.webrtc:open_webrtc",
    "stdin": "edgepose.io.sources.stdin:open_stdin",
}


def open_source(uri: str, options: SourceOptions | None = None) -> Source:
    """Open an input by path or URI.

    Raises:
        UsageError: the name, its scheme or an option cannot be meant.
        SourceError: the input cannot be opened.
    """
    parsed = parse(uri)
    opener: Callable[[Uri, SourceOptions], Source] = load(SCHEMES, parsed.scheme, "input scheme")
    return opener(parsed, options or SourceOptions())
