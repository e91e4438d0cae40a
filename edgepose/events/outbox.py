"""What is still to be delivered: a cursor over the recorded events, one for each target.

An event is on the disk before anybody delivers it, and the cursor moves when the other side has it: so what
is recorded is delivered at least once, whoever is killed when. The run (the database's own number) and the
number of an event name it for ever, so that the other side can tell what it has already.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgepose.closing import Closing
from edgepose.errors import StoreError
from edgepose.events.event import EXAMPLE, Event
from edgepose.events.log import COLUMNS, FROM, row_event
from edgepose.events.schema import connect, inodes, migrate, part_from

T = TypeVar("T")
TOUCH = 1800.0  # seconds between signs that a target is in use: two in a round of retention
_MINE = f"session.name NOT LIKE '{EXAMPLE}-%'"  # nobody counts the people of a test picture


@dataclass(frozen=True)
class Waiting:
    """What a target has not got yet.

    Attributes:
        events: how many; oldest: UTC seconds of the first, None where there is none.
        delivered: events it got. dropped: events that it will never get: the disk was too full to keep them.
    """

    events: int
    oldest: float | None
    delivered: int
    dropped: int


class Outbox(Closing):
    """The cursor of one target. For any number of threads.

    Args:
        path: the database; made where it is missing.
        target: names the cursor.
        from_start: a new target gets all events that are there; else those that come from now on.

    Attributes:
        run: number of the database, unique in the world; changes where the file was replaced.
        upto: the target has all events to this number.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, path: str | Path, target: str, *, from_start: bool) -> None:
        self.path, self._target, self._from_start = Path(path), target, from_start
        self._guard = threading.Lock()
        self._touched = 0.0
        self._open()

    def _open(self) -> None:
        self._db = connect(self.path, write=True)
        try:
            migrate(self._db, self.path)
            self._inodes = inodes(self.path)
            self.run = str(self._db.execute("SELECT uuid FROM database").fetchone()[0])
            newest = "0" if self._from_start else "(SELECT coalesce(max(id), 0) FROM event)"
            self._db.execute(
                f"INSERT OR IGNORE INTO delivery VALUES (?, {newest}, 0, 0, ?)",
                (self._target, time.time()),
            )
            found = "SELECT upto FROM delivery WHERE target = ?"
            self.upto = int(self._db.execute(found, (self._target,)).fetchone()[0])
        except BaseException as e:
            self._db.close()
            if isinstance(e, sqlite3.Error):
                raise StoreError(f"Events {self.path} cannot be read: {e}.") from None
            raise

    def renew(self) -> bool:
        """Look whether the file is still the same one; True where it was replaced and opened anew."""
        with self._guard:
            if inodes(self.path)[0] in (0, self._inodes[0]):
                return False
            part_from(self._db, self.path, self._inodes)
            self._open()
            return True

    def after(self, number: int, limit: int) -> list[Event]:
        """At most `limit` events with greater numbers, in their order.

        Raises:
            StoreError: they cannot be read now.
        """
        query = f"SELECT {COLUMNS} {FROM} WHERE event.id > ? AND {_MINE} ORDER BY event.id LIMIT ?"
        rows = self._do(lambda db: db.execute(query, (number, limit)).fetchall())
        return [row_event(row) for row in rows]

    def confirm(self, upto: int, count: int) -> None:
        """The target has `count` more events, and with them all to this number.

        Raises:
            StoreError: it cannot be written now: after a crash some events would go out again.
        """
        self.upto = max(self.upto, upto)
        change = "UPDATE delivery SET upto = max(upto, ?), delivered = delivered + ?, seen = ?"
        values = (upto, count, time.time(), self._target)
        self._do(lambda db: db.execute(f"{change} WHERE target = ?", values))
        self._touched = time.monotonic()

    def touch(self) -> None:
        """Say twice an hour that the target is in use: retention keeps what it has not got.

        Raises:
            StoreError: it cannot be written now.
        """
        if not self._touched or time.monotonic() - self._touched > TOUCH:
            self.confirm(0, 0)

    def waiting(self) -> Waiting:
        """What the target has not got.

        Raises:
            StoreError: it cannot be read now.
        """
        count = f"SELECT count(*), min(event.time) {FROM} WHERE event.id > ? AND {_MINE}"
        totals = "SELECT delivered, dropped FROM delivery WHERE target = ?"

        def read(db: sqlite3.Connection) -> Waiting:
            events, oldest = db.execute(count, (self.upto,)).fetchone()
            return Waiting(events, oldest, *db.execute(totals, (self._target,)).fetchone())

        return self._do(read)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._guard:
                return work(self._db)
        except sqlite3.Error as e:
            raise StoreError(f"Events {self.path} cannot be read or written: {e}.") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()
