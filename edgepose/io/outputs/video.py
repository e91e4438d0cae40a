"""Films into files, encoded by PyAV.

A film is written so that it can be played at any moment: MP4 and MOV as fragments (turned into an
ordinary file at the end), Matroska and WebM in short clusters. A killed program loses about the last
second, a full disk the part that did not fit.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from edgepose.errors import (
    BackendUnavailable,
    EdgeposeError,
    OutputError,
    UnknownNameError,
    UsageError,
)
from edgepose.io.base import Closing, OutputOptions
from edgepose.io.outputs.sound import Sound
from edgepose.io.pixels import letterbox, pad, size_for
from edgepose.io.targets import refuse_input
from edgepose.types import Frame

log = logging.getLogger(__name__)

STILLS_RATE = 30.0
MAX_RATE = 1000.0
# without negative offsets, a fragmented film starts late by the encoder's reordering, its sound not
_FRAGMENTS = {"movflags": "+hybrid_fragmented+negative_cts_offsets", "frag_duration": "500000"}
_CLUSTERS = {"cluster_time_limit": "500"}


@dataclass(frozen=True)
class Container:
    """A file format: FFmpeg's name, the codecs it holds (the first is its own), muxer options.

    `constant`: it stores no times, so frames lie at whole multiples of 1 / rate.
    """

    format: str
    codecs: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    constant: bool = False
    sound: bool = True


_MP4 = Container("mp4", ("h264", "h265", "vp9", "mjpeg"), _FRAGMENTS)
_MOV = Container("mov", ("h264", "h265", "vp8", "vp9", "mjpeg"), _FRAGMENTS)
_H264 = Container("h264", ("h264",), constant=True, sound=False)
_H265 = Container("hevc", ("h265",), constant=True, sound=False)

CONTAINERS: dict[str, Container] = {
    "mp4": _MP4,
    "m4v": _MP4,
    "mov": _MOV,
    "qt": _MOV,
    "mkv": Container("matroska", ("h264", "h265", "vp8", "vp9", "mjpeg"), _CLUSTERS),
    "webm": Container("webm", ("vp9", "vp8"), _CLUSTERS),
    "avi": Container("avi", ("h264", "mjpeg", "vp8"), constant=True),
    "flv": Container("flv", ("h264", "h265")),
    "ts": Container("mpegts", ("h264", "h265")),
    "h264": _H264,
    "264": _H264,
    "h265": _H265,
    "265": _H265,
    "hevc": _H265,
}


@dataclass(frozen=True)
class Encoder:
    """An FFmpeg encoder and how it is set: always, and for quality or a bit rate.

    `needs_bitrate`: it has no useful quality mode, so a bit rate is made up from the size.
    """

    name: str
    kind: str = "cpu"
    options: Mapping[str, str] = field(default_factory=dict)
    quality: Mapping[str, str] = field(default_factory=dict)
    needs_bitrate: bool = False


_X265 = {"preset": "veryfast", "x265-params": "log-level=none"}
_VPX = {"deadline": "realtime", "cpu-used": "8"}
_NVENC = {"preset": "p4"}
ENCODERS: dict[str, tuple[Encoder, ...]] = {
    "h264": (
        Encoder("libx264", "cpu", {"preset": "veryfast"}, {"crf": "23"}),
        Encoder("h264_nvenc", "nvenc", _NVENC, {"rc": "vbr", "cq": "23"}),
        Encoder("h264_v4l2m2m", "v4l2", needs_bitrate=True),
        Encoder("libopenh264", "cpu", needs_bitrate=True),
    ),
    "h265": (
        Encoder("libx265", "cpu", _X265, {"crf": "26"}),
        Encoder("hevc_nvenc", "nvenc", _NVENC, {"rc": "vbr", "cq": "26"}),
        Encoder("hevc_v4l2m2m", "v4l2", needs_bitrate=True),
    ),
    "vp8": (Encoder("libvpx", "cpu", _VPX, {"crf": "10"}, needs_bitrate=True),),
    "vp9": (Encoder("libvpx-vp9", "cpu", {**_VPX, "row-mt": "1"}, {"crf": "33"}),),
    "mjpeg": (Encoder("mjpeg", "cpu", {}, {"qmin": "3", "qmax": "3"}),),
}


def codec_for(extension: str, asked: str) -> str:
    """The codec for a file: what was asked, where h264 (the default) gives way to the file's own.

    Raises:
        UnknownNameError: no such codec. UsageError: the file cannot hold it.
    """
    asked = {"hevc": "h265", "avc": "h264"}.get(asked.lower(), asked.lower() or "h264")
    if asked not in ENCODERS:
        raise UnknownNameError("output codec", asked, ENCODERS)
    holds = CONTAINERS[extension].codecs
    if asked in holds:
        return asked
    if asked == "h264":
        return holds[0]
    raise UsageError(
        f"A .{extension} file cannot hold {asked}, only {', '.join(holds)}. "
        ".mkv holds them all; or choose another --output-codec."
    )


class VideoOutput(Closing):
    """A film file.

    Size and shape are those of the first frame (or `options.width/height`), padded to even numbers
    by repeating the last row or column; frames of another size are scaled to fit and centred on
    black. Times are the frames' own; pictures without times follow each other at `options.rate`,
    else 30 a second. The file is made when the first frame comes.

    Args:
        path: the file. extension: a key of `CONTAINERS`. options: see `OutputOptions`.

    Raises:
        UsageError: codec, encoder, size or rate cannot be meant.
    """

    def __init__(self, path: str, extension: str, options: OutputOptions) -> None:
        self._path = path
        self._kind = CONTAINERS[extension]
        self._codec = codec_for(extension, options.codec)
        self._encoders = _encoders(self._codec, options.encoder)
        if not 0 <= options.rate <= MAX_RATE or options.bitrate < 0:
            raise UsageError(
                f"{path}: rate {options.rate:g} and bit rate {options.bitrate} cannot be meant; "
                f"the rate lies between 0 (the input's) and {MAX_RATE:g} frames a second."
            )
        self._options = options
        self._lock = threading.Lock()
        self._film: _Film | None = None
        self._first: Frame | None = None
        self._closed = False

    def write(self, frame: Frame) -> None:
        """Write one frame.

        Raises:
            OutputError: it cannot be written; the film so far stays valid.
            UsageError: the file is the frame's own source.
        """
        with self._lock:
            if self._closed:
                raise OutputError(f"{self._path} is closed; no more frames can be written.")
            if self._film is None and not self._may_start(frame):
                return
            self._guarded(lambda film: film.write(frame))

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutputError: its last part cannot be written; the film so far stays valid.
        """
        with self._lock:
            if self._closed:
                return
            if self._film is None and self._first is not None:
                self._start(self._first, STILLS_RATE)
            self._closed = True
            if self._film is not None:
                self._guarded(lambda film: film.close())

    def _may_start(self, frame: Frame) -> bool:
        """Start the film; False while only the next frame can tell the rate."""
        rate = self._options.rate or self._options.input_rate
        if not rate and frame.pts is not None:
            first = self._first
            if first is None:
                refuse_input(self._path, (frame.source,))
                self._first = Frame(np.array(frame.pixels), frame.index, frame.pts, frame.source)
                return False
            gap = frame.pts - (first.pts or 0.0)
            rate = 1 / gap if gap > 1 / MAX_RATE else STILLS_RATE
        self._start(self._first or frame, min(rate or STILLS_RATE, MAX_RATE))
        return True

    def _start(self, first: Frame, rate: float) -> None:
        refuse_input(self._path, (first.source,))
        held, self._first = self._first, None
        try:
            self._film = _Film(self._path, self._kind, self._encoders, self._options, first, rate)
        except EdgeposeError:
            self._closed = True
            raise
        except (OSError, ValueError) as e:
            self._closed = True
            why = getattr(e, "strerror", None) or e
            raise OutputError(f"{self._path} cannot be written: {why}.") from None
        if held is not None:
            self._guarded(lambda film: film.write(held))

    def _guarded(self, work: Any) -> None:
        """Do something with the film; where that fails, keep what is whole of the file."""
        import av

        film = self._film
        assert film is not None
        try:
            work(film)
        except (av.FFmpegError, OSError, ValueError) as e:
            self._closed = True
            film.abandon()
            if self._kind.format in ("mp4", "mov"):
                cut_to_whole_boxes(self._path)
            why = getattr(e, "strerror", None) or e
            raise OutputError(
                f"{self._path} cannot be written further: {why}. The film up to here is kept."
            ) from None


