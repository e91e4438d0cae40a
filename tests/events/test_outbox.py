"""The outbox: a cursor that loses nothing, whatever is deleted, replaced or closed around it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.events import schema
from edgepose.events.event import Event, event_of
from edgepose.events.outbox import Outbox
from edgepose.events.store import EventStore
from edgepose.events.tables import Retention, clean

NOW = 1_790_000_000.0


def record(path: Path, count: int, *, example: bool = False, when: float = NOW) -> None:
    with EventStore(path) as store:
        session = store.begin("cam", when, example=example)
        store.record(session, [Event("enter", when + i, i) for i in range(count)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def test_a_cursor_goes_on_where_it_stood(path: Path) -> None:
    record(path, 5)
    with Outbox(path, "centre", from_start=True) as outbox:
        first = outbox.after(outbox.upto, 3)
        assert [e.id for e in first] == [1, 2, 3]
        outbox.confirm(3, 3)
        run = outbox.run
    with Outbox(path, "centre", from_start=True) as again:
        assert (again.run, again.upto) == (run, 3)
        assert [e.id for e in again.after(again.upto, 10)] == [4, 5]
        waiting = again.waiting()
    assert (waiting.events, waiting.oldest, waiting.delivered, waiting.dropped) == (
        2,
        NOW + 3,
        3,
        0,
    )


def test_each_target_has_its_own_and_a_new_one_may_begin_now(path: Path) -> None:
    record(path, 2)
    with Outbox(path, "a", from_start=True) as a, Outbox(path, "b", from_start=False) as b:
        record(path, 1)
        assert [e.id for e in a.after(a.upto, 9)] == [1, 2, 3]
        assert [e.id for e in b.after(b.upto, 9)] == [3]


def test_examples_are_not_delivered(path: Path) -> None:
    record(path, 2, example=True)
    record(path, 1)
    with Outbox(path, "a", from_start=True) as outbox:
        assert [e.id for e in outbox.after(0, 9)] == [3]
        assert outbox.waiting().events == 1


def test_a_database_of_before_gets_its_number(path: Path) -> None:
    record(path, 1)
    db = sqlite3.connect(path)
    db.executescript(
        "DROP TABLE database; DROP TABLE delivery; ALTER TABLE session DROP COLUMN camera; PRAGMA user_version = 2"
    )
    db.close()
    with Outbox(path, "a", from_start=True) as outbox:
        assert len(outbox.run) == 32
        assert [e.id for e in outbox.after(0, 9)] == [1]


def test_a_replaced_file_is_another_run(path: Path) -> None:
    record(path, 2)
    with Outbox(path, "a", from_start=True) as outbox:
        outbox.confirm(2, 2)
        run = outbox.run
        assert not outbox.renew()
        for file in path.parent.glob("events.db*"):
            file.unlink()
        record(path, 1)
        assert outbox.renew()
        assert outbox.run != run
        assert [e.id for e in outbox.after(outbox.upto, 9)] == [1]


def test_a_file_that_takes_its_place_is_not_mixed_with_it(path: Path) -> None:
    """The log of the old file, which is still there, is no part of the new one."""
    restored = path.with_name("backup.db")
    record(restored, 3)
    with EventStore(path) as recorder, Outbox(path, "a", from_start=True) as outbox:
        recorder.begin("film.mp4", NOW)
        assert recorder.flush()
        restored.replace(path)
        assert outbox.renew()
        assert [e.id for e in outbox.after(0, 9)] == [1, 2, 3]
    db = schema.connect(path, write=False)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_retention_by_age_waits_for_delivery(path: Path) -> None:
    record(path, 4)
    with Outbox(path, "a", from_start=True) as outbox:
        outbox.confirm(2, 2)
        db = schema.connect(path, write=True)
        clean(db, Retention(days=1), NOW + 10 * 86400, path)
        assert [e.id for e in outbox.after(0, 9)] == [3, 4]
        db.execute("UPDATE delivery SET seen = 0")  # nobody has used the target for months
        clean(db, Retention(days=1), NOW + 10 * 86400, path)
        db.close()
        assert outbox.after(0, 9) == []


def test_what_the_disk_forces_out_is_counted(path: Path) -> None:
    record(path, 3000)
    with Outbox(path, "a", from_start=True) as outbox:
        outbox.confirm(100, 100)
        db = schema.connect(path, write=True)
        clean(db, Retention(megabytes=0.15), NOW, path)
        (left,) = db.execute("SELECT count(*) FROM event").fetchone()
        db.close()
        waiting = outbox.waiting()
    assert 0 < left < 2900
    assert waiting.events == left
    assert waiting.dropped == 3000 - 100 - left


events = st.builds(
    Event,
    st.sampled_from(["enter", "exit", "cross"]),
    st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000),
    st.none() | st.integers(0, 2**63 - 1),
    st.text(),
    st.text(),
    st.none() | st.integers(0, 2**63 - 1),
    st.none() | st.integers(0, 10**9).map(lambda ms: ms / 1000),
    st.none() | st.tuples(*[st.integers(-(10**6), 10**6).map(lambda v: v / 10)] * 4),
    st.text(),
    st.text(),
)


@given(events)
def test_an_event_comes_back_from_its_dictionary(event: Event) -> None:
    back = event_of(event.as_dict())
    assert back.as_dict() == event.as_dict()


BAD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Event("enter", 0).as_dict(), "else"]), BAD))
def test_what_is_no_event_is_a_value_error(data: dict[str, object]) -> None:
    try:
        event = event_of(data)
    except ValueError:
        return
    assert event_of(event.as_dict()).as_dict() == event.as_dict()
