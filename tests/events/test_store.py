"""Recording: batches, crashes, full disks, damaged files, retention. Real files and real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgepose.errors import StoreError, UsageError
from edgepose.events import schema, snapshots, tables
from edgepose.events.event import Event
from edgepose.events.log import EventLog, Filter
from edgepose.events.store import EventStore, Pace
from edgepose.events.tables import Retention, session_name

NOW = 1_790_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def enter(track: int, when: float = NOW, zone: str = "") -> Event:
    return Event("enter", when, track, zone, frame=3, box=(1.0, 2.0, 3.0, 4.5))


def leave(track: int, when: float = NOW + 5, zone: str = "") -> Event:
    return Event("exit", when, track, zone, dwell=5.0)


def read(path: Path, **wanted: object) -> list[Event]:
    with EventLog(path) as log:
        return list(log.all(Filter(**wanted)))  # type: ignore[arg-type]


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# recording -----------------------------------------------------------------------------------------


def test_what_is_recorded_can_be_read(path: Path) -> None:
    with EventStore(path) as recorder:
        session = recorder.begin("film.mp4", NOW)
        recorder.record(session, [enter(1), leave(1)])
    first, second = read(path)
    assert first == Event(
        "enter",
        NOW,
        1,
        frame=3,
        box=(1.0, 2.0, 3.0, 4.5),
        source="film.mp4",
        session=session_name(NOW),
        id=1,
    )
    assert (second.id, second.dwell, second.box) == (2, 5.0, None)
    with EventLog(path) as log:
        (row,) = log.sessions()
    assert (row.source, row.started, row.events) == ("film.mp4", NOW, 2)
    assert row.ended is not None


def test_session_names_are_those_of_the_demo() -> None:
    assert session_name(1636107133.9) == "session-20211105T101213Z"


def test_flush_means_on_the_disk_and_commits_are_told_with_ids(path: Path) -> None:
    told: list[Event] = []
    with EventStore(path, on_commit=told.extend) as recorder:
        session = recorder.begin("a")
        for k in range(50):
            recorder.record(session, [enter(k)])
        assert recorder.flush()
        # another connection, while the recorder is open
        assert [e.track for e in read(path)] == list(range(50))
        assert [e.id for e in told] == list(range(1, 51))
        assert {e.session for e in told} == {session.name}


def test_events_that_come_together_are_one_transaction(path: Path) -> None:
    batches: list[int] = []
    with EventStore(path, on_commit=lambda events: batches.append(len(events))) as recorder:
        session = recorder.begin("a")
        recorder.record(session, [enter(k) for k in range(300)])
        recorder.flush()
    assert sum(batches) == 300
    assert len(batches) <= 3


def test_many_threads_may_record(path: Path) -> None:
    with EventStore(path) as recorder:
        session = recorder.begin("a")

        def work(base: int) -> None:
            for k in range(40):
                recorder.record(session, [enter(base + k)])

        threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({e.track for e in read(path)}) == 200


def test_two_recorders_share_a_file(path: Path) -> None:
    with EventStore(path) as a, EventStore(path) as b:
        first, second = a.begin("a"), b.begin("b")
        a.record(first, [enter(1)])
        b.record(second, [enter(2)])
        assert a.flush()
        assert b.flush()
        # the second one did not take the first for dead
        assert [e.event for e in read(path)] == ["enter", "enter"]


def test_a_listener_that_fails_stops_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:

    def broken(events: tuple[Event, ...]) -> None:
        raise RuntimeError("no")

    with EventStore(path, on_commit=broken) as recorder:
        session = recorder.begin("a")
        recorder.record(session, [enter(1)])
        recorder.flush()
        recorder.record(session, [enter(2)])
    assert len(read(path)) == 2
    assert "RuntimeError: no" in caplog.text


def test_snapshots_lie_beside_the_database_and_go_with_their_events(path: Path) -> None:
    keep = Retention(days=0.5)
    with EventStore(path, retention=keep, clock=lambda: NOW) as recorder:
        session = recorder.begin("a", NOW)
        recorder.record(session, [enter(1), enter(2)], [b"jpeg", None])
    first, second = read(path)
    file = path.parent / first.snapshot
    assert file.read_bytes() == b"jpeg"
    assert first.snapshot.startswith("events-snapshots/session-")
    assert second.snapshot == ""
    later = EventStore(path, retention=keep, clock=lambda: NOW + 0.9 * 86400)
    assert eventually(lambda: not file.exists())
    later.close()
    assert read(path) == []
    assert not file.parent.exists()


def test_a_file_that_is_moved_away_keeps_what_was_written(path: Path) -> None:
    """As a person does who begins a new file for the year."""
    old = path.with_name("old.db")
    with EventStore(path) as recorder:
        session = recorder.begin("film.mp4", NOW)
        recorder.record(session, [enter(1), enter(2)])
        assert recorder.flush()
        path.rename(old)
        recorder.record(session, [enter(3)])
        assert recorder.flush()
        assert recorder.error is None
    assert [e.track for e in read(old)] == [1, 2]
    assert [e.track for e in read(path)] == [3]


def test_a_file_that_another_one_replaces_is_the_one_that_is_written(path: Path) -> None:
    restored = path.with_name("backup.db")
    with EventStore(restored) as recorder:
        recorder.record(recorder.begin("film.mp4", NOW), [enter(7)])
    with EventStore(path) as recorder, EventLog(path) as log:
        session = recorder.begin("film.mp4", NOW)
        recorder.record(session, [enter(1)])
        assert recorder.flush()
        restored.replace(path)
        assert log.count() == 1  # it may look before the writer does
        recorder.record(session, [enter(2)])
        assert recorder.flush()
        assert recorder.error is None
        assert [e.track for e in log.all()] == [7, 2]
    assert [e.track for e in read(path)] == [7, 2]
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_is_no_database_of_ours_takes_no_events(path: Path) -> None:
    """Events wait, and it is said, until the place is free again; nothing goes into a file without a name."""
    for make, away in ((Path.mkdir, Path.rmdir), (_foreign, Path.unlink)):
        with EventStore(path, pace=Pace(retry=0.05)) as recorder:
            session = recorder.begin("film.mp4", NOW)
            assert recorder.flush()
            path.unlink()
            make(path)
            recorder.record(session, [enter(1)])
            assert eventually(lambda store=recorder: store.error)
            away(path)
            assert recorder.flush(30)
            assert recorder.error is None
        assert [e.track for e in read(path)] == [1]
        path.unlink()


def _foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE other (a)")


def test_a_deleted_file_is_made_again(path: Path) -> None:
    with EventStore(path) as recorder:
        session = recorder.begin("a")
        recorder.record(session, [enter(1)])
        recorder.flush()
        with EventLog(path) as log:
            assert [e.track for e in log.all(Filter())] == [1]
            path.unlink()
            recorder.record(session, [enter(2)])
            assert recorder.flush()
            assert [e.track for e in log.all(Filter())] == [2]


# crashes -------------------------------------------------------------------------------------------

CHILD = """
import sys, time
from edgepose.events.event import Event
from edgepose.events.store import EventStore, Pace
acknowledge = lambda events: print(*(e.track for e in events), flush=True)
recorder = EventStore(sys.argv[1], on_commit=acknowledge)
session = recorder.begin("camera", {now})
track = int(sys.argv[2])
while True:
    track += 1
    recorder.record(session, [Event("enter", {now} + track, track, zone="door")])
    if track % 2:
        recorder.record(session, [Event("exit", {now} + track + .5, track, zone="door", dwell=.5)])
    time.sleep(.0005)
