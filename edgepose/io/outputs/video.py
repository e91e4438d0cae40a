"""Films into files, encoded by PyAV.

A film is written so that it can be played at any moment: MP4 and MOV as fragments (turned into an
ordinary file at the end), Matroska and WebM in short clusters. A killed program loses about the last
second, a full disk the part that did not fit.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import av
import numpy as np

from edgepose.errors import (
    EdgeposeError,
    OutputError,
    UsageError,
)
from edgepose.files import refuse_input
from edgepose.io.base import Output, OutputOptions
from edgepose.io.ffmpeg import file_name
from edgepose.io.outputs.formats import CONTAINERS, Container, Encoder, Setting, codec_for, encoders
from edgepose.io.outputs.sound import Sound
from edgepose.io.pixels import size_for
from edgepose.io.targets import claim
from edgepose.types import Frame

log = logging.getLogger(__name__)

STILLS_RATE = 30.0
MAX_RATE = 1000.0


class VideoOutput(Output):
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
        self._encoders = encoders(self._codec, options.encoder)
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
        size = size_for(first.width, first.height, (options.width, options.height))
        self._asked_rate = options.rate
        self._clock = _Clock(rate)
        self._sound: Sound | None = None
        self._setting = setting = Setting(size, rate, options.bitrate, container=kind)
        encoder = setting.choose(encoders, path)
        self._claim = claim(path)
        self._container: Any = av.open(
            file_name(path), "w", format=kind.format, options={**kind.options, "flush_packets": "1"}
        )
        try:
            self._stream: Any = self._container.add_stream(encoder.name, rate=setting.rate)
            setting.apply(self._stream.codec_context, encoder)
            if kind.sound:
                self._sound = Sound.open(options.audio, self._container, first)
            self._container.start_encoding()
        except BaseException:
            self.abandon()
            if os.path.isfile(path):
                os.unlink(path)
            raise
        self._last = -1

    def write(self, frame: Frame) -> None:
        """Encode one frame."""
        seconds = self._clock.at(frame.pts)
        tick = self._tick(seconds)
        if tick is None:
            return
        picture = self._setting.picture(frame.pixels)
        picture.pts, picture.time_base = tick, self._setting.time_base
        if self._sound is not None:
            self._sound.up_to(seconds)
        self._container.mux(self._stream.encode(picture))

    def _tick(self, seconds: float) -> int | None:
        """Time in units of the time base, after the last one; None where the rate skips the frame."""
        if self._asked_rate and not self._clock.is_new_period(seconds, self._asked_rate):
            return None
        self._last = max(self._last + 1, round(seconds / self._setting.time_base))
        return self._last

    def close(self) -> None:
        """Write what the encoder still holds, the rest of the sound and the trailer."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.up_to(self._clock.end)
            self._sound.close()
        self._container.close()
        self._claim.close()

    def abandon(self) -> None:
        """Let go of the file without minding errors."""
        if self._sound is not None:
            self._sound.close()
        try:
            self._container.close()
        except (OSError, ValueError):
            log.debug("closing after a failure failed too", exc_info=True)
        self._claim.close()


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