class _Film:
    """An open container with its encoder."""

    def __init__(
        self,
        path: str,
        kind: Container,
        encoders: tuple[Encoder, ...],
        options: OutputOptions,
        first: Frame,
        rate: float,
    ) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        asked = size_for(first.width, first.height, (options.width, options.height))
        self._size = asked
        self._padded = (asked[0] + asked[0] % 2, asked[1] + asked[1] % 2)
        self._asked_rate = options.rate
        self._clock = _Clock(rate)
        base = Fraction(rate).limit_denominator(1001)
        setup = _Setup(encoders, self._padded, base, kind, options.bitrate)
        encoder = setup.choose(path)
        self._container: Any = av.open(
            f"file:{path}", "w", format=kind.format, options={**kind.options, "flush_packets": "1"}
        )
        try:
            self._stream: Any = self._container.add_stream(encoder.name, rate=base)
            setup.apply(self._stream.codec_context, encoder)
            self._sound = Sound.open(options.audio, self._container, first) if kind.sound else None
            self._container.start_encoding()
        except BaseException:
            self.abandon()
            if os.path.isfile(path):
                os.unlink(path)
            raise
        self._time_base = setup.time_base
        self._reformatter = VideoReformatter()
        self._last = -1

    def write(self, frame: Frame) -> None:
        """Encode one frame."""
        seconds = self._clock.at(frame.pts)
        tick = self._tick(seconds)
        if tick is None:
            return
        picture = self._picture(frame.pixels)
        picture.pts, picture.time_base = tick, self._time_base
        if self._sound is not None:
            self._sound.up_to(seconds)
        self._container.mux(self._stream.encode(picture))

    def _tick(self, seconds: float) -> int | None:
        """Time in units of the time base, after the last one; None where the rate skips the frame."""
        if self._asked_rate and not self._clock.is_new_period(seconds, self._asked_rate):
            return None
        self._last = max(self._last + 1, round(seconds / self._time_base))
        return self._last

    def _picture(self, pixels: Any) -> Any:
        import av
        from av.video.reformatter import ColorRange, Colorspace

        fitted = pad(letterbox(pixels, self._size), self._padded)
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(fitted), format="rgb24")
        full = self._stream.codec_context.name == "mjpeg"
        hd = _is_hd(self._padded)
        return self._reformatter.reformat(
            rgb,
            format="yuvj420p" if full else "yuv420p",
            dst_colorspace=Colorspace.ITU709 if hd and not full else Colorspace.ITU601,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        )

    def close(self) -> None:
        """Write what the encoder still holds, the rest of the sound and the trailer."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.up_to(self._clock.end)
            self._sound.close()
        self._container.close()

    def abandon(self) -> None:
        """Let go of the file without minding errors."""
        if getattr(self, "_sound", None) is not None:
            self._sound.close()  # type: ignore[union-attr]
        try:
            self._container.close()
        except (OSError, ValueError):
            log.debug("closing after a failure failed too", exc_info=True)


class _Setup:
    """How the encoder of one film is set, and which of several works."""

    def __init__(
        self,
        encoders: tuple[Encoder, ...],
        size: tuple[int, int],
        rate: Fraction,
        kind: Container,
        bitrate: int,
    ) -> None:
        self._encoders = encoders
        self._size = size
        self._rate = rate
        self._kind = kind
        self._bitrate = bitrate
        self.time_base = 1 / rate if kind.constant else Fraction(1, 90_000)

    def choose(self, path: str) -> Encoder:
        """The first encoder that opens.

        Raises:
            BackendUnavailable: none does.
        """
        import av

        reasons = []
        for encoder in self._encoders:
            try:
                context = av.CodecContext.create(encoder.name, "w")
                self.apply(context, encoder)
                context.open()
                return encoder
            except (av.FFmpegError, OSError, ValueError) as e:
                reasons.append(f"{encoder.name} ({getattr(e, 'strerror', None) or e})")
        width, height = self._size
        raise BackendUnavailable(
            f"{path}: no encoder works for {width}x{height}: {'; '.join(reasons)}."
        )

    def apply(self, context: Any, encoder: Encoder) -> None:
        """Set a codec context up for an encoder."""
        context.width, context.height = self._size
        context.framerate = self._rate
        context.time_base = self.time_base
        context.gop_size = max(1, round(2 * self._rate))
        mjpeg = encoder.name == "mjpeg"
        context.pix_fmt = "yuvj420p" if mjpeg else "yuv420p"
        if not mjpeg:
            context.color_range = 1
            # the matrix that players assume where a film says nothing
            context.colorspace = 1 if _is_hd(self._size) else 6
        options = dict(encoder.options)
        if self._bitrate or encoder.needs_bitrate:
            context.bit_rate = self._bitrate or self._made_up_bitrate()
        if not self._bitrate:
            options.update(encoder.quality)
        if self._kind.format == "avi":
            options["bf"] = "0"  # AVI has no presentation times to put B-frames in order
        if self._kind.format in ("mp4", "mov") and encoder.name in ("libx265", "hevc_nvenc"):
            context.codec_tag = "hvc1"  # QuickTime plays no hev1
        context.options = options

    def _made_up_bitrate(self) -> int:
        """0.1 bit a pixel: 2.8 Mbit/s at 720p30."""
        return max(100_000, round(self._size[0] * self._size[1] * float(self._rate) * 0.1))


class _Clock:
    """Times of frames from 0 on, never backwards."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._offset: float | None = None
        self._now = -self._step
        self._period = -1

    def at(self, pts: float | None) -> float:
        """Seconds from the film's start for a frame's time; without one, a step after the last."""
        following = self._now + self._step
        if pts is None:
            self._now = following
            return self._now
        if self._offset is None or pts - self._offset < self._now:
            # the first frame, or a source that started anew
            self._offset = pts - max(0.0, following)
        self._now = pts - self._offset
        return self._now

    @property
    def end(self) -> float:
        """When the last frame has been shown."""
        return self._now + self._step

    def is_new_period(self, seconds: float, rate: float) -> bool:
        """True for the first frame of each period of a rate."""
        period = int(seconds * rate + 1e-6)
        new = period != self._period
        self._period = period
        return new


