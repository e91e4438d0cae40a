"""Events from tracks: debounce, dwell, zones and lines, on a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.events.detector import EventDetector
from edgepose.events.event import Event
from edgepose.events.zones import Line, Zone, Zones
from edgepose.types import Pose

W, H = 1000, 500
NAMES = ("nose",)


def person(track: int | None, x: float = 500, y: float = 400, height: float = 200) -> Pose:
    """Someone whose feet are at x, y."""
    box = (x - 40.0, y - height, x + 40.0, float(y))
    return Pose(0, np.array([[x, y - 190, 0.9]], np.float32), NAMES, box=box, track=track)


def run(
    detector: EventDetector, frames: Iterable[tuple[float, list[Pose]]], end: bool = False
) -> list[Event]:
    events: list[Event] = []
    for i, (now, poses) in enumerate(frames):
        events += detector.update(poses, now, W, H, i)
    return events + list(detector.finish() if end else ())


def seconds(start: float, end: float, step: float = 0.1) -> list[float]:
    return [round(start + i * step, 6) for i in range(round((end - start) / step))]


def kinds(events: Iterable[Event]) -> list[tuple[str, str, float]]:
    return [(e.event, e.zone, round(e.time, 3)) for e in events]


# enter and exit ------------------------------------------------------------------------------------


def test_a_visit_is_one_enter_and_one_exit() -> None:
    frames = [(t, [person(7)] if 2 <= t < 6 else []) for t in seconds(0, 10)]
    enter, leave = run(EventDetector(source="cam", session="s", epoch=1000.0), frames)
    assert (enter.event, enter.time, enter.track, enter.frame) == ("enter", 1002.0, 7, 20)
    assert (leave.event, leave.time, leave.frame) == ("exit", pytest.approx(1005.9), 59)
    assert leave.dwell == pytest.approx(3.9)
    assert leave.box == (460.0, 200.0, 540.0, 400.0)
    assert (enter.source, enter.session, enter.dwell, enter.zone) == ("cam", "s", None, "")


def test_events_come_when_they_are_sure() -> None:
    detector = EventDetector(enter_after=0.5, exit_after=2.0)
    when = {}
    for t in seconds(0, 10):
        for e in detector.update([person(1)] if t < 5 else [], t, W, H):
            when[e.event] = t
    assert when == {"enter": 0.5, "exit": pytest.approx(6.9)}


def test_a_passer_by_too_short_to_count() -> None:
    frames = [(t, [person(1)] if 1 <= t < 1.4 else []) for t in seconds(0, 5)]
    assert run(EventDetector(enter_after=0.5), frames, end=True) == []


def test_a_short_absence_is_no_exit() -> None:
    frames = [(t, [] if 2 <= t < 3.5 else [person(1)]) for t in seconds(0, 5)]
    assert kinds(run(EventDetector(exit_after=2.0), frames)) == [("enter", "", 0.0)]


def test_who_comes_back_later_enters_again() -> None:
    frames = [(t, [] if 2 <= t < 6 else [person(1)]) for t in seconds(0, 8)]
    assert kinds(run(EventDetector(), frames)) == [
        ("enter", "", 0.0),
        ("exit", "", 1.9),
        ("enter", "", 6.0),
    ]


def test_several_people_are_events_of_their_own() -> None:
    frames = [
        (t, [person(k, 200 * k) for k in (1, 2, 3) if k <= t < 6 + k]) for t in seconds(0, 12)
    ]
    events = run(EventDetector(), frames)
    assert [(e.event, e.track) for e in events] == [
        ("enter", 1),
        ("enter", 2),
        ("enter", 3),
        ("exit", 1),
        ("exit", 2),
        ("exit", 3),
    ]


def test_poses_without_a_track_are_passed_over() -> None:
    assert run(EventDetector(), [(t, [person(None)]) for t in seconds(0, 5)], end=True) == []


def test_no_delay_counts_at_once() -> None:
    detector = EventDetector(enter_after=0, exit_after=0)
    frames = [(0.0, []), (1.0, [person(1)]), (2.0, [person(1)]), (3.0, []), (4.0, [])]
    found = [kinds(detector.update(poses, t, W, H)) for t, poses in frames]
    assert found == [[], [("enter", "", 1.0)], [], [("exit", "", 2.0)], []]


def test_the_end_of_the_source_lets_everybody_out() -> None:
    detector = EventDetector()
    run(detector, [(t, [person(1), person(2, 800)]) for t in seconds(0, 3)])
    assert detector.inside == {"": (1, 2)}
    out = detector.finish()
    assert [(e.event, e.track, e.note) for e in out] == [
        ("exit", 1, "end of stream"),
        ("exit", 2, "end of stream"),
    ]
    assert detector.inside == {"": ()}
    assert detector.finish() == ()


def test_a_film_that_starts_again_begins_new_visits() -> None:
    detector = EventDetector()
    once = [(t, [person(1)]) for t in seconds(0, 3)]
    events = run(detector, once + once, end=True)
    assert [e.event for e in events] == ["enter", "exit", "enter", "exit"]
    assert events[1].note == "end of stream"


# zones ---------------------------------------------------------------------------------------------

COUNTER = Zone("counter", ((0.4, 0.5), (0.6, 0.5), (0.6, 1.0), (0.4, 1.0)))


def test_walking_through_a_zone() -> None:
    # 100 pixels a second from the left: in the zone from 400 to 600, t = 4 to 6
    frames = [(t, [person(1, 100 * t)]) for t in seconds(0, 10)]
    events = run(EventDetector(Zones((COUNTER,))), frames, end=True)
    assert kinds(events) == [
        ("enter", "", 0.0),
        ("enter", "counter", 4.0),
        ("exit", "counter", 5.9),
        ("exit", "", 9.9),
    ]
    assert events[2].dwell == pytest.approx(1.9)


def test_a_zone_counts_the_feet_unless_told() -> None:
    head_inside = [(t, [person(1, 500, 495, 400)]) for t in seconds(0, 3)]
    high = ((0.4, 0.1), (0.6, 0.1), (0.6, 0.7), (0.4, 0.7))
    feet = EventDetector(Zones((Zone("z", high),)))
    centre = EventDetector(Zones((Zone("z", high, "centre"),)))
    assert [e.zone for e in run(feet, head_inside)] == [""]
    assert [e.zone for e in run(centre, head_inside)] == ["", "z"]


def test_a_zone_has_its_own_delays() -> None:
    slow = Zone("counter", COUNTER.points, enter_after=3.0, exit_after=0.0)
    detector = EventDetector(Zones((slow,)))
    frames = [(t, [person(1, 500 if t < 4 else 100)]) for t in seconds(0, 6)]
    assert kinds(run(detector, frames)) == [
        ("enter", "", 0.0),
        ("enter", "counter", 0.0),
        ("exit", "counter", 3.9),
    ]


def test_standing_on_the_edge_is_one_enter() -> None:
    rng = np.random.default_rng(2)
    frames = [(t, [person(1, 400 + rng.normal(0, 8))]) for t in seconds(0, 20)]
    events = run(EventDetector(Zones((COUNTER,))), frames)
    assert [e.event for e in events if e.zone] == ["enter"]


def test_who_leaves_the_picture_leaves_its_zones_first() -> None:
    frames = [(t, [person(1)] if t < 2 else []) for t in seconds(0, 6)]
    events = run(EventDetector(Zones((COUNTER,))), frames)
    assert [(e.event, e.zone) for e in events] == [
        ("enter", ""),
        ("enter", "counter"),
        ("exit", "counter"),
        ("exit", ""),
    ]


# lines ---------------------------------------------------------------------------------------------

DOOR = Line("door", ((0.5, 1.0), (0.5, 0.2)), right="in", left="out")


def test_zones_may_change_while_people_are_inside() -> None:
    left, right = (
        Zone(name, ((x, 0), (x + 0.5, 0), (x + 0.5, 1), (x, 1)))
        for name, x in (("left", 0), ("right", 0.5))
    )
    detector = EventDetector(Zones((left, right)))
    run(detector, [(t, [person(1, x=100), person(2, x=800)]) for t in seconds(0, 2)])
    moved = Zone("right", ((0.9, 0), (1, 0), (1, 1), (0.9, 1)))
    events = detector.change(Zones((left, moved)))
    assert [(e.event, e.zone, e.track, e.note) for e in events] == [
        ("exit", "right", 2, "zones changed")
    ]
    assert detector.inside == {"": (1, 2), "left": (1,), "right": ()}
    later = run(detector, [(t, [person(1, x=100), person(2, x=950)]) for t in seconds(2, 4)])
    assert kinds(later) == [("enter", "right", 2.0)]
    assert detector.change(Zones((left, moved))) == ()


def crossings(events: Iterable[Event]) -> list[str]:
    return [e.direction for e in events if e.event == "cross"]


def test_crossing_a_line_and_back() -> None:
    to_and_fro = [(t, [person(1, 500 + 300 * np.sin(t - 1.5))]) for t in seconds(0, 6.2)]
    events = run(EventDetector(Zones((), (DOOR,))), to_and_fro)
    assert crossings(events) == ["in", "out"]
    (first, _) = (e for e in events if e.event == "cross")
    assert first.zone == "door"
    assert first.time == pytest.approx(1.5, abs=0.2)


def test_jitter_on_a_line_does_not_cross() -> None:
    rng = np.random.default_rng(3)
    still = [(t, [person(1, 500 + rng.normal(0, 2))]) for t in seconds(0, 30)]
    assert crossings(run(EventDetector(Zones((), (DOOR,))), still)) == []


def test_jitter_while_crossing_crosses_once() -> None:
    rng = np.random.default_rng(4)
    slowly = [(t, [person(1, 440 + 10 * t + rng.normal(0, 1.5))]) for t in seconds(0, 12)]
    assert crossings(run(EventDetector(Zones((), (DOOR,))), slowly)) == ["in"]


def test_turning_back_at_the_line_does_not_cross() -> None:
    path = [(t, [person(1, 500 - 3 - 60 * abs(t - 5))]) for t in seconds(0, 10)]
    assert crossings(run(EventDetector(Zones((), (DOOR,))), path)) == []


def test_passing_beside_the_line_does_not_cross() -> None:
    path = [(t, [person(1, 100 * t, 60, 50)]) for t in seconds(0, 10)]
    assert crossings(run(EventDetector(Zones((), (DOOR,))), path)) == []


def test_crossing_while_hidden_counts() -> None:
    path = [(t, [] if 4.5 < t < 5.5 else [person(1, 100 * t)]) for t in seconds(0, 10)]
    assert crossings(run(EventDetector(Zones((), (DOOR,))), path)) == ["in"]


# for any visits ------------------------------------------------------------------------------------


@given(
    st.lists(st.sets(st.integers(1, 4)), max_size=60),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
)
def test_enters_and_exits_alternate_for_every_track_and_zone(
    frames: list[set[int]], enter_after: float, exit_after: float, zone: bool
) -> None:
    detector = EventDetector(
        Zones((COUNTER,) if zone else ()), enter_after=enter_after, exit_after=exit_after
    )
    inside: dict[tuple[int | None, str], float] = {}
    film = [
        (0.1 * i, [person(k, 450 + 50 * k) for k in sorted(who)]) for i, who in enumerate(frames)
    ]
    for event in run(detector, film, end=True):
        key = (event.track, event.zone)
        if event.event == "enter":
            assert key not in inside
            inside[key] = event.time
        else:
            assert event.dwell == pytest.approx(event.time - inside.pop(key))
            assert event.dwell >= 0
    assert inside == {}
