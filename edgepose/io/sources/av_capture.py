"""A capture through PyAV: whatever FFmpeg opens, with its errors told apart.

On a live address the end of the data is a loss: FFmpeg reports a server that died exactly like a
file that is over. Time-outs are set twice, FFmpeg's own for a socket and PyAV's for the call, and
each takes about twice its value to strike, so both get half of what was asked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from edgepose.errors import EdgeposeError, SourceDenied, SourceError, SourceLost, SourceTimeout
from edgepose.io.base import SourceOptions
from edgepose.io.ffmpeg import Converter, bare_pictures, first_video, open_container, rest
from edgepose.io.pixels import Transform
from edgepose.io.sources.capture import Captured
from edgepose.io.sources.orientation import whole_flip

if TYPE_CHECKING:
    from av import Packet, VideoFrame


PIPE_HINT = (
    " An MP4 can be read from a pipe only if its index stands first: ffmpeg ... -movflags +faststart; "
    "or send MPEG-TS: -f mpegts."
)
MAX_BROKEN_PACKETS = 300
# FFmpeg gives one tile of such a picture
HEIF_BRANDS = ("heic", "heix", "heim", "heis", "mif1")
UNTOLD = 1.0  # seconds that a film whose bytes nobody counts may end early
MAX_RATE = 1000.0  # beyond, the number is a clock and no frame rate


@dataclass(frozen=True)
class Address:
    """What FFmpeg opens, and how.

    Attributes:
        url: with credentials; never shown. shown: for messages.
        format: FFmpeg's name of the demuxer, "" = found by probing. options: FFmpeg's options.
        file: makes a binary file object to read from instead of the url; called for each try.
        ends: the end of the data is the end of the stream, not a loss.
        paced: the data come in bursts (HLS segments): hand pictures on at their own times.
        patient: silence is no error (a pipe whose writer may pause).
        eager: convert each picture at once (its memory belongs to the driver).
        device: a device node; it is polled without blocking, so that a dead driver never holds
            the thread.
    """

    url: str
    shown: str
    format: str = ""
    options: dict[str, str] = field(default_factory=dict)
    file: Callable[[], Any] | None = None
    ends: bool = False
    paced: bool = False
    patient: bool = False
    eager: bool = False
    device: bool = False


class AvCapture:
    """Frames of the first video stream of an address; a Capture of `io.sources.live`.

    Args:
        address: what to open. options: `timeout`, `flip`, `save`, and the size are used.
        resize: apply `options.width/height` here (a camera was already asked for them).

    Raises:
        SourceLost: absent. SourceTimeout: silent. SourceError: refused, or no video.
    """

    def __init__(self, address: Address, options: SourceOptions, *, resize: bool = True) -> None:
        self._address, self._options = address, options
        self._timeout = options.timeout
        self._interrupted = False
        self.last_time: float | None = None
        self._transform = Transform(options if resize else replace(options, width=0, height=0))
        half, start = options.timeout / 2, time.monotonic()
        try:
            self._container = open_container(
                address.file() if address.file is not None else address.url,
                format=address.format or None,
                options=address.options,
                timeout=None if address.patient else (half, half),
            )
        except (av.FFmpegError, OSError, ValueError) as e:
            if isinstance(e, av.error.InvalidDataError) and time.monotonic() - start > 0.9 * half:
                e = TimeoutError()  # an RTSP server that never answers looks like bad data
            hint = PIPE_HINT if address.patient and isinstance(e, av.error.InvalidDataError) else ""
            raise explain(e, address.shown, options.timeout, hint) from None
        try:
            self._polled = address.device and _make_nonblocking(address.url)
            self._recorder = None
            self._stream = first_video(self._container)
            if self._stream is None:
                raise SourceError(f"{address.shown} holds no video. Check what it serves.")
            if self._container.metadata.get("major_brand", "") in HEIF_BRANDS:
                raise SourceError(
                    f"{address.shown} is a HEIF picture (HEIC); store it in a file and give that."
                )
            self._pictures = "" if address.device else bare_pictures(self._container, self._stream)
            self._convert = Converter(
                address.shown,
                self._stream.codec_context.sample_aspect_ratio,
                address.device,
                bool(self._pictures),
                address.eager,
            )
            self._stream.thread_type = "SLICE"  # frame threads would delay every picture
            rate = float(self._stream.guessed_rate or self._stream.average_rate or 0)
            self.rate = rate if rate <= MAX_RATE else 0.0
            if options.save:
                self._recorder = Recorder(options.save, self._stream)
        except BaseException:
            self._container.close()
            raise
        self._frames = self._decoded()
        self._pace_from: tuple[float, float] | None = None

    @property
    def kind(self) -> str:
        """FFmpeg's name of the container format."""
        return str(self._container.format.name)

    @property
    def size(self) -> int:
        """Bytes that are to come in all, 0 where nobody says (or says a number that stands for "endless")."""
        size = int(self._container.size)
        return size if size > 0 and size & (size + 1) else 0

    @property
    def seconds(self) -> float | None:
        """The length that the container states, None for endless streams."""
        duration = self._container.duration
        return duration / 1e6 if duration else None

    @property
    def missing(self) -> float:
        """Seconds that the last picture came early by what the container states; 0 where it is about right, or
        the length may be that of sound."""
        seconds, sound = self.seconds, self._container.streams.audio
        if not seconds or self.last_time is None or self._stream is None or sound:
            return 0.0
        rate = float(self._stream.average_rate or 0) or 1.0
        early = seconds - self.last_time - 1 / rate
        return early if early > max(UNTOLD, 2 / rate) else 0.0

    def read(self) -> Captured | None:
        try:
            frame = next(self._frames, None)
        except (av.FFmpegError, OSError) as e:
            if self._is_over(e):
                return None
            if self._address.patient and isinstance(e, av.error.InvalidDataError):
                raise explain(e, self._address.shown, self._timeout, PIPE_HINT) from None
            raise lost(e, self._address.shown, self._timeout) from None
        if frame is None:
            if self._address.ends or self._interrupted:
                return None
            raise SourceLost(f"{self._address.shown} ended the connection.")
        self.last_time = frame.time
        if self._address.paced and frame.time is not None:
            self._pace(frame.time)
        if self._address.eager:
            pixels = self._pixels(frame)
            return Captured(lambda: pixels)
        return Captured(lambda: self._pixels(frame))

    def _is_over(self, error: BaseException) -> bool:
        """FFmpeg takes every end for a break where a server does not state how many bytes come."""
        untold = self._address.ends and not self._address.patient and not self.size
        if not untold or getattr(error, "errno", 0) != errno.EIO or self.last_time is None:
            return False
        return self.seconds is None or self.last_time > self.seconds - UNTOLD

    def _pace(self, pts: float) -> None:
        """Sleep until a picture's time has come; a jump of the times starts the clock anew."""
        now = time.monotonic()
        start, first = self._pace_from or (now, pts)
        due = start + pts - first
        if not -10 < due - now < 10:
            start, first, due = now, pts, now
        self._pace_from = (start, first)
        while not self._interrupted and (rest := due - time.monotonic()) > 0:
            time.sleep(min(rest, 0.1))

    def _pixels(self, frame: VideoFrame) -> Any:
        if self._transform.idle:
            return self._convert.planar(frame)
        return self._transform(self._convert(frame))

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames; where every one counts, also those that the decoder holds when the transfer breaks."""
        try:
            yield from self._of_packets()
        except (av.FFmpegError, OSError):
            if self._address.ends and not self._interrupted and self._stream is not None:
                with suppress(av.FFmpegError, OSError):
                    yield from rest(self._stream)
            raise

    def _of_packets(self) -> Iterator[VideoFrame]:
        """Frames; packets that do not decode are skipped unless nothing decodes any more."""

        broken, last = 0, time.monotonic()
        for packet in self._packets():
            if self._recorder is not None:
                self._recorder.write(packet)
            if self._pictures:
                packet.opaque = whole_flip(bytes(packet), self._pictures)
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                frames, broken = [], broken + 1
            if frames:
                broken, last = 0, time.monotonic()
                yield from frames
            elif broken > MAX_BROKEN_PACKETS or self._too_long(last):
                raise SourceTimeout(
                    f"{self._address.shown} sends data, but no picture came out of it for "
                    f"{time.monotonic() - last:.0f} s. Check its codec."
                )

    def _too_long(self, last: float) -> bool:
        return not self._address.patient and time.monotonic() - last > self._timeout

    def _packets(self) -> Iterator[Packet[Any]]:
        if not self._polled:
            yield from self._container.demux(self._stream)
            return
        pause, last = 0.002, time.monotonic()
        while not self._interrupted:
            try:
                yield next(self._container.demux(self._stream))
                last = time.monotonic()
            except BlockingIOError:
                if time.monotonic() - last > self._timeout:
                    raise silent(self._address.shown, self._timeout) from None
                time.sleep(pause)

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._interrupted = True
        self._frames.close()  # type: ignore[attr-defined]
        if self._recorder is not None:
            self._recorder.close()
        self._container.close()


def _make_nonblocking(path: str) -> bool:
    """Reads of our own descriptors of a device return at once; False where none was found.

    FFmpeg opens devices blocking and has no option against it.
    """
    device = os.stat(path).st_rdev
    found = False
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == device:
                flags = fcntl.fcntl(int(name), fcntl.F_GETFL)
                fcntl.fcntl(int(name), fcntl.F_SETFL, flags | os.O_NONBLOCK)
                found = True
        except OSError:
            continue
    return found


class Recorder:
    """Stores the compressed packets of a stream in a file, from the first key frame on.

    A file that exists gets a number (`clip-1.mp4`), so that a reconnection keeps what was stored.

    Raises:
        SourceError: the file cannot be written.
    """

    def __init__(self, path: str, stream: Any) -> None:
        self.path = free_name(path)
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        fragmented = self.path.endswith((".mp4", ".mov", ".m4v"))
        try:
            self._container = av.open(self.path, "w", options=options if fragmented else {})
            self._stream = self._container.add_stream_from_template(stream)
        except (av.FFmpegError, OSError, ValueError) as e:
            raise SourceError(
                f"--input-save {self.path}: {_reason(e)}. Take another name, or a container that "
                "holds this codec (.mkv holds all)."
            ) from None
        self._started, self._first, self._last = False, 0, -1

    def write(self, packet: Any) -> None:
        """Store a packet; those without time stamps and before the first key frame are skipped."""
        if packet.size == 0 or packet.dts is None or not (self._started or packet.is_keyframe):
            return
        if not self._started:
            self._started, self._first = True, packet.dts
        copy = _copy_of(packet)
        copy.dts = max(self._last + 1, packet.dts - self._first)
        copy.pts = max(copy.dts, (packet.pts or packet.dts) - self._first)
        self._last = copy.dts
        copy.stream = self._stream
        self._container.mux_one(copy)

    def close(self) -> None:
        self._container.close()


def _copy_of(packet: Any) -> Any:
    """A packet of its own: the original is decoded after this one was written."""

    copy: Any = av.Packet(bytes(packet))
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    return copy


def free_name(path: str) -> str:
    """The path, or with `-1`, `-2`... before its suffix where it is taken."""
    given, number = Path(path), 0
    name = given
    while name.exists():
        number += 1
        name = given.with_name(f"{given.stem}-{number}{given.suffix}")
    return str(name)


# -- errors ------------------------------------------------------------------------------------------
def silent(shown: str, seconds: float) -> SourceTimeout:
    """Nothing came in time."""
    return SourceTimeout(
        f"{shown}: nothing arrived for {seconds:g} s. Check the source, or allow more with "
        "--timeout."
    )


def explain(error: BaseException, shown: str, seconds: float, hint: str = "") -> EdgeposeError:
    """What an error on opening means: absent and silent sources may be waited for, others not."""

    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return SourceDenied(
            f"{shown}: wrong or missing user name or password. Give them as "
            "scheme://user:password@host/path."
        )
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceLost(f"{shown}: the server has no such path (404). Check the path.")
    if isinstance(error, (av.error.ExitError, TimeoutError)):
        return SourceTimeout(
            f"{shown}: no answer within {seconds:g} s. Check host and port, or allow more with "
            "--timeout."
        )
    if isinstance(error, ConnectionRefusedError):
        return SourceLost(
            f"{shown}: nothing listens there (connection refused). Check host and port."
        )
    if isinstance(error, av.error.ProtocolNotFoundError):
        return SourceError(f"{shown}: the video library does not know this protocol.")
    if isinstance(error, (av.error.InvalidDataError, av.error.DemuxerNotFoundError)):
        return SourceError(f"{shown} is not a video that can be read ({_reason(error)}).{hint}")
    if isinstance(error, OSError):
        return lost(error, shown, seconds)
    return SourceError(f"{shown} cannot be opened: {_reason(error)}.")


def lost(error: BaseException, shown: str, seconds: float) -> EdgeposeError:
    """What an error in mid-stream means: silence, or a loss."""

    if isinstance(error, EdgeposeError):
        return error
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return explain(error, shown, seconds)
    if isinstance(error, (av.error.ExitError, TimeoutError)):
        return silent(shown, seconds)
    gone = SourceLost(f"{shown}: {_reason(error)}.")
    gone.errno = getattr(error, "errno", None)
    return gone


def _reason(error: BaseException) -> str:
    """The operating system's or FFmpeg's words, without addresses (they may hold passwords)."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or type(error).__name__)
