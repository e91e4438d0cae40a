"""`-` and named pipes: encoded video, every frame: `ffmpeg ... -f mpegts - | posenet -`."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

import av

from edgepose.errors import SourceError, UnknownNameError, UsageError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.sources.av_capture import Address, AvCapture
from edgepose.io.sources.whole import WholeSource, interruptible
from edgepose.io.uri import Uri

# --input-codec -> FFmpeg's demuxer of the bare codec, where probing is not wanted
RAW_FORMATS = {"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg", "vp8": "ivf", "vp9": "ivf"}


class Pipe:
    """A readable end whose blocked read can be ended from another thread."""

    def __init__(self, descriptor: int, ours: bool = False) -> None:
        self._descriptor, self._ours = descriptor, ours
        self._wake_out, self._wake_in = os.pipe()
        self._ended = False
        self.is_dry = False  # the writer has closed its end

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        if self._ended:
            return b""
        ready, _, _ = select.select([self._descriptor, self._wake_out], [], [])
        if self._wake_out in ready:
            self._ended = True
            return b""
        data = os.read(self._descriptor, size)
        self.is_dry = not data
        return data

    def wake(self) -> None:
        """End the blocked read."""
        if self._wake_in >= 0:
            os.write(self._wake_in, b"x")

    def close(self) -> None:
        """Release the wake-up pipe and, if it is `ours`, the readable end; the standard input stays open."""
        for end in (self._wake_in, self._wake_out):
            if end >= 0:
                os.close(end)
        if self._ours and self._wake_in >= 0:
            os.close(self._descriptor)
        self._wake_in = self._wake_out = -1
        self._ended = True


class _PipeCapture(AvCapture):
    def __init__(self, pipe: Pipe, address: Address, options: SourceOptions) -> None:
        self._pipe = pipe
        try:
            super().__init__(address, options)
        except BaseException:
            pipe.close()
            raise

    def _is_over(self, error: BaseException) -> bool:
        """FFmpeg takes the boundary that ends JPEGs in parts (multipart) for damage."""
        boundary = isinstance(error, av.error.InvalidDataError) and self.kind == "mpjpeg"
        return boundary and self._pipe.is_dry and self.last_time is not None

    def interrupt(self) -> None:
        super().interrupt()
        self._pipe.wake()

    def close(self) -> None:
        super().close()
        self._pipe.close()


def open_stdin(uri: Uri, options: SourceOptions) -> Source:
    """Read encoded video from the standard input.

    Raises:
        UsageError: the standard input is a terminal. UnknownNameError: the codec.
        SourceError: what comes is not a video.
    """
    if options.codec and options.codec.lower() not in RAW_FORMATS:
        raise UnknownNameError("codec on stdin (--input-codec)", options.codec, RAW_FORMATS)
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "`-` reads encoded video from the standard input, which is a terminal. Example: "
            "ffmpeg -i camera.mp4 -f mpegts - | posenet -"
        )
    return _piped(sys.stdin.fileno, "stdin", "stdin", options)


def open_pipe(path: str, options: SourceOptions) -> Source:
    """Read encoded video from a named pipe, or from what a shell's `<(command)` names.

    Raises:
        SourceError: it cannot be read, or what comes is not a video.
    """

    def descriptor() -> int:
        try:
            return os.open(path, os.O_RDONLY)
        except OSError as e:
            raise SourceError(f"{path} cannot be read: {e.strerror}.") from None

    return _piped(descriptor, path, Path(path).stem, options)


def _piped(
    descriptor: Callable[[], int], uri: str, name: str, options: SourceOptions
) -> WholeSource:
    shown = "standard input" if uri == "stdin" else uri
    codec = RAW_FORMATS.get(options.codec.lower(), "")

    pipe = Pipe(interruptible(descriptor), ours=uri != "stdin")
    where = Address("", shown, codec, file=lambda: pipe, ends=True, patient=True)

    def opener() -> AvCapture:
        return _PipeCapture(pipe, where, options)

    first = interruptible(opener, pipe.wake)
    return WholeSource(opener, options, uri=uri, name=name, first=first, again=False)
