"""A film's container: how it is opened, and what it says about itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import av

from edgepose.errors import SourceError
from edgepose.io.ffmpeg import NOT_PICTURES, file_name, first_video, open_container
from edgepose.io.memory import MAX_PIXELS
from edgepose.io.sources import header

# a film that is shorter by more seconds than its container says was cut
CUT_TOLERANCE = 0.25
# containers that give the last time, not the length
_LAST_TIME = ("flv", "matroska,webm")


class Film:
    """The video stream of an open container, and what it says about itself."""

    def __init__(self, container: Any, threads: str = "AUTO") -> None:
        self.container = container
        self.stream = video_stream(container)
        self.stream.thread_type = threads
        self.by_frames = threads == "AUTO"
        start = self.stream.start_time
        self.start = float(start * self.stream.time_base) if start else 0.0

    @property
    def rate(self) -> float:
        """Frames a second, 0 where unknown."""
        # a raw stream has no times of its own: FFmpeg invents 25, its headers may know better
        untimed = self.container.duration is None
        stream, coded = self.stream, self.stream.codec_context.framerate
        rates = (coded, stream.average_rate) if untimed else (stream.average_rate, coded)
        return next((float(r) for r in (*rates, stream.guessed_rate) if r), 0.0)

    @property
    def step(self) -> float:
        """Seconds from frame to frame, 0 where unknown."""
        return 1 / self.rate if self.rate else 0.0

    def time(self, frame: Any) -> float | None:
        """The time that the film gives a frame, None where it gives none."""
        ticks = self.ticks(frame)
        return None if ticks is None else float(ticks * frame.time_base)

    def ticks(self, frame: Any) -> int | None:
        """The time that the film gives a frame or packet, in its time base; None where it gives none."""
        # AVI stores the order of decoding only; FFmpeg takes it for times
        ticks: int | None = frame.dts if self.container.format.name == "avi" else frame.pts
        return ticks

    @property
    def seconds(self) -> float | None:
        """How long the film is by its container's word, None where it says nothing."""
        tag = self.stream.metadata.get("DURATION", "")
        known = [_clock(tag)] if tag else []
        if self.stream.duration:
            known.append(float(self.stream.duration * self.stream.time_base))
        elif self.container.streams.audio and not tag:
            return None  # the container's length may be its sound's
        if self.container.duration:
            known.append(self.container.duration / 1e6)
        seconds = min(known, default=None)
        if (
            seconds is not None
            and self.container.format.name in _LAST_TIME
            and seconds > self.start
        ):
            seconds -= self.start
        return seconds

    @property
    def count(self) -> int | None:
        """Number of frames: counted by the container, else estimated from the length."""
        if self.stream.frames:
            return int(self.stream.frames)
        if self.container.format.name == "gif":
            return header.gif_frames(Path(self._path).read_bytes())[0]
        return round(self.seconds * self.rate) if self.seconds and self.rate else None

    @property
    def _path(self) -> str:
        return str(self.container.name).removeprefix("file:")

    def is_over(self, place: int) -> bool:
        """Nothing but the boundary that ends JPEGs in parts (multipart) follows a place in the file: FFmpeg
        takes it for damage."""
        if self.container.format.name != "mpjpeg":
            return False
        with open(self._path, "rb") as file:
            file.seek(place)
            return re.fullmatch(rb"\s*--[^\r\n]*\s*", file.read(header.HEAD * 4)) is not None

    def cut(self, packets: int, end: float) -> str:
        """What is missing at the end after so many packets and seconds, "" where nothing is."""
        name = self.container.format.name
        if name == "gif":
            return "it ends in the middle" if header.is_cut(Path(self._path).read_bytes()) else ""
        if name == "avi":
            # its header counts places for frames, of which some may be empty
            missing = self.stream.frames - packets
            cut = missing > 0 and header.is_cut_avi(self._path)
            return f"it ends {missing} frames early" if cut else ""
        seconds = self.seconds
        if seconds is None or not end:
            return ""
        # whether that counts from zero or from the film's start is not always to be told
        tolerance = max(CUT_TOLERANCE, 2 * self.step) + max(0.0, self.start)
        return f"it ends after {end:.1f} of {seconds:.1f} s" if seconds - end > tolerance else ""


def _clock(text: str) -> float:
    """Seconds of 00:01:02.5; infinite where it is something else."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return float("inf")


def open_film(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            jpeg = os.path.isfile(path) and header.kind(file.read(header.HEAD)) == "jpeg"
        # by its name FFmpeg might take JPEG behind JPEG for one picture
        container = open_container(file_name(path), format="mjpeg" if jpeg else None)
    except (av.FFmpegError, OSError, ValueError) as e:
        raise SourceError(_why_damaged(path, e)) from None
    try:
        if container.format.name in NOT_PICTURES:
            raise SourceError(f"{path} is not a film: it looks like text.")
        context = video_stream(container).codec_context
        if context.width * context.height > MAX_PIXELS:
            raise SourceError(f"{path} has frames of {context.width}x{context.height}: too large.")
    except SourceError:
        container.close()
        raise
    return container


def _why_damaged(path: str, error: Exception) -> str:
    if isinstance(error, PermissionError) and not os.access(path, os.R_OK):
        return f"{path} cannot be read: permission denied."
    if not os.path.exists(path):
        return f"{path} does not exist."
    return f"{path} cannot be opened as an image or film: it is damaged, cut or something else."


def video_stream(container: Any) -> Any:
    """The first stream of pictures.

    Raises:
        SourceError: none that can be decoded.
    """
    stream = first_video(container)
    if stream is None:
        name = str(container.name).removeprefix("file:")
        raise SourceError(f"{name} holds no film that can be read.")
    return stream
