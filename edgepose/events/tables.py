"""What stands in the database and beside it: sessions, events, snapshots; what a crash left, what is too old."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgepose.events import snapshots
from edgepose.events.event import BEGIN, END, ENTER, EXAMPLE, EXIT, LAST, Event, readable

_PICTURES = "SELECT snapshot FROM "
_OF_CAMERAS = "SELECT camera, count(*) FROM event JOIN session ON session.id = event.session GROUP BY camera ORDER BY 2 DESC LIMIT 1"
STEP = 500  # rows deleted in a transaction
HELD = 30 * 86400.0  # a target that was not used for so many seconds holds nothing back


@dataclass(frozen=True)
class Retention:
    """What is kept; 0 = all.

    Attributes:
        days: age of the oldest event; one that is still to be delivered stays longer.
        megabytes: size of the database and its pictures; beyond it the oldest of the camera that has most go,
            delivered or not: a busy camera takes no room from a quiet one.
        cameras: by name the days of a camera that has its own.
    """

    days: float = 0.0
    megabytes: float = 0.0
    cameras: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Session:
    """One run over one source. `name` is for people, `key` is unique in the world."""

    source: str
    started: float
    name: str = ""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    recorded: int = 0
    camera: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or session_name(self.started)


def session_name(started: float, kind: str = "session") -> str:
    """For example session-20261121T071650Z."""
    moment = datetime.fromtimestamp(min(max(started, 0.0), LAST), timezone.utc)
    return kind + moment.strftime("-%Y%m%dT%H%M%SZ")


def insert_session(db: sqlite3.Connection, session: Session) -> int:
    """Write a session where it is not there yet; its row."""
    db.execute(
        "INSERT OR IGNORE INTO session (key, name, source, camera, started, seen) VALUES (?, ?, ?, ?, ?, ?)",
        (
            session.key,
            session.name,
            readable(session.source),
            session.camera,
            session.started,
            session.started,
        ),
    )
    found = db.execute("SELECT id FROM session WHERE key = ?", (session.key,)).fetchone()
    return int(found[0])


def insert(db: sqlite3.Connection, session: int, number: int, event: Event) -> int:
    """Write an event; its id. One that is there already (by session and number) stays as it is.

    Raises:
        TypeError, ValueError, OverflowError: a field is not what it should be.
    """
    left, top, right, bottom = map(float, event.box) if event.box else (None,) * 4
    columns = "session number event time track zone direction frame dwell left top right bottom note snapshot gesture score"
    values: tuple[Any, ...] = (
        session,
        number,
        event.event,
        float(event.time),
        event.track,
        readable(event.zone),
        readable(event.direction),
        event.frame,
        event.dwell,
        left,
        top,
        right,
        bottom,
        readable(event.note),
        event.snapshot,
        readable(event.gesture),
        event.score,
    )
    names, marks = columns.replace(" ", ", "), ", ".join("?" * len(values))
    done = db.execute(f"INSERT OR IGNORE INTO event ({names}) VALUES ({marks})", values)
    if done.rowcount == 1 and done.lastrowid is not None:
        return done.lastrowid
    where = "SELECT id FROM event WHERE session = ? AND number = ?"
    return int(db.execute(where, (session, number)).fetchone()[0])


def close_dangling(db: sqlite3.Connection, now: float) -> int:
    """Give what an unfinished session began (enters, gestures) its end, at the last sign of life; how many."""
    db.execute("BEGIN IMMEDIATE")
    sessions = db.execute("SELECT id, seen FROM session WHERE ended IS NULL").fetchall()
    closed = 0
    for session, seen in sessions:
        closed += _close_visits(db, session, min(seen, now))
        db.execute("UPDATE session SET ended = ? WHERE id = ?", (min(seen, now), session))
    db.execute("COMMIT")
    return closed


def _close_visits(db: sqlite3.Connection, session: int, seen: float) -> int:
    kinds = f"event IN ('{ENTER}', '{EXIT}', '{BEGIN}', '{END}')"
    last = f"SELECT max(id) FROM event WHERE session = ? AND {kinds} GROUP BY track, zone, gesture"
    rows = db.execute(
        f"SELECT event, time, track, zone, gesture, score FROM event WHERE id IN ({last}) "
        f"AND event IN ('{ENTER}', '{BEGIN}') ORDER BY id",
        (session,),
    ).fetchall()
    (number,) = db.execute(
        "SELECT coalesce(max(number), 0) FROM event WHERE session = ?", (session,)
    ).fetchone()
    ends = {ENTER: EXIT, BEGIN: END}
    for i, (kind, began, track, zone, gesture, score) in enumerate(rows, 1):
        time_ = max(began, seen)
        event = Event(ends[kind], time_, track, zone, dwell=time_ - began, note="closed at start")
        insert(db, session, number + i, replace(event, gesture=gesture, score=score))
    return len(rows)


def end_session(db: sqlite3.Connection, row: int, ended: float) -> None:
    """Write the end of a session."""
    update = "UPDATE session SET ended = ?, seen = max(seen, ?) WHERE id = ?"
    db.execute(update, (ended, ended, row))


def saw(db: sqlite3.Connection, row: int, when: float) -> None:
    """Write a sign of life of a session."""
    db.execute("UPDATE session SET seen = max(seen, ?) WHERE id = ?", (when, row))


def beat(db: sqlite3.Connection, keys: Sequence[str], now: float) -> None:
    """Write a sign of life of sessions by their keys."""
    for key in keys:
        db.execute("UPDATE session SET seen = max(seen, ?) WHERE key = ?", (now, key))


def clean(db: sqlite3.Connection, keep: Retention, now: float, path: Path) -> None:
    """Delete what is too old or too much, oldest first, and give the space back.

    Works on a full disk too: pictures go before the rows that name them, and rows in small
    transactions, which find room in the log of the database.
    """
    gone = 0
    held = "SELECT coalesce(min(upto), 9e18) FROM delivery WHERE seen > ?"
    for days, whose, names in _ages(keep):
        old = f"time < ? AND id <= ({held}) AND session IN (SELECT id FROM session WHERE {whose})"
        gone += _delete(db, path, old, now - days * 86400, now - HELD, *names)
    if keep.megabytes:
        gone += _shrink(db, path, keep.megabytes * 1e6)
    empty = "NOT EXISTS (SELECT 1 FROM event WHERE event.session = session.id)"
    if gone or keep.days:
        db.execute(f"DELETE FROM session WHERE ended IS NOT NULL AND {empty}")
        # `execute` would step it once, which frees one page
        db.executescript("PRAGMA incremental_vacuum")


def lived(db: sqlite3.Connection, since: float, until: float) -> bool:
    """Whether an event, the begin of a session or its last sign of life lies between two times."""
    found = (
        "SELECT EXISTS (SELECT 1 FROM event WHERE time BETWEEN ?1 AND ?2) "
        "OR EXISTS (SELECT 1 FROM session WHERE started BETWEEN ?1 AND ?2 OR seen BETWEEN ?1 AND ?2)"
    )
    return bool(db.execute(found, (since, until)).fetchone()[0])


def is_too_old(db: sqlite3.Connection, keep: Retention, now: float) -> bool:
    """Whether an event is older than it may be."""
    return any(
        db.execute(
            f"SELECT 1 FROM event WHERE time < ? AND session IN (SELECT id FROM session WHERE {whose}) LIMIT 1",
            (now - days * 86400, *names),
        ).fetchone()
        for days, whose, names in _ages(keep)
    )


def _ages(keep: Retention) -> list[tuple[float, str, tuple[str, ...]]]:
    """(days, condition of the session, its values) of the cameras that have their own, and of all others."""
    own, marks = tuple(keep.cameras), ", ".join("?" * len(keep.cameras))
    ages = [(days, "camera = ?", (name,)) for name, days in keep.cameras.items()]
    return [age for age in [*ages, (keep.days, f"camera NOT IN ({marks})", own)] if age[0]]


def _shrink(db: sqlite3.Connection, path: Path, limit: float) -> int:
    """Delete the oldest events until database and pictures have at most `limit` bytes; how many."""
    gone = 0
    pictures = sum(snapshots.size(path, row[0]) for row in db.execute(_PICTURES + "event"))
    while pictures + _bytes(db) > limit:
        most = db.execute(_OF_CAMERAS).fetchone()
        if most is None:
            break
        camera, count = most
        oldest = "SELECT event.id FROM event JOIN session ON session.id = event.session WHERE camera = ? ORDER BY event.id LIMIT ?"
        step = (camera, max(1, count // 20))
        found = db.execute(f"{_PICTURES} event WHERE id IN ({oldest})", step).fetchall()
        pictures -= sum(snapshots.size(path, row[0]) for row in found)
        shown = f"SELECT id FROM session WHERE name LIKE '{EXAMPLE}-%'"
        lost = f"SELECT count(*) FROM event WHERE id > upto AND id IN ({oldest}) AND session NOT IN ({shown})"
        db.execute(f"UPDATE delivery SET dropped = dropped + ({lost})", step)
        gone += _delete(db, path, f"id IN ({oldest})", *step)
    return gone


def _delete(db: sqlite3.Connection, path: Path, where: str, *values: float | str) -> int:
    """Delete events and their snapshots; how many."""
    rows = db.execute(f"SELECT id, snapshot FROM event WHERE {where}", values).fetchall()
    for _, snapshot in rows:
        snapshots.delete(path, snapshot)
    for i in range(0, len(rows), STEP):
        ids = [(row[0],) for row in rows[i : i + STEP]]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("DELETE FROM event WHERE id = ?", ids)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    return len(rows)


def _bytes(db: sqlite3.Connection) -> int:
    """Size of the database without the pages that are free."""
    size, pages, free = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (pages - free)
