"""Encoded streams that are sent somewhere: `rtp://host:port`, `rtmp://`, `rtsp://host/path` (push),
`udp://`, `srt://`, and `hls://folder`, which is written for a web server."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import av

from edgepose.errors import EdgeposeError, OutputError, UsageError
from edgepose.io import jetson_utils
from edgepose.io.base import Output, OutputOptions
from edgepose.io.ffmpeg import network_url
from edgepose.io.outputs.jetson import open_jetson
from edgepose.io.outputs.live_encoder import LiveEncoder, Pacer
from edgepose.io.targets import check_folder
from edgepose.io.uri import Uri
from edgepose.types import Frame

WRITE_SECONDS = 5.0
CHILD_SECONDS = 1.0


class StreamOutput(Output):
    """A muxer of PyAV behind a live encoder, opened when the first frame comes.

    A failed write closes the stream; the next write opens it anew (the fan-out spaces the tries).

    Args:
        url: with credentials; never shown. shown: for messages. format: FFmpeg's muxer.
        muxer: options of the muxer. folder: made when the stream opens (HLS).
    """

    drops = True

    def __init__(
        self,
        url: str,
        shown: str,
        format: str,
        options: OutputOptions,
        muxer: dict[str, str] | None = None,
        folder: str = "",
    ) -> None:
        self._url, self._shown, self._format = url, shown, format
        self._options, self._muxer, self._folder = options, muxer or {}, folder
        LiveEncoder(options, shown)  # an unknown codec is an error now, not at the first frame
        self._container: Any = None
        self._start: float | None = None
        self._pacer = Pacer()

    def write(self, frame: Frame) -> None:
        """Encode and send one frame.

        Raises:
            OutputError: it cannot be sent.
        """

        seconds = self._pacer.at(frame)
        try:
            if self._container is None:
                self._open(frame)
            for packet in self._encoder.encode(frame, seconds - self._offset(seconds)):
                packet.stream = self._stream
                self._container.mux_one(packet)
        except (av.FFmpegError, OSError, ValueError) as e:
            self._drop()
            if isinstance(e, EdgeposeError):
                raise
            raise OutputError(self._why(e)) from None

    def _offset(self, seconds: float) -> float:
        """Each connection counts from 0: receivers refuse streams that start at hours."""
        if self._start is None:
            self._start = seconds
        return self._start

    def _connect(self) -> Any:
        """The container to mux into."""

        return av.open(self._url, "w", format=self._format, options=self._muxer)

    def _open(self, frame: Frame) -> None:
        if self._folder:
            check_folder(self._folder, create=True)
        self._start = None
        self._encoder = LiveEncoder(self._options, self._shown)
        container = self._connect()

        def make(encoder: str) -> Any:
            self._stream = container.add_stream(encoder)
            return self._stream.codec_context

        try:
            self._encoder.start(frame.width, frame.height, make)
        except BaseException:
            container.close()
            raise
        self._container = container

    def _drop(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            try:
                container.close()
            except (av.FFmpegError, OSError, ValueError):
                return

    def _why(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return f"{self._shown} cannot be sent to ({reason}). Check that it listens there."

    def close(self) -> None:
        """Send the rest and the trailer."""
        self._drop()


class PushOutput(StreamOutput):
    """Publishes to a server through a child process, so that connecting holds nobody up.

    PyAV keeps Python's lock while it opens an output; a server that does not answer would stop the
    whole program. The child (`push_child.py`) gets the address on its stdin: `ps` shows no password.
    """

    _child: subprocess.Popen[bytes] | None = None

    def _connect(self) -> Any:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "edgepose.io.outputs.push_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        order = {"url": self._url, "format": self._format, "options": self._muxer}
        assert self._child.stdin is not None
        pipe = _BoundedPipe(self._child.stdin.fileno())
        pipe.write(json.dumps(order).encode() + b"\n")
        return av.open(pipe, "w", format="nut", options={"flush_packets": "1"})

    def _drop(self) -> None:
        super()._drop()
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.close()
        except OSError:
            child.kill()
        try:
            child.wait(CHILD_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._last_words = child.stdout.read().decode(errors="replace")
        child.stdout.close()

    _last_words = ""

    @property
    def ready(self) -> bool:
        """The server has taken the stream."""
        child = self._child
        if child is None or child.stdout is None or self._said_ok is child:
            return child is not None
        if select.select([child.stdout], [], [], 0)[0] and child.stdout.readline() == b"ok\n":
            self._said_ok = child
        return self._said_ok is child

    _said_ok: object = None

    def _why(self, error: Exception) -> str:
        reason = self._last_words.rpartition("error ")[2].strip() or "no answer"
        return f"{self._shown} cannot be sent to ({reason}). Check that it listens there."


class _BoundedPipe:
    """A pipe's writing end that gives up when its reader takes nothing for some seconds."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def write(self, data: bytes) -> int:
        """Write everything.

        Raises:
            OSError: the reader is gone or stuck.
        """
        rest = memoryview(data)
        while rest:
            _, ready, _ = select.select([], [self._descriptor], [], WRITE_SECONDS)
            if not ready:
                raise TimeoutError("the reader takes nothing")
            rest = rest[os.write(self._descriptor, rest[:65536]) :]
        return len(data)


