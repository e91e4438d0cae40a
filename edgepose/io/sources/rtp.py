"""`rtp://@:5004`: RTP over UDP, unicast or multicast; also `udp://`, `srt://`, `rtmp://`, `tcp://`.

RTP says nothing about itself, so `--input-codec` names the codec and the session description (SDP,
RFC 4566) is made here.
"""

from __future__ import annotations

import io
import ipaddress

from edgepose.errors import UnknownNameError, UsageError
from edgepose.io import jetson_utils
from edgepose.io.base import Source, SourceOptions
from edgepose.io.ffmpeg import network_url
from edgepose.io.sources.av_capture import Address, AvCapture
from edgepose.io.sources.jetson import open_jetson
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri

# codec -> (payload type, encoding name), RFC 3551 and the codecs' own payload formats
PAYLOADS = {
    "h264": (96, "H264"),
    "h265": (96, "H265"),
    "vp8": (96, "VP8"),
    "vp9": (96, "VP9"),
    "mjpeg": (26, "JPEG"),
    "mpeg2": (32, "MPV"),
}


def description(uri: Uri, codec: str) -> str:
    """The SDP of an RTP address; `?pt=97` gives another payload type.

    Raises:
        UnknownNameError: the codec. UsageError: no port, or a host that is no address.
    """
    codec = codec.lower() or "h264"
    if codec not in PAYLOADS:
        raise UnknownNameError("RTP codec (--input-codec)", codec, PAYLOADS)
    if not uri.port:
        raise UsageError(f"{uri.display} names no port. Example: rtp://@:5004")
    payload, name = PAYLOADS[codec]
    payload = int(uri.get("pt") or payload)
    try:
        host = ipaddress.ip_address(uri.host or "0.0.0.0")
    except ValueError:
        raise UsageError(
            f"{uri.display}: {uri.host!r} is no IP address. Use rtp://@:{uri.port} to receive on "
            "all addresses, or a multicast group."
        ) from None
    scope = "/32" if host.is_multicast and host.version == 4 else ""
    lines = [
        "v=0",
        f"o=- 0 0 IN IP{host.version} {host}",
        "s=edgepose",
        f"c=IN IP{host.version} {host}{scope}",
        "t=0 0",
        f"m=video {uri.port} RTP/AVP {payload}",
        f"a=rtpmap:{payload} {name}/90000",
    ]
    return "\r\n".join(lines) + "\r\n"


def open_rtp(uri: Uri, options: SourceOptions) -> Source:
    """Receive RTP, supervised; the newest frame wins."""
    sdp = description(uri, options.codec).encode()
    utils = jetson_utils.wanted()
    if utils is not None:
        return open_jetson(utils, uri, options)
    ffmpeg = {
        "protocol_whitelist": "rtp,udp,file,pipe,data",
        "max_delay": str(options.latency * 1000),
        "fpsprobesize": "1",
    }
    where = Address(uri.text, uri.display, "sdp", ffmpeg, file=lambda: io.BytesIO(sdp))
    return LiveSource(lambda: AvCapture(where, options), options, uri=uri.display, name=_title(uri))


def open_stream(uri: Uri, options: SourceOptions) -> Source:
    """Any other address that FFmpeg receives from: MPEG-TS over UDP, SRT, RTMP."""
    microseconds = str(round(options.timeout / 2 * 1e6))
    ffmpeg = {"fpsprobesize": "1", "analyzeduration": "1000000"}
    if uri.scheme in ("udp", "tcp"):
        ffmpeg["timeout"] = microseconds
    where = Address(network_url(uri), uri.display, options=ffmpeg)
    return LiveSource(lambda: AvCapture(where, options), options, uri=uri.display, name=_title(uri))


def _title(uri: Uri) -> str:
    """`{name}`: the path, else scheme and port (many streams share a host)."""
    return uri.name if uri.path.strip("/") else f"{uri.scheme}-{uri.port}"
