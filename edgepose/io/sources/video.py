"""Films from files, decoded by PyAV: every frame, in order, with the file's numbers and times."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import av

from edgepose.errors import SourceError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.ffmpeg import NOT_PICTURES, Converter, file_name, open_container
from edgepose.io.memory import MAX_PIXELS
from edgepose.io.pixels import Transform
from edgepose.io.sources import header, segments
from edgepose.io.sources.segments import FilmPlan, NotAsPlanned, Segment
from edgepose.io.sources.span import Span
from edgepose.types import Frame

# a film that is shorter by more seconds than its container says was cut
CUT_TOLERANCE = 0.25
# behind damage a decoder may give frames late by so many seconds
DISORDER = 5.0
# containers that give the last time, not the length
_LAST_TIME = ("flv", "matroska,webm")


class VideoSource(Source):
    """Frames of a film file; none is ever dropped unless `options.rate` asks for fewer.

    A frame's index counts from 0 at the film's first frame and its pts is the film's own time in
    seconds from there; both continue over the passes of a loop. Pictures are turned upright by the
    film's rotation. A damaged or cut film gives all frames that can be decoded, and then reports: to
    `options.on_error` where there is one, else by raising.

    With `options.start` the film is entered at a key frame before, where its packets tell which frame
    is which; else it is read from its beginning.

    Args:
        path: the file. options: size, rate, flip, loop, start, frames, on_error.
        segment: read these frames alone.

    Raises:
        SourceError: not a film; while iterating: nothing could be decoded, or the film is damaged
            and there is no `on_error`.
        NotAsPlanned: while iterating over a segment: read the whole film instead.
    """

    live = False
    stills = False

    def __init__(self, path: str, options: SourceOptions, segment: Segment | None = None) -> None:
        self.path = path
        self.name = Path(path).stem
        self._span = Span.of(options)
        self._segment = segment
        self._transform = Transform(options)
        self._on_error = options.on_error
        self._asked_rate = max(0.0, options.rate)
        self._lock = threading.Lock()
        self._closed = False
        self._reading = False
        self._container: Any = _open(path)
        film = _Film(self._container)
        self.rate = min(film.rate, self._asked_rate or film.rate)
        thinning = self.rate / film.rate if film.rate else 1.0
        total = film.count
        self.length = self._span.length(round(total * thinning) if total else None)
        if segment is not None:
            self.length = segment.count

    @cached_property
    def _entry(self) -> Segment | None:
        """Where a pass begins to read; None = at the beginning."""
        if self._segment is not None or not self._span.start or not os.path.isfile(self.path):
            return self._segment
        return segments.entry(plan_film(self.path, self._span.start), self._span.start)

    @property
    def paths(self) -> tuple[str, ...]:
        """The file, as `OutputOptions.audio` and `inputs` want it."""
        return (self.path,)

    @property
    def sound(self) -> str:
        """The film itself."""
        return self.path

    def close(self) -> None:
        """End the iteration at its next frame and release the file."""
        self._closed = True
        with self._lock:
            if not self._reading:
                self._release()

    def _release(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def __iter__(self) -> Iterator[Frame]:
        given = passes = index0 = 0
        pts0 = 0.0
        while not self._closed and passes != self._span.passes:
            before = given
            one = _Pass(self, report=not passes)
            for frame in one:
                yield self._frame(frame, index0, pts0)
                given += 1
                if given == self._span.frames:
                    return
            if given == before:
                return
            passes, index0, pts0 = passes + 1, index0 + one.index, pts0 + one.end

    def _frame(self, frame: Frame, index0: int, pts0: float) -> Frame:
        return Frame(
            frame.pixels,
            index=frame.index + index0,
            pts=None if frame.pts is None else frame.pts + pts0,
            source=self.path,
            name=self.name,
        )


class _ThreadsFailed(Exception):
    """A decoder that works at several frames at once met damage."""


class _Pass:
    """One pass through a film. After it, `index` is its number of frames and `end` its length."""

    def __init__(self, source: VideoSource, report: bool) -> None:
        self._source = source
        self._report = report and source._segment is None
        self._slot = -1
        self._given = 0
        self._begin(None, 0.0)

    def _begin(self, entry: Segment | None, tick: float) -> None:
        """As it is before the first frame of an entry; None = of the film."""
        self.index = entry.first if entry else 0
        self._zero = float(entry.zero * tick) if entry else None
        self._last = float(entry.before * tick) - float(entry.zero * tick) if entry else 0.0
        if entry and entry.count is not None and entry.first:
            self._slot = int(self._last * self._source._asked_rate + 1e-6)
        self.end = 0.0
        self._packets = 0
        self._packets_end = 0.0
        self._packets_last = 0.0
        self._damaged = 0
        self._damaged_after = 0
        self._broken = 0  # packets that cannot be decoded

    def __iter__(self) -> Iterator[Frame]:
        try:
            entry = self._source._entry
            yield from self._read(entry) if entry else self._whole()
        except (NotAsPlanned, _ThreadsFailed) as e:
            if self._source._segment is not None:
                raise
            if isinstance(e, _ThreadsFailed):
                self._given, self._slot = self.index, -1
            yield from self._whole()

    def _whole(self) -> Iterator[Frame]:
        try:
            yield from self._read(None)
        except _ThreadsFailed:
            # at an error they lose the frames that they hold: read it again without, behind what was given
            self._given, self._slot = max(self.index, self._given), -1
            yield from self._read(None, "SLICE")

    def _read(self, entry: Segment | None, threads: str = "AUTO") -> Iterator[Frame]:
        source = self._source
        with source._lock:
            if source._closed:
                return
            container = source._container or _open(source.path)
            source._container, source._reading = container, True
        try:
            film = _Film(container, threads)
            self._begin(entry, float(film.stream.time_base or 0))
            convert = Converter(film.stream.codec_context.sample_aspect_ratio)
            for decoded in self._frames(film, entry):
                frame = self._take(decoded, film, convert)
                if frame is not None:
                    yield frame
            if not source._closed:
                if film.by_frames and entry is None and self._lost_its_end(film):
                    raise _ThreadsFailed
                self._conclude(film)
        finally:
            with source._lock:
                source._reading = False
                source._release()

    def _lost_its_end(self, film: _Film) -> bool:
        """There were packets behind the last frame; at damage, threads may swallow what they hold."""
        last = (self._zero or 0.0) + self._last
        return bool(self.index and film.step) and self._packets_last > last + film.step / 2

    def _frames(self, film: _Film, entry: Segment | None) -> Iterator[Any]:
        """Decoded frames from an entry on."""
        if entry is None:
            return self._decoded(film, film.container.demux(film.stream))
        try:
            packets = segments.enter(film.container, film.stream, entry)
        except (av.FFmpegError, OSError):
            packets = None
        if packets is None:
            raise NotAsPlanned("its key frame is not found")
        return segments.planned(entry, self._decoded(film, packets), lambda: not self._broken)

    def _take(self, decoded: Any, film: _Film, convert: Converter) -> Frame | None:
        """The frame where it is asked for, None where it is skipped; counts both."""
        pts = self._pts(decoded, film)
        if pts is None:
            return None
        index = self.index
        self.index += 1
        self.end = pts + film.step
        if index < self._source._span.start or not self._in_slot(pts) or index < self._given:
            return None
        return Frame(self._source._transform(convert(decoded)), index=index, pts=pts)

    def _pts(self, decoded: Any, film: _Film) -> float | None:
        """Seconds from the film's first frame; None for what damage has thrown out of order."""
        time = film.time(decoded)
        if time is None:
            return self.end if self.index else 0.0
        if self._zero is None:
            self._zero = time
        if not self.index or time - self._zero > self._last:
            self._last = time - self._zero
        elif self._damaged and self._last - (time - self._zero) < DISORDER:
            self._damage()
            return None
        else:
            # parts put one behind the other, each with times of its own
            self._zero = time - self.end
            self._last = self.end
        return self._last

    def _in_slot(self, pts: float) -> bool:
        """True for the first frame of each period of the asked rate."""
        rate = self._source._asked_rate
        if not rate:
            return True
        slot = int(pts * rate + 1e-6)
        if slot == self._slot:
            return False
        self._slot = slot
        return True

    def _decoded(self, film: _Film, packets: Iterator[Any]) -> Iterator[Any]:
        """Decoded frames in presentation order; what is damaged is counted and passed over."""
        while not self._source._closed:
            with self._source._lock:
                frames = self._step(packets, film)
            if frames is None:
                return
            yield from frames

    def _step(self, packets: Any, film: _Film) -> list[Any] | None:
        """Frames of the next packet, None at the end."""
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            # the container itself is broken here; what the decoder still holds comes out
            self._break(film)
            return self._flush(film)
        if packet is None:
            return None
        if packet.size:
            self._packets += 1
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self._packets_end = max(self._packets_end, end - film.start)
            ticks = None if packet.is_discard else film.ticks(packet)
            if ticks is not None:
                self._packets_last = max(self._packets_last, float(ticks * packet.time_base))
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError):
            self._break(film)
            return []
        for frame in frames:
            if frame.is_corrupt:
                self._damage()
        return list(frames)

    def _flush(self, film: _Film) -> list[Any] | None:
        try:
            return list(film.stream.decode(None)) or None
        except (av.FFmpegError, OSError):
            return None

    def _break(self, film: _Film) -> None:
        """Something cannot be decoded.

        Raises:
            _ThreadsFailed: frames may be lost with it.
        """
        self._broken += 1
        if film.by_frames and self._source._segment is None:
            raise _ThreadsFailed
        self._damage()

    def _damage(self) -> None:
        if not self._damaged:
            self._damaged_after = self.index
        self._damaged += 1

    def _conclude(self, film: _Film) -> None:
        """Report a damaged or cut film after its last frame."""
        if not self._report:
            return
        path = self._source.path
        if not self.index:
            raise SourceError(f"{path} holds no frame that can be decoded.")
        found = []
        if self._damaged:
            found.append(f"damaged in {self._damaged} place(s) from frame {self._damaged_after} on")
        cut = film.cut(self._packets, self._packets_end)
        if cut:
            found.append(cut)
        if not found:
            return
        error = SourceError(f"{path}: {'; '.join(found)}. {self.index} frames were read.")
        if self._source._on_error is None:
            raise error
        self._source._on_error(path, error)


