"""`rtsp://user:password@host:port/path`: cameras and servers, over TCP unless asked otherwise."""

from __future__ import annotations

from edgepose.errors import UnknownNameError
from edgepose.io import jetson_utils
from edgepose.io.base import Source, SourceOptions
from edgepose.io.ffmpeg import network_url
from edgepose.io.sources.av_capture import Address, AvCapture
from edgepose.io.sources.jetson import open_jetson
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri

TRANSPORTS = ("tcp", "udp", "udp_multicast", "http", "https")


def address(uri: Uri, options: SourceOptions) -> Address:
    """How FFmpeg opens the stream.

    Raises:
        UnknownNameError: the transport.
    """
    transport = options.transport.lower().replace("multicast", "udp_multicast")
    transport = transport.replace("udp_udp_", "udp_")
    if transport not in TRANSPORTS:
        raise UnknownNameError("RTSP transport", options.transport, TRANSPORTS)
    microseconds = round(options.timeout / 2 * 1e6)
    ffmpeg = {
        "rtsp_transport": transport,
        "timeout": str(microseconds),
        "allowed_media_types": "video",
        "max_delay": str(options.latency * 1000),
        "reorder_queue_size": "0" if transport == "tcp" else "64",
        # the rate is in the stream's description or its first picture: no need to watch for long;
        # "nobuffer" would throw away the very key frame that was probed
        "fpsprobesize": "1",
        "analyzeduration": "500000",
    }
    return Address(network_url(uri), uri.display, "rtsp", ffmpeg)


def open_rtsp(uri: Uri, options: SourceOptions) -> Source:
    """Open an RTSP stream, supervised; the newest frame wins."""
    where = address(uri, options)
    utils = jetson_utils.wanted()
    if utils is not None:
        return open_jetson(utils, uri, options)
    return LiveSource(lambda: AvCapture(where, options), options, uri=uri.display, name=uri.name)
