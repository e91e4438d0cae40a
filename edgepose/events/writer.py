"""Items into the database: opening and repairing it, transactions, and what an item that cannot be stored does to others."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from edgepose.closing import Closing
from edgepose.errors import StoreError
from edgepose.events import snapshots
from edgepose.events.ages import Ages
from edgepose.events.event import Event
from edgepose.events.schema import (
    check_path,
    connect,
    damage,
    inodes,
    migrate,
    part_from,
    put_aside,
)
from edgepose.events.tables import (
    Retention,
    Session,
    beat,
    clean,
    close_dangling,
    end_session,
    insert,
    insert_session,
    is_too_old,
    lived,
    saw,
)

log = logging.getLogger(__name__)

AGAIN = 3600.0  # seconds between two files that are put aside while it runs

# errors of one item, not of the disk: all others but these and those of SQLite and the system are too
_OF_AN_ITEM = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)


@dataclass(frozen=True)
class Item:
    """Something for the writer: an event, the end of a session (time), or a question for a flush."""

    session: Session | None = None
    number: int = 0
    event: Event | None = None
    picture: bytes | None = None
    end: float | None = None
    done: threading.Event | None = None


class Writer(Closing):
    """Writes items; for one thread.

    Args:
        path: the file. clock: UTC seconds. upkeep: seconds between clean-ups.

    Attributes:
        put_aside: items that can never be written. without_picture: events whose picture found no room.
        fresh_bytes: of pictures written since the last `clean`.
        damaged: files that were found damaged and put aside.

    Raises:
        StoreError: the file cannot be opened, is none, or belongs to another program.
    """

    def __init__(self, path: Path, clock: Callable[[], float], upkeep: float) -> None:
        self.path, self._clock, self._ages = path, clock, Ages(upkeep)
        self.put_aside = self.without_picture = self.fresh_bytes = self.damaged = 0
        self._renewed = float("-inf")
        self._ids: dict[str, int] = {}
        self._had_room = True
        self._lock = self._prepare()
        try:
            self._db: sqlite3.Connection | None = self._first_connection()
        except BaseException as e:
            self._lock.close()
            if self._lock_is_new:  # nothing is left beside a file that is not ours
                Path(self._lock.name).unlink(missing_ok=True)
            if isinstance(e, sqlite3.Error):
                raise StoreError(f"Events {self.path} cannot be written: {e}.") from None
            raise

    # opening -------------------------------------------------------------------------------------
    def _prepare(self) -> IO[str]:
        """Make the folder and open the lock file."""
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            check_path(self.path)
            check_path(lock)
            self._lock_is_new = not lock.exists()
            return open(lock, "a")
        except StoreError:
            raise
        except (OSError, ValueError) as e:
            raise StoreError(f"Events {self.path} cannot be made: {e}.") from None

    def _connect(self) -> sqlite3.Connection:
        db = connect(self.path, write=True)
        try:
            migrate(db, self.path)
            self._inodes = inodes(self.path)
            return db
        except BaseException:
            db.close()
            raise

    def _first_connection(self) -> sqlite3.Connection:
        """Open, and repair what a dead process left, unless another one is recording into this file.

        Each recorder holds the lock file shared; who gets it for itself alone knows that there is none.
        """
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            return self._connect()
        fault = damage(self.path)
        if fault:
            aside = put_aside(self.path)
            log.warning("Events %s were damaged (%s); put aside as %s.", self.path, fault, aside)
            self.damaged = 1
        db = self._connect()
        closed = close_dangling(db, self._clock())
        if closed:
            log.info("Closed %d visits that the last run left open.", closed)
        snapshots.sweep(self.path)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        return db

    # writing -------------------------------------------------------------------------------------
    def write(self, items: Sequence[Item]) -> list[Event]:
        """Write items in one transaction, or one by one where one of them is at fault; the events with ids.

        Raises:
            OSError, sqlite3.Error: the file cannot be written now; writing all again does no harm.
        """
        db = self._connection()
        try:
            return self._transaction(db, items)
        except Exception as e:  # one bad item must not hold up the others
            if not _is_of_an_item(e):
                raise
            self.undo()
            return self._one_by_one(db, items)

    def beat(self, keys: Sequence[str]) -> None:
        """Say that sessions are alive: a crash closes them at this time."""
        beat(self._connection(), keys, self._clock())

    def clean(self, keep: Retention) -> None:
        """Delete what is too old or too much; by age only where the clock can be believed."""
        self.fresh_bytes = 0
        db, now = self._connection(), self._clock()
        if self._ages.doubtful(now, partial(lived, db)):
            if is_too_old(db, keep, now):
                self._ages.say(f"Events {self.path}", now)
            keep = Retention(megabytes=keep.megabytes)
        clean(db, keep, now, self.path)

    def undo(self) -> None:
        """End a transaction that failed."""
        self._ids.clear()
        with contextlib.suppress(sqlite3.Error):
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def renew(self, error: Exception) -> bool:
        """After an error that says that the file is damaged: put it aside, so that the next attempt makes a
        new one. False where the error is another, or where this was done within the last hour: a disk that
        spoils every file is not filled with them.
        """
        now = time.monotonic()
        # SQLite's codes CORRUPT and NOTADB have no class of their own
        if type(error) is not sqlite3.DatabaseError or now - self._renewed < AGAIN:
            return False
        self._renewed = now
        if self._db is not None:
            self._db.close()
            self._db = None
        self._ids.clear()
        if self.path.exists():
            aside = put_aside(self.path)
            self.damaged += 1
            log.error("Events %s are damaged (%s); put aside as %s.", self.path, error, aside)
        return True

    def close(self) -> None:
        """Close the file and its lock."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()
        self._lock.close()

    def _transaction(self, db: sqlite3.Connection, items: Sequence[Item]) -> list[Event]:
        if not any(item.session for item in items):
            return []
        db.execute("BEGIN IMMEDIATE")
        written = [event for item in items if (event := self._write_item(db, item)) is not None]
        db.execute("COMMIT")
        return written

    def _one_by_one(self, db: sqlite3.Connection, items: Sequence[Item]) -> list[Event]:
        """As many items as can be written, each in a transaction of its own."""
        written: list[Event] = []
        for item in items:
            try:
                written += self._transaction(db, [item])
            except (
                Exception
            ) as e:  # counted and said; without it the writer would stop here for ever
                if not _is_of_an_item(e):
                    raise
                self.undo()
                self.put_aside += 1
                self._say_put_aside(item, e)
        return written

    def _say_put_aside(self, item: Item, error: Exception) -> None:
        """Say the 1st, the 10th, the 100th, ...: a source may make nothing but such events."""
        if str(self.put_aside).strip("0") == "1":
            text = "An event cannot be stored and is put aside, the %d. so far (%s: %s): %r."
            log.warning(text, self.put_aside, type(error).__name__, error, item.event)

    def _write_item(self, db: sqlite3.Connection, item: Item) -> Event | None:
        if item.session is None:
            return None
        if item.session.key not in self._ids:
            self._ids[item.session.key] = insert_session(db, item.session)
        row = self._ids[item.session.key]
        if item.end is not None:
            end_session(db, row, item.end)
        if item.event is None:
            return None
        event = replace(item.event, snapshot=self._write_picture(item))
        event = replace(event, id=insert(db, row, item.number, event))
        saw(db, row, event.time)
        return event

    def _write_picture(self, item: Item) -> str:
        """Store a snapshot; its path for the database, "" where there is none or no room for it."""
        if item.session is None or item.picture is None:
            return ""
        folder = f"{item.session.name}-{item.session.key[:6]}"
        try:
            path = snapshots.write(self.path, folder, item.number, item.picture)
        except OSError as e:
            self.without_picture += 1
            self.fresh_bytes = 1 << 62  # a clean-up is due
            if self._had_room:
                log.warning("Pictures of events cannot be written: %s. Events go on.", e.strerror)
            self._had_room = False
            return ""
        self.fresh_bytes += len(item.picture)
        self._had_room = True
        return path

    def _connection(self) -> sqlite3.Connection:
        """The database; opened anew where another file, or none, has its name: SQLite would go on in the old one.

        Raises:
            StoreError: what has the name now is no database of ours.
        """
        if self._db is not None and inodes(self.path)[0] == self._inodes[0]:
            return self._db
        if self._db is not None:
            db, self._db = self._db, None
            self._ids.clear()
            part_from(db, self.path, self._inodes)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._connect()
        return self._db


def _is_of_an_item(error: Exception) -> bool:
    """True where an item is at fault, False where the disk, the file or the memory is."""
    elsewhere = isinstance(error, (sqlite3.Error, OSError, MemoryError))
    return isinstance(error, _OF_AN_ITEM) or not elsewhere