"""


def test_nothing_acknowledged_is_lost_or_doubled_by_sigkill(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acknowledged: list[int] = []
    for run in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(now=NOW), str(path), str(run * 1_000_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(2 + run)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        # a last line may be cut short by the kill: it ends without a newline
        acknowledged += [int(k) for line in lines if line.endswith("\n") for k in line.split()]
    caplog.set_level("INFO")
    EventStore(path).close()
    events = read(path)
    enters = [e.track for e in events if e.event == "enter"]
    exits = [e.track for e in events if e.event == "exit"]
    assert len(acknowledged) > 60
    assert set(acknowledged) <= set(enters)
    assert len(set(enters)) == len(enters)
    assert len(set(exits)) == len(exits)
    # everybody is out, those whom the kill left inside by a note
    assert set(exits) == set(enters)
    closed = [e for e in events if e.note == "closed at start"]
    assert closed
    assert {e.track % 2 for e in closed if e.track is not None} >= {0}
    assert "left open" in caplog.text


def test_visits_left_open_are_closed_at_the_last_sign_of_life(path: Path) -> None:
    db = schema.connect(path, write=True)
    schema.migrate(db, path)
    session = tables.Session("camera", NOW)
    row = tables.insert_session(db, session)
    for number, event in enumerate(
        (
            enter(1),
            enter(1, zone="door"),
            leave(1, NOW + 2, "door"),
            enter(2, NOW + 50),
            leave(2, NOW + 60),
        )
    ):
        tables.insert(db, row, number, event)
    db.execute("UPDATE session SET seen = ?", (NOW + 90,))
    db.close()
    EventStore(path).close()
    closed = [e for e in read(path) if e.note]
    assert [(e.event, e.track, e.zone, e.time, e.dwell) for e in closed] == [
        ("exit", 1, "", NOW + 90, 90.0)
    ]
    EventStore(path).close()
    assert len([e for e in read(path) if e.note]) == 1


def test_open_sessions_give_signs_of_life(path: Path) -> None:
    clock = [NOW]
    with EventStore(path, clock=lambda: clock[0], pace=Pace(heartbeat=0.05)) as recorder:
        recorder.begin("a", NOW)
        recorder.flush()
        clock[0] = NOW + 500
        with EventLog(path) as log:
            assert eventually(lambda: log.sessions()[0].seen == NOW + 500)


# trouble -------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_once_and_nothing_is_lost(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Event] = []
    with EventStore(path, on_commit=told.extend, pace=Pace(retry=0.05)) as recorder:
        session = recorder.begin("a")
        recorder.record(session, [enter(0)])
        recorder.flush()
        # SQLite's own limit: the same answer as from a full disk
        (pages,) = recorder._writer._db.execute("PRAGMA page_count").fetchone()
        recorder._writer._db.execute(f"PRAGMA max_page_count = {pages}")
        long = [enter(k, zone="z" * 2000) for k in range(1, 30)]
        started = time.monotonic()
        for event in long:
            recorder.record(session, [event])
        assert time.monotonic() - started < 1
        assert eventually(lambda: recorder.error)
        assert not recorder.flush(0.3)
        assert "full" in str(recorder.error)
        assert caplog.text.count("cannot be written") == 1
        # what was there can still be read, and nothing was half written
        assert [e.track for e in read(path)] == [0]
        recorder._writer._db.execute("PRAGMA max_page_count = 100000")
        assert recorder.flush()
        assert recorder.error is None
    assert [e.track for e in read(path)] == list(range(30))
    assert [e.track for e in told] == list(range(30))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        with EventStore(disk / "events.db", pace=Pace(retry=0.05)) as recorder:
            session = recorder.begin("a")
            recorder.record(session, [enter(0)])
            assert recorder.flush()
            with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
            recorder.record(session, [enter(k, zone="z" * 4000) for k in range(1, 100)])
            assert eventually(lambda: recorder.error)
            assert not recorder.flush(0.2)
            (disk / "ballast").unlink()
            assert recorder.flush()
            assert recorder.error is None
        assert [e.track for e in read(disk / "events.db")] == list(range(100))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_memory_is_bounded_while_nothing_can_be_written(path: Path) -> None:
    recorder = EventStore(path, pace=Pace(retry=0.05, events=100))
    session = recorder.begin("a")
    recorder.flush()
    recorder._writer._db.execute("PRAGMA query_only = ON")
    recorder.record(session, [enter(k) for k in range(250)])
    assert recorder.dropped >= 149
    recorder._writer._db.execute("PRAGMA query_only = OFF")
    assert recorder.flush()
    recorder.close()
    assert len(read(path)) == 250 - recorder.dropped


def test_a_damaged_file_is_put_aside_and_a_new_one_made(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EventStore(path) as recorder:
        session = recorder.begin("a")
        recorder.record(session, [enter(k, zone="z" * 500) for k in range(200)])
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = os.urandom(len(data) - 4096 - 8192)
    path.write_bytes(data)
    with EventStore(path) as recorder:
        recorder.record(recorder.begin("b"), [enter(1)])
    assert [e.source for e in read(path)] == ["b"]
    (aside,) = path.parent.glob("events.db.damaged-*")
    assert aside.read_bytes() == bytes(data)
    assert aside.name in caplog.text


def test_a_file_that_is_damaged_while_it_runs_is_put_aside_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EventStore(path, pace=Pace(retry=0.05))
    try:
        session = recorder.begin("a")
        recorder.record(session, [enter(k, zone="z" * 500) for k in range(200)])
        assert recorder.flush()
        for times in (1, 2):
            recorder._writer._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            recorder._writer._db.execute(
                "PRAGMA cache_size = 1"
            )  # or it would not look at the disk
            with open(path, "r+b") as file:
                file.seek(4096)
                file.write(os.urandom(path.stat().st_size - 4096))
            recorder.record(session, [enter(1000 + times)])
            if times == 1:
                assert recorder.flush()
                assert recorder.damaged == 1
                assert recorder.error is None
                assert [e.track for e in read(path)] == [1001]
        # a disk that spoils one file after the other is not filled with them
        assert not recorder.flush(0.3)
        assert "malformed" in str(recorder.error) or "not a database" in str(recorder.error)
        assert len([*path.parent.glob("events.db.damaged-*")]) == 1
    finally:
        recorder.close(0.1)
    assert caplog.text.count("are damaged") == 1


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("shopping list\n" * 50)
    with pytest.raises(StoreError, match="not a database"):
        EventStore(text)
    assert text.read_text().startswith("shopping")
    other = tmp_path / "other.db"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE person_detection (id INTEGER PRIMARY KEY)")
    db.close()
    before = other.read_bytes()
    with pytest.raises(StoreError, match="edgepose events import"):
        EventStore(other)
    assert other.read_bytes() == before


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        EventStore(tmp_path / "file" / "events.db")
    with pytest.raises(StoreError):
        EventStore(tmp_path)


# versions and upkeep -------------------------------------------------------------------------------


def test_migrations_run_once_each_and_in_order(path: Path) -> None:
    steps = (
        *schema.MIGRATIONS,
        "CREATE TABLE a (x)",
        "ALTER TABLE a ADD COLUMN y; DROP INDEX event_time",
    )
    with EventStore(path) as recorder:
        recorder.record(recorder.begin("a"), [enter(1)])
    db = schema.connect(path, write=True)
    assert schema.migrate(db, path, steps) == len(schema.MIGRATIONS)
    assert schema.migrate(db, path, steps) == len(steps)
    assert [row[1] for row in db.execute("PRAGMA table_info(a)")] == ["x", "y"]
    assert db.execute("SELECT count(*) FROM event").fetchone() == (1,)
    db.close()


def test_a_migration_that_fails_leaves_the_version_before(path: Path) -> None:
    EventStore(path).close()
    db = schema.connect(path, write=True)
    broken = (*schema.MIGRATIONS, "CREATE TABLE a (x); CREATE TABLE event (x)")
    with pytest.raises(StoreError, match=f"version {len(broken)}"):
        schema.migrate(db, path, broken)
    assert db.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'a'").fetchall() == []
    db.close()


def test_a_file_of_a_newer_edgepose_is_refused(path: Path) -> None:
    EventStore(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    for opener in (EventStore, EventLog):
        with pytest.raises(StoreError, match="Update edgepose"):
            opener(path)


def test_nothing_is_left_beside_a_file_of_another_program(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.execute("PRAGMA application_id = 7")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError):
        EventStore(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if p.name.endswith(".lock")] == []


def test_retention_by_age(path: Path) -> None:
    day = 86400.0
    with EventStore(path, clock=lambda: NOW) as recorder:
        session = recorder.begin("a", NOW - 10 * day)
        recorder.record(session, [enter(k, NOW - k * day) for k in (9, 5, 3, 1)])
    with EventStore(path, retention=Retention(days=4), clock=lambda: NOW):
        assert eventually(lambda: [e.track for e in read(path)] == [3, 1])


def test_a_clock_that_starts_far_ahead_deletes_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a board whose battery is empty, started twice before the network sets its clock."""
    caplog.set_level("INFO")
    with EventStore(path, clock=lambda: NOW) as recorder:
        recorder.record(recorder.begin("a", NOW), [enter(k) for k in range(2000)])
    keep = Retention(days=30, megabytes=0.1)
    for start in range(2):
        wrong = NOW + 4000 * 86400 + 30 * start
        with EventStore(path, retention=keep, clock=wrong.__float__) as recorder:
            recorder.record(recorder.begin("b", wrong), [enter(3000 + start, wrong)])
            assert eventually(lambda: len(read(path)) < 1500)  # the bound in bytes holds
    assert len(read(path)) > 100
    told = [r.getMessage() for r in caplog.records if "the clock (" in r.getMessage()]
    assert len(told) == 2  # at each start
    assert "(2037-" in told[0]


