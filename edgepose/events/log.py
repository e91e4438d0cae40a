"""Reading events: filters, pages by cursor and by number, counts by hour."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.closing import Closing
from edgepose.errors import StoreError, UsageError
from edgepose.events.event import EXAMPLE, Event, readable
from edgepose.events.schema import MIGRATIONS, connect, inodes, migrate

MAX_PAGE = 1000

COLUMNS = (
    "event.event, event.time, event.track, event.zone, event.direction, event.frame, event.dwell, "
    "event.left, event.top, event.right, event.bottom, event.note, session.source, session.name, session.camera, "
    "event.snapshot, event.id, event.gesture, event.score"
)
FROM = "FROM event JOIN session ON session.id = event.session"


@dataclass(frozen=True)
class Filter:
    """Which events; an empty field lets all pass.

    Attributes:
        events: kinds: enter, exit, cross, begin, end. gestures: names, of begins and ends.
        zones: names; "" is the whole picture.
        tracks, sources, sessions, cameras: track ids, sources, names of sessions and cameras.
        since, until: UTC seconds, `until` not included.
        examples: "only", "with" or "without" the sessions of examples and test pictures; "" =
            without, unless sources or sessions are named.
    """

    events: Sequence[str] = ()
    zones: Sequence[str] = ()
    gestures: Sequence[str] = ()
    tracks: Sequence[int] = ()
    sources: Sequence[str] = ()
    sessions: Sequence[str] = ()
    cameras: Sequence[str] = ()
    since: float | None = None
    until: float | None = None
    examples: str = ""

    def where(self) -> tuple[str, list[Any]]:
        """The condition in SQL, and its values."""
        parts: list[str] = ["1"]
        values: list[Any] = []
        for column, wanted in (
            ("event.event", self.events),
            ("event.zone", self.zones),
            ("event.gesture", self.gestures),
            ("event.track", self.tracks),
            ("session.source", self.sources),
            ("session.name", self.sessions),
            ("session.camera", self.cameras),
        ):
            if wanted:
                parts.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += [readable(v) if isinstance(v, str) else v for v in wanted]
        named = "with" if self.sources or self.sessions else "without"
        if (self.examples or named) != "with":
            negated = "" if self.examples == "only" else "NOT "
            parts.append(f"session.name {negated}LIKE '{EXAMPLE}-%'")
        if self.since is not None:
            parts.append("event.time >= ?")
            values.append(self.since)
        if self.until is not None:
            parts.append("event.time < ?")
            values.append(self.until)
        return " AND ".join(parts), values


@dataclass(frozen=True)
class Page:
    """Events, and the cursor of those behind them; "" at the end."""

    events: tuple[Event, ...]
    cursor: str


@dataclass(frozen=True)
class NumberedPage:
    """A page by number, from 1. `count` is the number of all events, `pages` that of all pages."""

    events: tuple[Event, ...]
    count: int
    page: int
    per_page: int
    pages: int


@dataclass(frozen=True)
class SessionRow:
    """A session: name, source, begin, last sign of life, end (None while it runs), number of events."""

    name: str
    source: str
    started: float
    seen: float
    ended: float | None
    events: int


@dataclass(frozen=True)
class HourCount:
    """Enters, exits and crossings in the hour that starts at `start` (UTC seconds)."""

    start: float
    enter: int = 0
    exit: int = 0
    cross: int = 0


class EventLog(Closing):
    """Reads a database of events, also while it is being written. For any number of threads.

    Raises:
        StoreError: the file is missing, not ours, or made by a newer edgepose.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._guard = threading.Lock()
        self._open()
        if int(self._rows("PRAGMA user_version")[0][0]) != len(MIGRATIONS):
            self._db.close()
            db = connect(self.path, write=True)
            try:
                migrate(db, self.path)
            finally:
                db.close()
            self._open()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._db.close()

    def page(
        self,
        wanted: Filter | None = None,
        *,
        cursor: str = "",
        limit: int = 50,
        newest_first: bool = True,
    ) -> Page:
        """At most `limit` events behind the cursor of an earlier page, "" = from the start.

        New events never shift a page: a cursor names the last event seen, not a number of rows. With
        `newest_first` False the cursor of the last page can be asked again for what came since.

        Raises:
            UsageError: the cursor is not one of ours, or the limit is not 1..1000.
        """
        limit = _bounded(limit, "limit")
        where, values = (wanted or Filter()).where()
        if cursor:
            where += f" AND event.id {'<' if newest_first else '>'} ?"
            values.append(_cursor(cursor))
        order = "DESC" if newest_first else "ASC"
        events = self._events(
            f"WHERE {where} ORDER BY event.id {order} LIMIT ?", [*values, limit + 1]
        )
        more = len(events) > limit
        events = events[:limit]
        if events and (more or not newest_first):
            return Page(tuple(events), str(events[-1].id))
        return Page(tuple(events), "" if newest_first else cursor)

    def numbered(
        self,
        wanted: Filter | None = None,
        *,
        page: int = 1,
        per_page: int = 50,
        newest_first: bool = True,
    ) -> NumberedPage:
        """The page-th `per_page` events; empty behind the last page.

        Raises:
            UsageError: page is less than 1, or per_page is not 1..1000.
        """
        per_page = _bounded(per_page, "per-page")
        if not 1 <= page < 2**40:
            raise UsageError(f"page is {page}; pages count from 1.")
        where, values = (wanted or Filter()).where()
        order = "DESC" if newest_first else "ASC"
        events = self._events(
            f"WHERE {where} ORDER BY event.id {order} LIMIT ? OFFSET ?",
            [*values, per_page, (page - 1) * per_page],
        )
        count = self.count(wanted)
        return NumberedPage(tuple(events), count, page, per_page, -(-count // per_page))

    def all(self, wanted: Filter | None = None, *, newest_first: bool = False) -> Iterator[Event]:
        """Every event, page by page, so that memory stays small."""
        where, values = (wanted or Filter()).where()
        sign, order = ("<", "DESC") if newest_first else (">", "ASC")
        last: float = float("inf") if newest_first else 0
        while True:
            clause = f"WHERE {where} AND event.id {sign} ? ORDER BY event.id {order} LIMIT ?"
            events = self._events(clause, [*values, last, MAX_PAGE])
            yield from events
            if len(events) < MAX_PAGE:
                return
            last = events[-1].id or 0

    def count(self, wanted: Filter | None = None) -> int:
        """How many events."""
        where, values = (wanted or Filter()).where()
        return int(self._rows(f"SELECT count(*) {FROM} WHERE {where}", values)[0][0])

    def hours(
        self, wanted: Filter | None = None, *, offset: float | None = None
    ) -> list[HourCount]:
        """Counts of the hours in which something happened, oldest first.

        Args:
            wanted: which events.
            offset: seconds by which local time is ahead of UTC, where hours start; default this machine's.
        """
        offset = float(time.localtime().tm_gmtoff) if offset is None else offset
        where, values = (wanted or Filter()).where()
        sums = ", ".join(f"sum(event.event = '{kind}')" for kind in ("enter", "exit", "cross"))
        rows = self._rows(
            f"SELECT CAST((event.time + ?) / 3600 AS INTEGER) AS hour, {sums} {FROM} "
            f"WHERE {where} GROUP BY hour ORDER BY hour",
            [offset, *values],
        )
        return [HourCount(hour * 3600 - offset, *counts) for hour, *counts in rows]

    def named(self, words: Sequence[str]) -> tuple[str, ...]:
        """The sources that words mean: themselves, or those that end in /WORD.

        A word that means none is given back as it is: nothing has that source.
        """
        known = [row[0] for row in self._rows("SELECT DISTINCT source FROM session")]
        found: list[str] = []
        for word in map(readable, words):
            found += [s for s in known if s == word or s.endswith(f"/{word}")] or [word]
        return tuple(found)

    def sessions(self, limit: int = 1000) -> list[SessionRow]:
        """The newest sessions, newest first."""
        rows = self._rows(
            "SELECT name, source, started, seen, ended, "
            "(SELECT count(*) FROM event WHERE event.session = session.id) "
            "FROM session ORDER BY started DESC, id DESC LIMIT ?",
            [limit],
        )
        return [SessionRow(*row) for row in rows]

    def _events(self, clause: str, values: Sequence[Any]) -> list[Event]:
        return [row_event(row) for row in self._rows(f"SELECT {COLUMNS} {FROM} {clause}", values)]

    def _open(self) -> None:
        self._db = connect(self.path, write=False)
        self._inodes = inodes(self.path)

    def _follow(self) -> None:
        """Open the file anew where another one has its name: SQLite would go on in the one that was put aside."""
        now = inodes(self.path)
        if now[0] and now != self._inodes:
            self._db.close()
            self._open()

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._guard:
                self._follow()
                return self._db.execute(sql, values).fetchall()
        except OverflowError:
            raise UsageError("A number in the question is too large for any event.") from None
        except sqlite3.Error as e:
            raise StoreError(f"Events {self.path} cannot be read: {e}.") from None


def row_event(row: tuple[Any, ...]) -> Event:
    """The event in a row of `COLUMNS`."""
    kind, when, track, zone, direction, frame, dwell, *box = row[:11]
    note, source, session, camera, snapshot, id_, gesture, score = row[11:]
    left, top, right, bottom = box
    return Event(
        event=kind,
        time=when,
        track=track,
        zone=zone,
        direction=direction,
        frame=frame,
        dwell=dwell,
        box=None if left is None else (left, top, right, bottom),
        note=note,
        source=source,
        session=session,
        camera=camera,
        snapshot=snapshot,
        id=id_,
        gesture=gesture,
        score=score,
    )


def _bounded(value: int, name: str) -> int:
    if not 1 <= value <= MAX_PAGE:
        raise UsageError(f"{name} is {value}; it can be 1 to {MAX_PAGE}.")
    return value


def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise UsageError(f"{text[:40]!r} is not a cursor; take it from the page before.")
    return int(text)