def plan_film(path: str, frame: int | None = None) -> FilmPlan:
    """Where a film can be cut, by all its packets or by those up to a frame.

    Raises:
        SourceError: not a film.
    """
    container = _open(path)
    try:
        film = _Film(container)
        plan = segments.read_plan(container, film.stream, frame)
        cut = film.cut(len(plan.times), plan.end * plan.tick - film.start) if frame is None else ""
        return replace(plan, whole=plan.whole or cut)
    except (av.FFmpegError, OSError):
        return FilmPlan(whole="its container is damaged")
    finally:
        container.close()


class _Film:
    """The video stream of an open container, and what it says about itself."""

    def __init__(self, container: Any, threads: str = "AUTO") -> None:
        self.container = container
        self.stream = _video_stream(container)
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


def _open(path: str) -> Any:
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
        context = _video_stream(container).codec_context
        if context.width * context.height > MAX_PIXELS:
            raise SourceError(f"{path} has frames of {context.width}x{context.height}: too large.")
    except SourceError:
        container.close()
        raise
    return container


def _why_damaged(path: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path} cannot be read: permission denied."
    if not os.path.exists(path):
        return f"{path} does not exist."
    return f"{path} cannot be opened as an image or film: it is damaged, cut or something else."


def _video_stream(container: Any) -> Any:
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & cover:
            return stream
    raise SourceError(
        f"{str(container.name).removeprefix('file:')} holds no film that can be read."
    )