def test_a_clock_that_leaps_is_believed_when_it_keeps_to_it(path: Path) -> None:
    clock = [NOW]
    pace = Pace(upkeep=1.0)
    with EventStore(path, retention=Retention(days=1), clock=lambda: clock[0], pace=pace) as store:
        store.record(store.begin("a", NOW), [enter(1)])
        assert store.flush()
        clock[0] = NOW + 10 * 86400
        assert eventually(lambda: not read(path))


def test_retention_by_size_keeps_the_newest(path: Path) -> None:
    with EventStore(path) as recorder:
        session = recorder.begin("a")
        recorder.record(session, [replace(enter(k), note="z" * 1000) for k in range(2000)])
    before = path.stat().st_size
    limit = 1.0
    with EventStore(path, retention=Retention(megabytes=limit)) as recorder:
        assert eventually(lambda: len(read(path)) < 1000)
        recorder.flush()
    tracks = [e.track for e in read(path)]
    assert tracks == list(range(2000 - len(tracks), 2000))
    assert len(tracks) > 300
    assert path.stat().st_size < 1.1e6 < before


def test_a_camera_may_have_days_of_its_own(path: Path) -> None:
    day, ages = 86400.0, (9, 5, 3, 1)
    with EventStore(path, clock=lambda: NOW) as recorder:
        for n, camera in enumerate(("door", "desk", "roof")):
            session = recorder.begin("a", NOW - 10 * day, camera=camera)
            recorder.record(session, [enter(10 * n + k, NOW - k * day) for k in ages])
    keep = Retention(days=4, cameras={"desk": 2, "roof": 0})  # 0 = never
    with EventStore(path, retention=keep, clock=lambda: NOW):
        left = {3, 1, 11, 29, 25, 23, 21}
        assert eventually(lambda: {e.track for e in read(path)} == left)


