"""Importing the database of the OpenVINO demonstration application that edgepose replaces.

Its one table is person_detection (id, session_name, event_name, create_date_time): "appeared" or
"disappeared" whenever the number of people changed, UTC. It knows no persons, so the events have no
track; each becomes an enter or an exit.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgepose.errors import StoreError
from edgepose.events.event import ENTER, EXIT, Event
from edgepose.events.schema import connect, migrate
from edgepose.events.tables import Session, insert, insert_session

DEMO_KINDS = {"appeared": ENTER, "disappeared": EXIT}


@dataclass(frozen=True)
class Imported:
    """What an import did: events written, those that were there already, and rows not understood."""

    new: int
    known: int
    skipped: int
    sessions: int


def import_demo(source: Path, target: Path) -> Imported:
    """Bring the events of a demo database into ours, all or nothing; a second time changes nothing.

    Raises:
        StoreError: the source is missing or has no such table, or the target cannot be written.
    """
    rows = _read(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    db = connect(target, write=True)
    try:
        migrate(db, target)
        db.execute("BEGIN IMMEDIATE")
        done = _write(db, rows, source)
        db.execute("COMMIT")
    except sqlite3.Error as e:
        raise StoreError(f"Events {target} cannot be written: {e}. Nothing was imported.") from None
    finally:
        db.close()
    return done


def _read(source: Path) -> list[tuple[int, str, str, str]]:
    if not source.is_file():
        raise StoreError(f"{source} does not exist.")
    try:
        db = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return db.execute(
                "SELECT id, session_name, event_name, create_date_time FROM person_detection "
                "ORDER BY id"
            ).fetchall()
        finally:
            db.close()
    except sqlite3.Error as e:
        raise StoreError(
            f"{source} is not a database with a table person_detection (id, session_name, "
            f"event_name, create_date_time): {e}."
        ) from None


def _write(db: sqlite3.Connection, rows: list[tuple[int, str, str, str]], source: Path) -> Imported:
    sessions: dict[str, int] = {}
    new = known = skipped = 0
    for number, name, event, when in rows:
        moment = _moment(when)
        if event not in DEMO_KINDS or moment is None or not isinstance(name, str):
            skipped += 1
            continue
        if name not in sessions:
            # the key makes a second import find the same session, and tells namesakes apart
            session = Session(source.name, moment, name, f"person_detection:{name}:{number}:{when}")
            sessions[name] = insert_session(db, session)
        before = db.total_changes
        insert(db, sessions[name], number, Event(DEMO_KINDS[event], moment, note="imported"))
        written = db.total_changes > before
        new, known = new + written, known + (not written)
        db.execute(
            "UPDATE session SET seen = max(seen, ?), ended = max(coalesce(ended, 0), ?) WHERE id = ?",
            (moment, moment, sessions[name]),
        )
    return Imported(new, known, skipped, len(sessions))


def _moment(text: object) -> float | None:
    """UTC seconds of "2021-11-05 10:12:13.123456"."""
    # Python 3.10 knows fractions of 3 or 6 digits only
    whole = re.sub(r"\.(\d{1,6})\d*$", lambda m: "." + m[1].ljust(6, "0"), str(text))
    try:
        return datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
