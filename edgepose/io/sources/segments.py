"""Where a film may be entered and cut: at key frames, so that the frames are those of a whole reading.

`read_plan` reads the packets of a film without decoding them. Where numbers and times of all frames
follow from the packets alone, `cut` gives segments and `entry` the way to a frame; `enter` goes there
and `planned` watches that what is decoded is what was planned.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

# where every packet has its own time and is one frame: others (AVI, raw streams, VP8's hidden frames)
# are read from their beginning
CUTTABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts")
CODECS = ("h264", "hevc", "vp9", "av1", "mjpeg")
# seconds before its key frame at which a segment is looked for: MPEG-TS is entered behind what is asked
STEPS = (0.0, 1.0, 2.0, 4.0)


class NotAsPlanned(Exception):
    """A film gives other frames than its packets promised; read it in one piece."""


@dataclass(frozen=True)
class Segment:
    """Frames of a film that can be read alone. Times are ticks of the film's video stream.

    Attributes:
        number: from 0.
        first: number of the first frame. count: how many, None = to the end of the film.
        start: time of the first frame. end: time behind the last one, None = to the end of the film.
        key, position: time and byte position of the packet where decoding begins.
        zero: time of the film's first frame. before: time of the frame before `first`.
    """

    number: int
    first: int
    count: int | None
    start: int
    end: int | None
    key: int
    position: int
    zero: int
    before: int


@dataclass(frozen=True)
class FilmPlan:
    """What the packets of a film say.

    Attributes:
        times: of all frames in their order, ticks. keys: (time, position) of the key packets.
        tick: seconds a tick. end: when the last frame ends, in ticks.
        whole: why the film has to be read in one piece, "" where it need not.
    """

    times: list[int] = field(default_factory=list)
    keys: list[tuple[int, int]] = field(default_factory=list)
    tick: float = 0.0
    end: int = 0
    whole: str = ""


def read_plan(container: Any, stream: Any, frame: int | None = None) -> FilmPlan:
    """The plan of a film that was just opened, from its packets; up to a frame where one is given.

    Raises:
        av.FFmpegError, OSError: the container is broken.
    """
    tick = float(stream.time_base or 0)
    packets = _Packets(frame)
    packets.wrong = _unfit(container, stream)
    for packet in container.demux(stream) if not packets.wrong else ():
        if packet.size and not packet.is_discard and packets.add(packet):
            break
    if packets.wrong or not packets.keys:
        return FilmPlan(tick=tick, whole=packets.wrong or "it has no key frame")
    return FilmPlan(sorted(packets.times), packets.keys, tick, packets.end)


def _unfit(container: Any, stream: Any) -> str:
    if container.format.name not in CUTTABLE:
        return f"its format is {container.format.name}"
    if stream.codec_context.name not in CODECS:
        return f"its codec is {stream.codec_context.name}"
    return ""


class _Packets:
    """The packets of a film in the order of decoding, until they are enough or not fit."""

    def __init__(self, frame: int | None) -> None:
        self.wrong = ""
        self.times: set[int] = set()
        self.keys: list[tuple[int, int]] = []
        self.end = 0
        self._frame = frame
        self._latest = self._settled = -(1 << 63)

    def add(self, packet: Any) -> bool:
        """Take a packet; True where no more are needed."""
        self.wrong = self._why_not(packet)
        if self.wrong:
            return True
        if packet.is_keyframe:
            # frames may come before their key frame, but not before the key frame before that
            self._settled = self.keys[-1][0] if self.keys else packet.pts
            self.keys.append((packet.pts, packet.pos))
        self.times.add(packet.pts)
        self._latest = max(self._latest, packet.pts)
        self.end = max(self.end, packet.pts + (packet.duration or 0))
        return bool(packet.is_keyframe) and self._is_enough()

    def _why_not(self, packet: Any) -> str:
        if packet.is_corrupt:
            return "a packet is damaged"
        if packet.pts is None or packet.pos is None or packet.pos < 0:
            return "a packet has no time or place"
        if packet.pts in self.times:
            return "two frames have the same time"
        if not self.keys and not packet.is_keyframe:
            return "it does not begin with a key frame"
        if packet.pts < (self._latest if packet.is_keyframe else self._settled):
            return "its times go back"
        return ""

    def _is_enough(self) -> bool:
        """True where the number of the frame that is asked for is sure: later packets lie behind it."""
        if self._frame is None or len(self.times) <= self._frame:
            return False
        return sum(time < self._settled for time in self.times) > self._frame


def cut(plan: FilmPlan, seconds: float) -> list[Segment]:
    """Segments of at least so many seconds (the last one may be shorter), all frames in them once."""
    if plan.whole:
        return []
    cuts = [0]
    keys = [0]
    for number, (time, _) in enumerate(plan.keys):
        if (time - plan.times[cuts[-1]]) * plan.tick >= seconds:
            cuts.append(bisect.bisect_left(plan.times, time))
            keys.append(number)
    ends = [*cuts[1:], len(plan.times)]
    return [
        _segment(plan, n, first, end, plan.keys[key])
        for n, (first, end, key) in enumerate(zip(cuts, ends, keys, strict=True))
    ]


def _segment(plan: FilmPlan, number: int, first: int, end: int, key: tuple[int, int]) -> Segment:
    last = end == len(plan.times)
    return Segment(
        number=number,
        first=first,
        count=end - first,
        start=plan.times[first],
        end=None if last else plan.times[end],
        key=key[0],
        position=key[1],
        zero=plan.times[0],
        before=plan.times[max(0, first - 1)],
    )


def entry(plan: FilmPlan, frame: int) -> Segment | None:
    """The way to a frame and all behind it; None where the film must be read from its beginning."""
    if plan.whole or not 0 < frame < len(plan.times):
        return None
    start = plan.times[frame]
    key = plan.keys[bisect.bisect_right(plan.keys, start, key=lambda k: k[0]) - 1]
    if key[0] <= plan.times[0]:
        return None
    return Segment(0, frame, None, start, None, *key, plan.times[0], plan.times[frame - 1])


def enter(container: Any, stream: Any, segment: Segment) -> Iterator[Any] | None:
    """Packets from the segment's key packet on; None where it cannot be found.

    Raises:
        av.FFmpegError, OSError: the container is broken.
    """
    if segment.key == segment.zero:
        first: Iterator[Any] = iter(container.demux(stream))
        return first
    for back in STEPS:
        target = segment.key - int(back / stream.time_base)
        container.seek(target, stream=stream, backward=True, any_frame=False)
        packets: Iterator[Any] = iter(container.demux(stream))
        for packet in packets:
            if not packet.size:
                break
            if packet.is_keyframe and packet.pts is not None and packet.pts >= segment.key:
                if (packet.pts, packet.pos) == (segment.key, segment.position):
                    return chain([packet], packets)
                break  # too far on, or in another part of the file
    return None


def planned(segment: Segment, frames: Iterable[Any], unharmed: Callable[[], bool]) -> Iterator[Any]:
    """The decoded frames of a segment.

    Args:
        frames: decoded from the segment's key packet on. unharmed: no packet failed to decode.

    Raises:
        NotAsPlanned: a packet that cannot be decoded, a damaged frame or another one than planned;
            where the segment is open (`count` is None), only before its first frame.
    """
    is_open = segment.count is None
    count, last = 0, segment.start - 1
    for frame in frames:
        if not is_open or not count:
            if not unharmed():
                raise NotAsPlanned("a packet cannot be decoded")
            if frame.pts is not None and frame.pts < segment.start:
                continue
            if segment.end is not None and frame.pts is not None and frame.pts >= segment.end:
                break
            _check_packets(frame, segment, last, first=not count)
            last = frame.pts
        yield frame
        count += 1
    if not (count if is_open else count == segment.count and unharmed()):
        raise NotAsPlanned(f"{count} of {segment.count} frames")


def _check_packets(frame: Any, segment: Segment, last: int, first: bool) -> None:
    if frame.is_corrupt:
        raise NotAsPlanned("a frame is damaged")
    if frame.pts is None or frame.pts <= last or (first and frame.pts != segment.start):
        raise NotAsPlanned("a frame has another time")
    if first and frame.interlaced_frame:
        raise NotAsPlanned("it is interlaced: a frame may be two packets")
