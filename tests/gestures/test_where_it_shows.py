"""Gestures in events, zones, the database and the sinks."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from edgepose.errors import UsageError
from edgepose.events.detector import EventDetector
from edgepose.events.event import Event
from edgepose.events.log import EventLog, Filter
from edgepose.events.store import EventStore
from edgepose.events.zones import parse_zones
from edgepose.io.sinks import open_sink
from edgepose.io.sinks.gesture_changes import GestureChanges
from edgepose.io.sinks.parquet import read_results
from edgepose.types import Gesture, Pose, Result
from tests.gestures.people import FIGURES, pose

BED = {"name": "bed", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "fine": ["lying", "fallen"]}
DESK = {"name": "desk", "polygon": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]}
ZONES = parse_zones({"zones": [BED, DESK]})


def person(x: float, *gestures: Gesture, track: int = 1) -> Pose:
    one = pose(FIGURES["standing"], at=(x, 400), size=50, track=track)
    return one.with_(gestures=gestures)


def short(events: tuple[Event, ...]) -> list[tuple[str, str, str]]:
    return [(e.event, e.gesture, e.zone) for e in events if e.gesture]


def test_a_gesture_begins_and_ends() -> None:
    detector = EventDetector(ZONES, epoch=1000.0, source="cam")
    (begin,) = (
        e for e in detector.update([person(700, Gesture("hands_up", 0.7, 0.3))], 5.0, 1000, 800, 9) if e.gesture
    )  # fmt: skip
    assert (begin.event, begin.gesture, begin.zone, begin.track) == ("begin", "hands_up", "desk", 1)
    assert (begin.time, begin.score, begin.frame) == (pytest.approx(1004.7), 0.7, 9)
    assert (
        short(detector.update([person(700, Gesture("hands_up", 0.9, 1.3))], 6.0, 1000, 800)) == []
    )
    (end,) = (e for e in detector.update([person(700)], 6.5, 1000, 800) if e.gesture)
    assert (end.event, end.score, end.dwell) == ("end", 0.9, pytest.approx(1.3))
    assert end.as_dict()["gesture"] == "hands_up"


def test_what_is_fine_in_a_zone_begins_when_the_person_leaves_it() -> None:
    detector = EventDetector(ZONES)
    lying = Gesture("lying", 1.0, 0.5)
    assert short(detector.update([person(200, lying)], 1.0, 1000, 800)) == []
    waving = Gesture("hands_up", 1.0, 0.5)
    assert short(detector.update([person(200, waving, lying)], 2.0, 1000, 800)) == [
        ("begin", "hands_up", "bed")
    ]
    assert short(detector.update([person(700, lying)], 3.0, 1000, 800)) == [
        ("begin", "lying", "desk"),
        ("end", "hands_up", "bed"),
    ]


def test_who_is_gone_for_long_has_ended_what_he_did() -> None:
    detector = EventDetector(exit_after=2.0)
    detector.update([person(700, Gesture("sitting", 1.0))], 1.0, 1000, 800)
    assert short(detector.update([], 2.5, 1000, 800)) == []
    assert short(detector.update([], 3.0, 1000, 800)) == [("end", "sitting", "")]
    detector.update([person(700, Gesture("sitting", 1.0))], 4.0, 1000, 800)
    (end,) = (e for e in detector.finish() if e.gesture)
    assert (end.event, end.note) == ("end", "end of stream")


@pytest.mark.parametrize("fine", ["lying", [1], [""]])
def test_fine_is_a_list_of_names(fine: object) -> None:
    with pytest.raises(UsageError, match="fine"):
        parse_zones({"zones": [{**BED, "fine": fine}]})
    with pytest.raises(UsageError, match="fine"):
        parse_zones({"zones": [{"name": "door", "line": [[0, 0], [1, 1]], "fine": ["lying"]}]})


def test_the_database_keeps_gestures_and_a_crash_ends_them(tmp_path: Path) -> None:
    begin = Event("begin", 100.0, 3, zone="desk", gesture="hands_up", score=0.8)
    store = EventStore(tmp_path / "e.db")
    session = store.begin("cam", 90.0)
    store.record(session, [Event("enter", 95.0, 3), begin])
    assert store.flush()
    # a crash: the writer never hears of the end
    copied = tmp_path / "copy.db"
    with EventLog(tmp_path / "e.db") as log:
        (found,) = log.all(Filter(gestures=["hands_up"]))
        log._db.execute("VACUUM INTO ?", (str(copied),))
    assert replace(found, id=None, session="", source="") == begin
    store.close()
    EventStore(copied, clock=lambda: 130.0).close()
    with EventLog(copied) as log:
        ends = {(e.event, e.gesture, e.zone): e for e in log.all() if e.note}
    assert set(ends) == {("exit", "", ""), ("end", "hands_up", "desk")}
    assert ends["end", "hands_up", "desk"].score == 0.8


def result(*poses: Pose, frame: int = 0) -> Result:
    return Result(
        frame, 1000, 800, tuple(p.with_(id=i) for i, p in enumerate(poses)), source="a.mp4"
    )


def test_sinks(tmp_path: Path) -> None:
    wave = person(300, Gesture("hands_up", 0.91234567, 1.23456), Gesture("standing", 1.0, 7.0))
    rows = [result(wave, person(700, track=2)), result(frame=1)]
    for kind in ("json", "csv", "parquet"):
        with open_sink(kind, str(tmp_path / f"o.{kind}")) as sink:
            for row in rows:
                sink.write(row)
    line = json.loads((tmp_path / "o.json").read_text().splitlines()[0])
    schema = json.loads(
        (Path(__file__).parents[2] / "edgepose/io/sinks/result.schema.json").read_text()
    )
    jsonschema.validate(line, schema)
    assert line["poses"][0]["gestures"][0] == {
        "name": "hands_up",
        "score": 0.9123,
        "seconds": 1.235,
    }
    assert "gestures" not in line["poses"][1]
    told = {r["track"]: r["gestures"] for r in csv.DictReader((tmp_path / "o.csv").open())}
    assert told == {"1": "hands_up standing", "2": ""}
    first, second = read_results(tmp_path / "o.parquet")
    assert [[g.name for g in p.gestures] for p in first.poses] == [["hands_up", "standing"], []]
    assert second.poses == ()


def test_changes_are_told_once() -> None:
    changes = GestureChanges()
    up, sits = Gesture("hands_up", 1.0), Gesture("sitting", 1.0)

    def told(pts: float, *poses: Pose) -> list[tuple[str, int, str]]:
        row = replace(result(*poses), pts=pts)
        return [(word, track, g.name) for word, track, g in changes.update(row)]

    both = person(1, up), person(2, sits, track=2)
    assert told(0.0, *both) == [("begin", 1, "hands_up"), ("begin", 2, "sitting")]
    assert told(0.1, *both) == []
    # who is missed for a moment goes on; what a person who is seen does not do any more has ended
    assert told(1.0, person(2, up, track=2)) == [("begin", 2, "hands_up"), ("end", 2, "sitting")]
    assert told(2.0, person(1, up)) == []
    assert told(3.5) == [("end", 2, "hands_up")]
    assert told(4.5) == [("end", 1, "hands_up")]
    assert changes.update(result(person(1, up).with_(track=None))) == []
    # a film that starts again; and what the end of a source ends
    assert told(9.0, person(1, up)) == [("begin", 1, "hands_up")]
    assert told(0.0, person(1, up), person(2, sits, track=2)) == [("begin", 2, "sitting")]
    assert told(9.0) == [("end", 1, "hands_up"), ("end", 2, "sitting")]
    assert told(9.1, person(1, up, sits)) == [("begin", 1, "hands_up"), ("begin", 1, "sitting")]
    ends = {
        source: [(w, t, g.name) for w, t, g in rows] for source, rows in changes.finish().items()
    }
    assert ends == {"a.mp4": [("end", 1, "hands_up"), ("end", 1, "sitting")]}
    assert changes.finish() == {}


def test_metrics_count_begins() -> None:
    pytest.importorskip("prometheus_client")
    from edgepose.io.sinks.metrics import MetricsSink

    with MetricsSink("127.0.0.1:0") as sink:
        for i in range(3):
            sink.write(result(person(1, Gesture("hands_up", 1.0)), frame=i))
        counted = sink._registry.get_sample_value(
            "edgepose_gestures_total", {"source": "a.mp4", "gesture": "hands_up"}
        )
    assert counted == 1
