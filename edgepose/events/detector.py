"""From tracked poses to events: enter and exit with debounce, dwell, zones and lines, begin and end of gestures.

Pure: no clock, no file. A person is in the picture while its track is seen and in a zone while the
reference point is inside; short changes count only after `enter_after` or `exit_after` seconds. A line is
crossed when the reference point has come through it and is clear of it by a margin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgepose.events.doings import Doing, Doings, Key
from edgepose.events.event import BEGIN, CROSS, END, ENTER, EXIT, Event
from edgepose.events.zones import Line, Point, Zone, Zones, reference_point
from edgepose.types import Box, Pose

# a line counts as crossed when the point is so many body heights clear of it: jitter does not cross
CLEARANCE = 0.04


@dataclass
class _Moment:
    """When and where a person was seen."""

    now: float
    frame: int
    box: Box


@dataclass
class _Stay:
    """The presence of a track in the picture or a zone."""

    first: _Moment
    last: _Moment
    entered: bool = False


class EventDetector:
    """Events of one source.

    Args:
        zones: polygons and lines beside the whole picture.
        enter_after: seconds for which a person must be seen to have entered.
        exit_after: seconds for which a person must be gone to have left; at least the time for which the
            tracker remembers lost tracks, so that who comes back from an occlusion never left.
        epoch: UTC time (seconds since 1970) of now = 0. The attribute of that name may be set again
            before an `update` or `finish`, where the clock was corrected.
        source, session: written into the events.
    """

    def __init__(
        self,
        zones: Zones | None = None,
        *,
        enter_after: float = 0.5,
        exit_after: float = 2.0,
        epoch: float = 0.0,
        source: str = "",
        session: str = "",
    ) -> None:
        self._zones = zones or Zones()
        self._enter_after = enter_after
        self._exit_after = exit_after
        self.epoch = epoch
        self._source = source
        self._session = session
        self._stays: dict[tuple[int, str], _Stay] = {}
        # last place of a track that was clear of a line, and when it was seen there
        self._clear: dict[tuple[int, str], tuple[Point, float]] = {}
        self._after = _delays(self._zones)
        self._doings = Doings(exit_after)
        self._now: float | None = None

    @property
    def zones(self) -> Zones:
        """The polygons and lines that it goes by."""
        return self._zones

    @property
    def inside(self) -> dict[str, tuple[int, ...]]:
        """Tracks that have entered and not left, by zone name, "" = the picture."""
        names = ("", *(z.name for z in self._zones.zones))
        return {
            name: tuple(sorted(k for (k, at), s in self._stays.items() if at == name and s.entered))
            for name in names
        }

    def update(
        self, poses: Sequence[Pose], now: float, width: int, height: int, frame: int = 0
    ) -> tuple[Event, ...]:
        """Events that this frame brings about.

        Args:
            poses: tracked poses in image pixels; those without a track id are passed over.
            now: seconds on any clock that runs with the source. Where it goes back (a film that starts
                again), everybody leaves first.
            width, height: of the picture.
            frame: its number.
        """
        events: list[Event] = []
        if self._now is not None and now < self._now:
            events += self.finish()
        self._now = now
        for pose in poses:
            if pose.track is not None:
                events += self._seen(pose, pose.track, _Moment(now, frame, pose.box), width, height)
        tracks = [pose.track for pose in poses if pose.track is not None]
        events += [self._done(*ended) for ended in self._doings.ended(tracks, now)]
        events += self._gone(now)
        return tuple(events)

    def change(self, zones: Zones, note: str = "zones changed") -> tuple[Event, ...]:
        """Go on with other zones and lines: who is in one that is no longer as it was leaves it now."""
        same = {shape.name for shape in zones.shapes if shape in self._zones.shapes}
        gone = [(key, stay) for key, stay in self._in_order() if key[1] and key[1] not in same]
        for key, _ in gone:
            del self._stays[key]
        self._clear = {key: place for key, place in self._clear.items() if key[1] in same}
        self._zones = zones
        self._after = _delays(zones)
        return tuple(
            self._event(EXIT, track, zone, stay.last, dwell=_dwell(stay), note=note)
            for (track, zone), stay in gone
            if stay.entered
        )

    def finish(self, note: str = "end of stream") -> tuple[Event, ...]:
        """The exits of all who are inside and the ends of what they do, at the end of the source."""
        events = tuple(self._done(*ended, note=note) for ended in self._doings.all_ended())
        events += tuple(
            self._event(EXIT, track, zone, stay.last, dwell=_dwell(stay), note=note)
            for (track, zone), stay in self._in_order()
            if stay.entered
        )
        self._stays.clear()
        self._clear.clear()
        self._now = None
        return events

    def _seen(
        self, pose: Pose, track: int, moment: _Moment, width: int, height: int
    ) -> Iterator[Event]:
        yield from self._stay(track, "", moment)
        zones = [zone for zone in self._zones.zones if self._holds(zone, pose, width, height)]
        for zone in zones:
            yield from self._stay(track, zone.name, moment)
        if pose.gestures:
            seen = Doing("", moment.now, moment.now, moment.frame, moment.box, 0.0)
            for key, doing in self._doings.begun(track, pose.gestures, zones, seen):
                yield self._of_doing(BEGIN, key, doing, doing.began)
        for line in self._zones.lines:
            direction = self._crossed(line, pose, track, moment.now, width, height)
            if direction:
                yield self._event(CROSS, track, line.name, moment, direction=direction)

    def _holds(self, zone: Zone, pose: Pose, width: int, height: int) -> bool:
        return zone.holds(reference_point(pose, zone.reference, width, height))

    def _stay(self, track: int, zone: str, moment: _Moment) -> Iterator[Event]:
        stay = self._stays.setdefault((track, zone), _Stay(moment, moment))
        stay.last = moment
        after = self._after.get(zone, (None, None))[0]
        after = self._enter_after if after is None else after
        if not stay.entered and moment.now - stay.first.now >= after:
            stay.entered = True
            yield self._event(ENTER, track, zone, stay.first)

    def _gone(self, now: float) -> Iterator[Event]:
        for (track, zone), stay in self._in_order():
            after = self._after.get(zone, (None, None))[1]
            after = self._exit_after if after is None else after
            if now > stay.last.now and now - stay.last.now >= after:
                del self._stays[track, zone]
                if stay.entered:
                    yield self._event(EXIT, track, zone, stay.last, dwell=_dwell(stay))
        # a track that comes back must be able to cross by coming back elsewhere, but not for ever
        old = [k for k, (_, seen) in self._clear.items() if now - seen > self._exit_after]
        for key in old:
            del self._clear[key]

    def _crossed(
        self, line: Line, pose: Pose, track: int, now: float, width: int, height: int
    ) -> str:
        x, y = reference_point(pose, line.reference, width, height)
        # in units of the picture's height, so that distances do not depend on the direction
        aspect = width / height
        clear = CLEARANCE * (pose.box[3] - pose.box[1]) / height
        before = self._clear.get((track, line.name))
        if _square(line, aspect).distance((x * aspect, y)) < clear:
            if before is not None:
                self._clear[track, line.name] = (before[0], now)
            return ""
        self._clear[track, line.name] = ((x, y), now)
        return line.crossing(before[0], (x, y)) if before is not None else ""

    def _done(self, key: Key, doing: Doing, note: str = "") -> Event:
        event = self._of_doing(END, key, doing, doing.seen)
        return replace(event, dwell=doing.seen - doing.began, note=note)

    def _of_doing(self, kind: str, key: Key, doing: Doing, when: float) -> Event:
        moment = _Moment(when, doing.frame, doing.box)
        event = self._event(kind, key[0], doing.zone, moment)
        return replace(event, gesture=key[1], score=doing.score)

    def _in_order(self) -> list[tuple[tuple[int, str], _Stay]]:
        """Stays by track; of one track the zones before the picture, which is left last."""
        return sorted(self._stays.items(), key=lambda item: (item[0][0], item[0][1] == "", item[0]))

    def _event(
        self,
        kind: str,
        track: int,
        zone: str,
        moment: _Moment,
        *,
        direction: str = "",
        dwell: float | None = None,
        note: str = "",
    ) -> Event:
        return Event(
            event=kind,
            time=self.epoch + moment.now,
            track=track,
            zone=zone,
            direction=direction,
            frame=moment.frame,
            dwell=dwell,
            box=moment.box,
            note=note,
            source=self._source,
            session=self._session,
        )


def _delays(zones: Zones) -> dict[str, tuple[float | None, float | None]]:
    return {z.name: (z.enter_after, z.exit_after) for z in zones.zones}


def _dwell(stay: _Stay) -> float:
    return stay.last.now - stay.first.now


def _square(line: Line, aspect: float) -> Line:
    return Line(line.name, tuple((x * aspect, y) for x, y in line.points))
