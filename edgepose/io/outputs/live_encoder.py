"""A video encoder for live streams: no delay, a key frame every second, time by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import av

from edgepose.io.base import OutputOptions
from edgepose.io.outputs.formats import CLOCK, Setting, codec_name, encoders
from edgepose.types import Frame

DEFAULT_RATE = 30.0


class Pacer:
    """When a frame belongs on the stream, in seconds: live frames at their arrival, films at their
    own pace (it sleeps until a film's frame is due)."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._first_pts = 0.0

    def at(self, frame: Frame) -> float:
        """Seconds since the first frame."""
        now = time.monotonic()
        if self._start is None:
            self._start = frame.captured or now
            self._first_pts = frame.pts or 0.0
        if frame.captured is not None or frame.pts is None:
            return (frame.captured or now) - self._start
        due = frame.pts - self._first_pts
        time.sleep(min(1.0, max(0.0, self._start + due - now)))
        return due


class LiveEncoder:
    """Encodes frames of one stream; the size is that of the first (or of the options), made even.

    Args:
        options: codec, encoder, bitrate, rate, width, height. name: of the output, for messages.

    Raises:
        UnknownNameError: no such codec or encoder.
    """

    def __init__(self, options: OutputOptions, name: str) -> None:
        self.codec = codec_name(options.codec)
        self._options, self._name = options, name
        self._candidates = encoders(self.codec, options.encoder, live=True)
        self._setting: Setting
        self._context: Any = None
        self._last_tick = -1
        self._period = -1

    def encode(self, frame: Frame, seconds: float, key: bool = False) -> list[Any]:
        """Packets of a frame (often one, none where the rate skips it); pts in 1/90000 s.

        Raises:
            OutputError: no encoder works.
        """
        if self._skipped(seconds):
            return []
        if self._context is None:
            self.start(frame.width, frame.height)
        picture = self._setting.picture(frame.pixels)
        self._last_tick = max(self._last_tick + 1, round(seconds * CLOCK))
        picture.pts, picture.time_base = self._last_tick, self._setting.time_base
        if key:
            picture.pict_type = av.video.frame.PictureType.I
        return list(self._context.encode(picture))

    def _skipped(self, seconds: float) -> bool:
        if not self._options.rate:
            return False
        period = int(seconds * self._options.rate + 1e-6)
        same = period == self._period
        self._period = period
        return same

    def start(self, width: int, height: int, make: Callable[[str], Any] | None = None) -> None:
        """Choose the first encoder that opens for this size, and set up a context for it.

        Args:
            make: makes the context from the encoder's name (a stream of a container); default is
                one on its own.

        Raises:
            OutputError: none opens.
        """
        options = self._options
        rate = options.rate or options.input_rate or DEFAULT_RATE
        size = (options.width or width, options.height or height)
        self._setting = Setting(size, rate, options.bitrate, live=True)
        encoder = self._setting.choose(self._candidates, self._name)
        if make is None:
            self._context = self._setting.context(encoder)
        else:
            self._context = make(encoder.name)
            self._setting.apply(self._context, encoder)