def test_a_busy_camera_takes_no_room_from_a_quiet_one(path: Path) -> None:
    with EventStore(path) as recorder:
        quiet, busy = (recorder.begin("a", camera=camera) for camera in ("quiet", "busy"))
        recorder.record(quiet, [replace(enter(k), note="z" * 1000) for k in range(20)])
        recorder.record(busy, [replace(enter(100 + k), note="z" * 1000) for k in range(1500)])
    with EventStore(path, retention=Retention(megabytes=0.5)) as recorder:
        assert eventually(lambda: len(read(path)) < 600)
        recorder.flush()
    tracks = [e.track for e in read(path)]
    assert tracks[:20] == list(range(20))
    assert tracks[20:] == list(range(1600 - len(tracks[20:]), 1600))
    assert len(tracks) > 100


def test_recording_costs_the_caller_next_to_nothing(path: Path) -> None:
    """No timed assertion: the calls never touch the database, so that a locked one does not hold them."""
    with EventStore(path) as recorder:
        session = recorder.begin("a")
        recorder.flush()
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        recorder.record(session, [enter(k) for k in range(100)])
        another = recorder.begin("b")
        recorder.end(another)
        assert not recorder.flush(0.2)
        blocker.execute("ROLLBACK")
        blocker.close()
        assert recorder.flush()
    assert len(read(path)) == 100