def open_rtp(uri: Uri, options: OutputOptions) -> Output:
    """Send RTP to `rtp://host:port` (unicast or multicast).

    Raises:
        UsageError: host or port is missing.
    """
    _needs_host_and_port(uri, "rtp://192.168.1.20:5004")
    utils = jetson_utils.insisted()
    if utils is not None:
        return open_jetson(utils, uri, options)
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    # the size of packets is taken from the address only
    url = f"rtp://{host}:{uri.port}?pkt_size=1200"
    return StreamOutput(url, uri.display, "rtp", options)


def open_rtmp(uri: Uri, options: OutputOptions) -> Output:
    """Publish to an RTMP server (H.264).

    Raises:
        UsageError: a codec that FLV cannot hold.
    """
    if options.codec.lower() not in ("h264", "h265", "hevc"):
        raise UsageError(f"{uri.display}: RTMP carries h264 or h265, not {options.codec}.")
    return PushOutput(network_url(uri), uri.display, "flv", options)


def open_transport_stream(uri: Uri, options: OutputOptions) -> Output:
    """Send MPEG-TS over `udp://host:port` or `srt://host:port`."""
    _needs_host_and_port(uri, f"{uri.scheme}://192.168.1.20:1234")
    kind = PushOutput if uri.scheme == "srt" else StreamOutput
    return kind(network_url(uri), uri.display, "mpegts", options)


def push_rtsp(uri: Uri, options: OutputOptions) -> Output:
    """Publish to an RTSP server that records (ANNOUNCE), over TCP."""
    return PushOutput(network_url(uri), uri.display, "rtsp", options, {"rtsp_transport": "tcp"})


def open_hls(uri: Uri, options: OutputOptions) -> Output:
    """Write an HLS playlist `index.m3u8` with segments of a second into a folder.

    Raises:
        UsageError: no folder, or a codec that HLS players do not know. OutputError: not writable.
    """
    folder = f"{uri.host}{uri.path}"
    if not folder:
        raise UsageError("hls:// names no folder. Example: hls://live or hls:///var/www/live")
    if options.codec.lower() not in ("h264", "h265", "hevc"):
        raise UsageError(f"{uri.display}: HLS carries h264 or h265, not {options.codec}.")
    folder = os.path.expanduser(folder)
    check_folder(folder, create=True)
    h265 = options.codec.lower() != "h264"
    muxer = {
        "hls_time": "1",
        "hls_list_size": "6",
        "hls_flags": "delete_segments+independent_segments+temp_file",
        "hls_segment_type": "fmp4" if h265 else "mpegts",
        "hls_segment_filename": os.path.join(folder, "%05d.m4s" if h265 else "%05d.ts"),
    }
    return StreamOutput(
        str(Path(folder) / "index.m3u8"), uri.display, "hls", options, muxer, folder
    )


def _needs_host_and_port(uri: Uri, example: str) -> None:
    if not uri.host or not uri.port:
        raise UsageError(f"{uri.display} names no host and port to send to. Example: {example}")