def _encoders(codec: str, asked: str) -> tuple[Encoder, ...]:
    """The encoders to try: all of a codec, those of a kind, or one by FFmpeg's name."""
    known = ENCODERS[codec]
    if asked in ("", "auto"):
        return known
    chosen = tuple(e for e in known if asked in (e.kind, e.name))
    if not chosen:
        kinds = dict.fromkeys(["auto", *(e.kind for e in known), *(e.name for e in known)])
        raise UnknownNameError(f"{codec} encoder", asked, kinds)
    return chosen


def _is_hd(size: tuple[int, int]) -> bool:
    return size[1] >= 720 or size[0] >= 1280


def cut_to_whole_boxes(path: str) -> None:
    """Cut a fragmented MP4 behind its last whole fragment (ISO 14496-12: size, kind, content)."""
    try:
        with open(path, "r+b") as file:
            end = os.fstat(file.fileno()).st_size
            at = whole = 0
            while at + 8 <= end:
                file.seek(at)
                head = file.read(16)
                length = int.from_bytes(head[:4], "big")
                if length == 1:
                    length = int.from_bytes(head[8:16], "big")
                if length < 8 or at + length > end:
                    break
                at += length
                if head[4:8] != b"moof":  # its mdat must follow
                    whole = at
            if whole:
                file.truncate(whole)
    except OSError:
        log.debug("%s cannot be cut", path, exc_info=True)