# what no disk and no file name may do ------------------------------------------------------------------


def test_a_file_name_that_is_no_text_is_recorded_and_found(path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    with EventStore(path) as recorder:
        recorder.record(recorder.begin(name), [enter(1, zone="\ud800")])
    (event,) = read(path, sources=(name,), zones=("\ud800",))
    assert event.source.encode() == b"caf\\udce9.mp4"
    assert recorder.put_aside == 0


@pytest.mark.parametrize(
    "poison",
    [
        {"track": 2**70},
        {"time": "noon"},
        {"time": float("nan")},
        {"box": (1.0, 2.0, 3.0)},
        {"note": None},
        {"dwell": object()},
    ],
)
def test_an_event_that_can_never_be_written_is_put_aside(
    path: Path, poison: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Event] = []
    with EventStore(path, on_commit=told.extend) as recorder:
        session = recorder.begin("a", NOW)
        recorder.record(session, [enter(1), replace(enter(2), **poison), enter(3)])
        assert recorder.flush()
        assert recorder.alive
        assert recorder.error is None
        assert recorder.put_aside == 1
        recorder.record(session, [enter(4)])
    assert [e.track for e in read(path)] == [1, 3, 4] == [e.track for e in told]
    assert "put aside" in caplog.text


def test_pictures_that_wait_are_bounded_in_bytes(path: Path) -> None:
    recorder = EventStore(path, pace=Pace(retry=0.05, pictures=1000))
    session = recorder.begin("a")
    recorder.flush()
    recorder._writer._db.execute("PRAGMA query_only = ON")
    recorder.record(session, [enter(k) for k in range(10)], [bytes(300)] * 10)
    assert recorder.without_picture == 7
    recorder._writer._db.execute("PRAGMA query_only = OFF")
    assert recorder.flush()
    recorder.record(session, [enter(10)], [bytes(900)])  # the room is there again
    recorder.close()
    events = read(path)
    assert [bool(e.snapshot) for e in events] == [True] * 3 + [False] * 7 + [True]


def test_events_are_written_though_their_pictures_are_not(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots.folder(path).write_text("a file where the folder should be")
    with EventStore(path) as recorder:
        session = recorder.begin("a")
        recorder.record(session, [enter(1), enter(2)], [b"jpeg", b"jpeg"])
        assert recorder.flush()
        assert recorder.without_picture == 2
        assert recorder.error is None
    assert [(e.track, e.snapshot) for e in read(path)] == [(1, ""), (2, "")]
    assert caplog.text.count("Pictures of events cannot be written") == 1


def test_retention_makes_room_while_events_wait_for_it(path: Path) -> None:
    clock = [NOW]
    keep = Retention(days=1)
    pace = Pace(retry=0.02, upkeep=0.5)
    with EventStore(path, retention=keep, clock=lambda: clock[0], pace=pace) as recorder:
        session = recorder.begin("a", NOW)
        recorder.record(session, [enter(k, zone="z" * 2000) for k in range(100)])
        assert recorder.flush()
        (pages,) = recorder._writer._db.execute("PRAGMA page_count").fetchone()
        recorder._writer._db.execute(f"PRAGMA max_page_count = {pages}")
        clock[0] = NOW + 10 * 86400
        recorder.record(session, [enter(k, clock[0], "y" * 2000) for k in range(100, 150)])
        assert recorder.flush(30)
    assert [e.track for e in read(path)] == list(range(100, 150))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_old_pictures_make_room_on_a_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    clock = [NOW]
    pace = Pace(retry=0.05, upkeep=0.3)
    path = disk / "events.db"
    try:
        with EventStore(
            path, retention=Retention(days=1), clock=lambda: clock[0], pace=pace
        ) as recorder:
            session = recorder.begin("a", NOW)
            recorder.record(session, [enter(k) for k in range(80)], [bytes(100_000)] * 80)
            assert recorder.flush()
            assert recorder.without_picture
            with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
            clock[0] = NOW + 10 * 86400
            recorder.record(session, [enter(100, clock[0], "z" * 100_000)])
            assert recorder.flush(30)
            assert eventually(lambda: len(read(path)) == 1)
        assert not list(disk.rglob("*.jpg"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_bound_in_megabytes_counts_pictures(path: Path) -> None:
    with EventStore(path, retention=Retention(megabytes=1), pace=Pace(retry=0.01)) as recorder:
        session = recorder.begin("a", NOW)
        for k in range(60):  # more than a tenth of the bound is cause enough for a clean-up
            recorder.record(session, [enter(k)], [bytes(100_000)])
        recorder.flush()
        assert eventually(lambda: _pictures(path) < 1_000_000)
        assert eventually(lambda: len(read(path)) < 10)
    tracks = [e.track for e in read(path)]
    assert tracks == list(range(60 - len(tracks), 60))


def _pictures(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # one is deleted while we look
        return sum(p.stat().st_size for p in snapshots.folder(path).rglob("*.jpg"))
    return 1 << 30


def test_pictures_half_written_by_a_killed_process_are_swept(path: Path) -> None:
    with EventStore(path) as recorder:
        recorder.record(recorder.begin("a"), [enter(1)], [b"jpeg"])
    (kept,) = snapshots.folder(path).rglob("*.jpg")
    halves = [kept.with_name("2.part"), kept.with_name(".3.jpg.77.aa.part")]
    for half in halves:
        half.write_bytes(b"je")
    EventStore(path).close()
    assert kept.exists()
    assert not any(half.exists() for half in halves)


@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_what_is_no_file_is_refused_at_once(path: Path, suffix: str) -> None:
    os.mkfifo(path.with_name(path.name + suffix))
    with pytest.raises(StoreError, match="not a file"):
        EventStore(path)
    if not suffix:
        with pytest.raises(StoreError, match="not a file"):
            EventLog(path)


def test_paths_in_a_database_lead_nowhere_else(path: Path) -> None:
    secret = path.parent / "secret.jpg"
    secret.write_bytes(b"secret")
    with EventStore(path) as recorder:
        recorder.record(recorder.begin("a", NOW - 1e7), [enter(1, NOW - 1e7)], [b"jpeg"])
    folder = snapshots.folder(path)
    (folder / "link.jpg").symlink_to(secret)
    (folder / "notes.txt").write_text("mine")
    wrong: list[Any] = [
        str(secret), "secret.jpg", "events-snapshots/../secret.jpg", "events-snapshots/link.jpg",
        "events-snapshots/notes.txt", "events-snapshots", "a\0b.jpg", 7, b"x.jpg", "x" * 5000 + ".jpg",
    ]  # fmt: skip
    for snapshot in wrong:
        assert snapshots.read(path, snapshot) is None
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("UPDATE event SET snapshot = ?", (snapshot,))
        db.execute("UPDATE session SET started = ?", (NOW - 7200,))  # the clock can be believed
        db.close()
        with EventStore(path, retention=Retention(days=1), clock=lambda: NOW) as recorder:
            assert eventually(lambda: not read(path))
            recorder.record(recorder.begin("a", NOW - 1e7), [enter(1, NOW - 1e7)])
    assert secret.read_bytes() == b"secret"
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize("when", [1e300, -1e300, 253402300800.0, float("inf")])
def test_times_that_no_calendar_has_are_read(path: Path, when: float) -> None:
    with EventStore(path) as recorder:
        recorder.record(recorder.begin("a"), [enter(1, when)])
    (event,) = read(path)
    assert event.as_dict()["time"][4] == "-"


def test_a_number_too_large_for_the_database_is_a_usage_error(path: Path) -> None:
    EventStore(path).close()
    with pytest.raises(UsageError, match="too large"):
        read(path, tracks=(2**70,))
