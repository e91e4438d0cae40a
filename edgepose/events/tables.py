"""What stands in the database and beside it: sessions, events, snapshots; what a crash left, what is too old."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgepose.events.event import ENTER, EXIT, Event


@dataclass(frozen=True)
class Retention:
    """What is kept; 0 = all.

    Attributes:
        days: age of the oldest event.
        megabytes: size of the database.
    """

    days: float = 0.0
    megabytes: float = 0.0


@dataclass
class Session:
    """One run over one source. `name` is for people, `key` is unique in the world."""

    source: str
    started: float
    name: str = ""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    recorded: int = 0

    def __post_init__(self) -> None:
        self.name = self.name or session_name(self.started)


def session_name(started: float) -> str:
    """For example session-20261121T071650Z."""
    return datetime.fromtimestamp(started, timezone.utc).strftime("session-%Y%m%dT%H%M%SZ")


def snapshots(path: Path) -> Path:
    """The folder of the snapshots of a database."""
    return path.with_name(path.stem + "-snapshots")


def insert_session(db: sqlite3.Connection, session: Session) -> int:
    """Write a session where it is not there yet; its row."""
    db.execute(
        "INSERT OR IGNORE INTO session (key, name, source, started, seen) VALUES (?, ?, ?, ?, ?)",
        (session.key, session.name, session.source, session.started, session.started),
    )
    found = db.execute("SELECT id FROM session WHERE key = ?", (session.key,)).fetchone()
    return int(found[0])


def insert(db: sqlite3.Connection, session: int, number: int, event: Event) -> int:
    """Write an event; its id. One that is there already (by session and number) stays as it is."""
    box = event.box or (None, None, None, None)
    columns = "session number event time track zone direction frame dwell left top right bottom note snapshot"
    values: tuple[Any, ...] = (
        session,
        number,
        event.event,
        event.time,
        event.track,
        event.zone,
        event.direction,
        event.frame,
        event.dwell,
        *box,
        event.note,
        event.snapshot,
    )
    names, marks = columns.replace(" ", ", "), ", ".join("?" * len(values))
    done = db.execute(f"INSERT OR IGNORE INTO event ({names}) VALUES ({marks})", values)
    if done.rowcount == 1 and done.lastrowid is not None:
        return done.lastrowid
    where = "SELECT id FROM event WHERE session = ? AND number = ?"
    return int(db.execute(where, (session, number)).fetchone()[0])


def close_dangling(db: sqlite3.Connection, now: float) -> int:
    """Give every enter of an unfinished session its exit, at the last sign of life; how many."""
    db.execute("BEGIN IMMEDIATE")
    sessions = db.execute("SELECT id, seen FROM session WHERE ended IS NULL").fetchall()
    closed = 0
    for session, seen in sessions:
        closed += _close_visits(db, session, min(seen, now))
        db.execute("UPDATE session SET ended = ? WHERE id = ?", (min(seen, now), session))
    db.execute("COMMIT")
    return closed


def _close_visits(db: sqlite3.Connection, session: int, seen: float) -> int:
    last = "SELECT max(id) FROM event WHERE session = ? AND event IN (?, ?) GROUP BY track, zone"
    rows = db.execute(
        f"SELECT time, track, zone FROM event WHERE id IN ({last}) AND event = ? ORDER BY id",
        (session, ENTER, EXIT, ENTER),
    ).fetchall()
    (number,) = db.execute(
        "SELECT coalesce(max(number), 0) FROM event WHERE session = ?", (session,)
    ).fetchone()
    for i, (entered, track, zone) in enumerate(rows, 1):
        time_ = max(entered, seen)
        event = Event(EXIT, time_, track, zone, dwell=time_ - entered, note="closed at start")
        insert(db, session, number + i, event)
    return len(rows)


def clean(db: sqlite3.Connection, keep: Retention, now: float, path: Path) -> None:
    """Delete what is too old or too much, oldest first, and give the space back."""
    gone: list[str] = []
    if keep.days:
        gone += _delete(db, "time < ?", now - keep.days * 86400)
    while keep.megabytes and _bytes(db) > keep.megabytes * 1e6:
        (count,) = db.execute("SELECT count(*) FROM event").fetchone()
        if not count:
            break
        oldest = "id IN (SELECT id FROM event ORDER BY id LIMIT ?)"
        gone += _delete(db, oldest, max(1, count // 20))
    empty = "NOT EXISTS (SELECT 1 FROM event WHERE event.session = session.id)"
    if gone or keep.days:
        db.execute(f"DELETE FROM session WHERE ended IS NOT NULL AND {empty}")
        # `execute` would step it once, which frees one page
        db.executescript("PRAGMA incremental_vacuum")
    for snapshot in filter(None, gone):
        file = path.parent / snapshot
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty yet
            file.parent.rmdir()


def _delete(db: sqlite3.Connection, where: str, value: float) -> list[str]:
    """Delete events; their snapshots ("" where they have none)."""
    found = db.execute(f"DELETE FROM event WHERE {where} RETURNING snapshot", (value,)).fetchall()
    return [row[0] for row in found]


def _bytes(db: sqlite3.Connection) -> int:
    """Size of the database without the pages that are free."""
    size, pages, free = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (pages - free)
