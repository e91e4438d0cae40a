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
from edgepose.io.ffmpeg import Converter, bare_pictures, rest
from edgepose.io.pixels import Transform
from edgepose.io.sources import segments
from edgepose.io.sources.film import Film, open_film
from edgepose.io.sources.orientation import whole_flip
from edgepose.io.sources.segments import FilmPlan, NotAsPlanned, Segment
from edgepose.io.sources.span import Span
from edgepose.types import Frame

# behind damage a decoder may give frames late by so many seconds
DISORDER = 5.0


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
        self._container: Any = open_film(path)
        film = Film(self._container)
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
            frame.as_given,
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
        self._packets = self._place = 0  # how many there were, and where the last one ended
        self._packets_end = 0.0
        self._packets_last = 0.0
        self._damaged = 0
        self._damaged_after = 0
        self._pictures = ""  # their kind where the film is nothing but pictures
        self._broken = 0  # packets that cannot be decoded
        self._unread, self._why = 0, ""  # frames whose colours or size cannot be

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
            container = source._container or open_film(source.path)
            source._container, source._reading = container, True
        try:
            film = Film(container, threads)
            self._begin(entry, float(film.stream.time_base or 0))
            self._pictures = bare_pictures(container, film.stream)
            aspect = film.stream.codec_context.sample_aspect_ratio
            convert = Converter(source.path, aspect, marked=bool(self._pictures))
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

    def _lost_its_end(self, film: Film) -> bool:
        """There were packets behind the last frame; at damage, threads may swallow what they hold."""
        last = (self._zero or 0.0) + self._last
        return bool(self.index and film.step) and self._packets_last > last + film.step / 2

    def _frames(self, film: Film, entry: Segment | None) -> Iterator[Any]:
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

    def _take(self, decoded: Any, film: Film, convert: Converter) -> Frame | None:
        """The frame where it is asked for, None where it is skipped; counts both."""
        pts = self._pts(decoded, film)
        if pts is None:
            return None
        index = self.index
        self.index += 1
        self.end = pts + film.step
        if index < self._source._span.start or not self._in_slot(pts) or index < self._given:
            return None
        try:
            transform = self._source._transform
            pixels = convert.planar(decoded) if transform.idle else transform(convert(decoded))
        except SourceError as e:
            self._unread, self._why = self._unread + 1, str(e)
            self._damage()
            return None
        return Frame(pixels, index=index, pts=pts)

    def _pts(self, decoded: Any, film: Film) -> float | None:
        """Seconds from the film's first frame; None for what damage has thrown out of order."""
        time = film.time(decoded)
        if time is None:
            return self.end if self.index else 0.0
        if self._zero is None:
            self._zero = time
        if not self.index or time - self._zero > self._last:
            self._last = time - self._zero
        elif self._last - (time - self._zero) <= film.step / 2:
            pass  # two frames at one time, as halves of a picture and coarse clocks give
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

    def _decoded(self, film: Film, packets: Iterator[Any]) -> Iterator[Any]:
        """Decoded frames in presentation order; what is damaged is counted and passed over."""
        while not self._source._closed:
            with self._source._lock:
                frames = self._step(packets, film)
            if frames is None:
                return
            yield from frames

    def _step(self, packets: Any, film: Film) -> list[Any] | None:
        """Frames of the next packet, None at the end."""
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError, ValueError):
            # the container itself is broken here; what the decoder still holds comes out
            if not film.is_over(self._place):
                self._break(film)
            return self._flush(film)
        if packet is None:
            return None
        if packet.size:
            self._packets += 1
            self._place = (packet.pos or 0) + packet.size
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self._packets_end = max(self._packets_end, end - film.start)
            ticks = None if packet.is_discard else film.ticks(packet)
            if ticks is not None:
                self._packets_last = max(self._packets_last, float(ticks * packet.time_base))
            if self._pictures:
                packet.opaque = whole_flip(bytes(packet), self._pictures)
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError, ValueError):
            self._break(film)
            return []
        for frame in frames:
            if frame.is_corrupt:
                self._damage()
        return list(frames)

    def _flush(self, film: Film) -> list[Any] | None:
        try:
            return rest(film.stream) or None
        except (av.FFmpegError, OSError):
            return None

    def _break(self, film: Film) -> None:
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

    def _conclude(self, film: Film) -> None:
        """Report a damaged or cut film after its last frame."""
        if not self._report:
            return
        path = self._source.path
        if not self.index:
            raise SourceError(f"{path} holds no frame that can be decoded.")
        if self._unread == self.index:
            raise SourceError(f"{path} holds no frame that can be read. {self._why}")
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
    container = open_film(path)
    try:
        film = Film(container)
        plan = segments.read_plan(container, film.stream, frame)
        cut = film.cut(len(plan.times), plan.end * plan.tick - film.start) if frame is None else ""
        return replace(plan, whole=plan.whole or cut)
    except (av.FFmpegError, OSError):
        return FilmPlan(whole="its container is damaged")
    finally:
        container.close()
