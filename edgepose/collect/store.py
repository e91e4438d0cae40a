"""The store of a fleet: what of it is plain SQL. One file beside it for each database opens connections.

An event is (device, run, number): the same one again changes nothing, so a device may send as often as it
likes, and several collectors may write into one PostgreSQL.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepose.closing import Closing
from edgepose.errors import StoreError, UsageError
from edgepose.events.event import Event
from edgepose.fleet.messages import Batch

VERSION = 1
MOST_REJECTED = 10_000  # kept of what cannot be meant
SHOWN_BYTES = 2000  # of such a message
MAX_PAGE = 1000
# {id}: a column that counts by itself; {real}: a 64 bit float
TABLES = (
    "CREATE TABLE fleet_version (version INTEGER NOT NULL)",
    """CREATE TABLE device (
        name TEXT PRIMARY KEY, up INTEGER NOT NULL, seen {real} NOT NULL, state TEXT NOT NULL,
        run TEXT NOT NULL, before TEXT NOT NULL, twice {real} NOT NULL)""",
    """CREATE TABLE origin (
        id {id}, device TEXT NOT NULL, run TEXT NOT NULL, gone BIGINT NOT NULL, UNIQUE (device, run))""",
    """CREATE TABLE event (
        id {id}, origin BIGINT NOT NULL REFERENCES origin (id), seq BIGINT NOT NULL, received {real} NOT NULL,
        event TEXT NOT NULL, time {real} NOT NULL, track BIGINT, zone TEXT, direction TEXT, frame BIGINT,
        dwell {real}, box TEXT, camera TEXT, gesture TEXT, score {real}, source TEXT, session TEXT, note TEXT, UNIQUE (origin, seq))""",
    "CREATE INDEX event_time ON event (time)",
    """CREATE TABLE rejected (
        id {id}, device TEXT NOT NULL, received {real} NOT NULL, reason TEXT NOT NULL, digest TEXT NOT NULL,
        count BIGINT NOT NULL, message TEXT NOT NULL, UNIQUE (device, digest))""",
)
_INSERT = (
    "INSERT INTO event (origin, seq, received, event, time, track, zone, direction, frame, dwell, box, "
    "camera, gesture, score, source, session, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_STATE = (
    "INSERT INTO device VALUES (?, ?, ?, ?, ?, '', 0) ON CONFLICT (name) DO UPDATE SET "
    # two that speak in turns under one name: the run before the last one is back
    "twice = CASE WHEN device.run <> excluded.run AND device.before = excluded.run AND excluded.run <> '' "
    "THEN excluded.seen ELSE device.twice END, "
    "before = CASE WHEN device.run <> excluded.run AND excluded.run <> '' THEN device.run ELSE device.before END, "
    "run = CASE WHEN excluded.run <> '' THEN excluded.run ELSE device.run END, "
    "up = excluded.up, seen = excluded.seen, "
    "state = CASE WHEN excluded.up = 1 OR device.state = '{}' THEN excluded.state ELSE device.state END"
)
_REJECT = (
    "INSERT INTO rejected (device, received, reason, digest, count, message) VALUES (?, ?, ?, ?, 1, ?) "
    "ON CONFLICT (device, digest) DO UPDATE SET count = rejected.count + 1, received = excluded.received"
)


# of a value, not of the disk or the line: what every Python database calls them
_OF_A_VALUE = (
    "DataError",
    "IntegrityError",
    "ProgrammingError",
    "ValueError",
    "TypeError",
    "OverflowError",
)


class BadValue(StoreError):
    """Something that this database never takes."""


@dataclass(frozen=True)
class Arrival:
    """A message of a device, read.

    Attributes:
        batch: of events. state: of the device. reason: why it cannot be meant, with its payload.
    """

    device: str
    received: float
    batch: Batch | None = None
    state: dict[str, Any] | None = None
    reason: str = ""
    payload: bytes = b""


@dataclass
class Stored:
    """What a transaction did."""

    events: int = 0
    duplicates: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Wanted:
    """Which events; an empty field lets all pass. Times are UTC seconds, `until` is not included."""

    devices: Sequence[str] = ()
    events: Sequence[str] = ()
    zones: Sequence[str] = ()
    tracks: Sequence[int] = ()
    since: float | None = None
    until: float | None = None
    gestures: Sequence[str] = ()
    cameras: Sequence[str] = ()

    def where(self) -> tuple[str, list[Any]]:
        """The condition in SQL, and its values."""
        parts, values = ["1 = 1"], list[Any]()
        lists = (
            ("origin.device", self.devices),
            ("event.event", self.events),
            ("coalesce(event.zone, '')", self.zones),
            ("event.track", self.tracks),
            ("event.gesture", self.gestures),
            ("event.camera", self.cameras),
        )
        for column, wanted in lists:
            if wanted:
                parts.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        for sign, moment in ((">=", self.since), ("<", self.until)):
            if moment is not None:
                parts.append(f"event.time {sign} ?")
                values.append(moment)
        return " AND ".join(parts), values


@dataclass(frozen=True)
class Device:
    """A device as the store knows it.

    Attributes:
        up: what it or its last will said. seen: UTC seconds of its last word. state: its last state.
        twice: UTC seconds when a second device spoke under its name, 0 where none did.
    """

    name: str
    up: bool
    seen: float
    state: dict[str, Any] = field(default_factory=dict)
    twice: float = 0.0


class FleetStore(Closing):
    """A database of events of a fleet; methods from any thread, one at a time.

    Attributes:
        shown: its place without credentials, for people.

    Raises:
        StoreError: it cannot be opened, or belongs to another program or a newer edgepose.
    """

    shown = ""
    id_column = real_column = ""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._origins: dict[tuple[str, str], int] = {}

    # what each database does in its own way ---------------------------------------------------------
    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, outside of any transaction of ours."""
        raise NotImplementedError

    def _run(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run a statement for each of the rows, in the open transaction; how many rows it changed."""
        raise NotImplementedError

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self, *, keep: bool) -> None:
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------
    def _make_tables(self, there: bool) -> None:
        """Make the tables, or check their version.

        Raises:
            StoreError: a newer edgepose made them.
        """
        if there:
            found = self._rows("SELECT version FROM fleet_version")
            if found != [(VERSION,)]:
                raise StoreError(f"{self.shown} was made by a newer edgepose. Update this one.")
            return
        for table in TABLES:
            text = table.replace("{id}", self.id_column).replace("{real}", self.real_column)
            self._run(text, [()])
        self._run("INSERT INTO fleet_version VALUES (?)", [(VERSION,)])

    def write(self, arrivals: Sequence[Arrival]) -> Stored:
        """Store what has arrived, in one transaction: when this returns, it is on the disk.

        Raises:
            BadValue, StoreError: nothing of it was stored.
        """
        done = Stored()
        with self._lock:
            try:
                self._begin()
                self._write_batches(
                    [a for a in arrivals if a.batch is not None and not a.reason], done
                )
                self._write_states([a for a in arrivals if a.state is not None])
                self._write_rejected([a for a in arrivals if a.reason], done)
                self._end(keep=True)
            except (
                Exception
            ) as e:  # whatever it is, nothing is acknowledged, and the next try finds a clean line
                self._origins.clear()
                self._end(keep=False)
                names = {kind.__name__ for kind in type(e).__mro__}
                kind = BadValue if names & set(_OF_A_VALUE) else StoreError
                raise kind(f"{self.shown} cannot be written: {e}".rstrip()) from None
        return done

    def _write_batches(self, arrivals: Sequence[Arrival], done: Stored) -> None:
        rows: list[tuple[Any, ...]] = []
        for arrival in arrivals:
            assert arrival.batch is not None
            if not arrival.batch.events:
                continue
            origin = self._origin(arrival.device, arrival.batch.run)
            rows += (_event_row(origin, arrival.received, event) for event in arrival.batch.events)
        rows.sort(key=lambda row: row[:2])  # two collectors lock rows in the same order
        new = self._run(_INSERT, rows) if rows else 0
        done.events, done.duplicates = new, len(rows) - new

    def _origin(self, device: str, run: str) -> int:
        key = (device, run)
        if key not in self._origins:
            insert = (
                "INSERT INTO origin (device, run, gone) VALUES (?, ?, 0) ON CONFLICT DO NOTHING"
            )
            self._run(insert, [key])
            find = "SELECT id FROM origin WHERE device = ? AND run = ?"
            self._origins[key] = int(self._rows(find, key)[0][0])
        return self._origins[key]

    def _write_states(self, arrivals: Sequence[Arrival]) -> None:
        rows = []
        for a in sorted(arrivals, key=lambda a: a.device):
            assert a.state is not None
            up = int(a.state.get("state") != "offline")
            text = json.dumps(a.state) if up else "{}"
            # a last will may come late, when another run is there already
            rows.append((a.device, up, a.received, text, str(a.state.get("run", ""))[:64] * up))
        if rows:
            self._run(_STATE, rows)

    def _write_rejected(self, arrivals: Sequence[Arrival], done: Stored) -> None:
        rows = [
            (
                a.device,
                a.received,
                a.reason[:200],
                hashlib.sha256(a.payload).hexdigest(),
                _shown(a.payload),
            )
            for a in arrivals
        ]
        if rows:
            self._run(_REJECT, sorted(rows))
            oldest = f"SELECT max(id) - {MOST_REJECTED} FROM rejected"
            self._run(f"DELETE FROM rejected WHERE id <= ({oldest})", [()])
        done.rejected = len(rows)

    # reading --------------------------------------------------------------------------------------
    def devices(self) -> list[Device]:
        """All devices by name."""
        rows = self._read("SELECT name, up, seen, state, twice FROM device ORDER BY name")
        return [Device(n, bool(up), seen, json.loads(s), twice) for n, up, seen, s, twice in rows]

    def events(
        self,
        wanted: Wanted | None = None,
        *,
        cursor: str = "",
        limit: int = 50,
        oldest: bool = False,
    ) -> list[dict[str, Any]]:
        """At most `limit` events behind the one whose `id` is the cursor, the newest first.

        Raises:
            UsageError: the cursor or the limit cannot be meant.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise UsageError(f"limit is {limit}; it can be 1 to {MAX_PAGE}.")
        where, values = (wanted or Wanted()).where()
        if cursor:
            if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
                raise UsageError(f"{cursor[:40]!r} is not a cursor; take the id of an event.")
            where += f" AND event.id {'>' if oldest else '<'} ?"
            values.append(int(cursor))
        columns = (
            "event.id, origin.device, origin.run, seq, received, event.event, event.time, track, zone, "
            "direction, frame, dwell, box, camera, gesture, score, source, session, note"
        )
        order = "ASC" if oldest else "DESC"
        query = f"SELECT {columns} FROM event JOIN origin ON origin.id = event.origin WHERE {where}"
        rows = self._read(f"{query} ORDER BY event.id {order} LIMIT ?", [*values, limit])
        return [_told(row) for row in rows]

    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """By (device, run): events that are stored, and events that retention has deleted."""
        query = (
            "SELECT device, run, count(event.id), gone FROM origin LEFT JOIN event ON event.origin = origin.id "
            "GROUP BY origin.id, device, run, gone"
        )
        return {(d, run): (count, gone) for d, run, count, gone in self._read(query)}

    def rejected(self, limit: int = 100) -> list[dict[str, Any]]:
        """What could not be meant, the newest first."""
        columns = ("device", "received", "reason", "count", "message")
        query = f"SELECT {', '.join(columns)} FROM rejected ORDER BY id DESC LIMIT ?"
        return [dict(zip(columns, row, strict=True)) for row in self._read(query, [limit])]

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._rows(sql, values)
            except Exception as e:  # each database has its own errors; all mean the same here
                self._end(keep=False)
                raise StoreError(f"{self.shown} cannot be read: {e}".rstrip()) from None

    def came(self, since: float, until: float) -> bool:
        """Whether an event was received from one time (UTC seconds) to another.

        Raises:
            StoreError: it cannot be read now.
        """
        found = "SELECT 1 FROM event WHERE received >= ? AND received <= ? LIMIT 1"
        return bool(self._read(found, (since, until)))

    # upkeep -----------------------------------------------------------------------------------------
    def clean(self, before: float) -> int:
        """Delete events that were received before a time; how many.

        Raises:
            StoreError: it cannot be written now.
        """
        with self._lock:
            try:
                self._begin()
                old = "SELECT count(*) FROM event WHERE event.origin = origin.id AND received < ?"
                self._run(f"UPDATE origin SET gone = gone + ({old})", [(before,)])
                gone = self._run("DELETE FROM event WHERE received < ?", [(before,)])
                self._end(keep=True)
            except Exception as e:  # as in `write`
                self._end(keep=False)
                raise StoreError(f"{self.shown} cannot be cleaned: {e}".rstrip()) from None
        return gone


def _event_row(origin: int, received: float, e: Event) -> tuple[Any, ...]:
    box = ",".join(f"{v:g}" for v in e.box) if e.box is not None else None
    texts = (
        e.camera or None,
        e.gesture or None,
        e.score,
        e.source or None,
        e.session or None,
        e.note or None,
    )
    place = (e.track, e.zone or None, e.direction or None, e.frame, e.dwell, box)
    return origin, e.id, received, e.event, e.time, *place, *texts


def _told(row: tuple[Any, ...]) -> dict[str, Any]:
    names = (
        "id",
        "device",
        "run",
        "seq",
        "received",
        "event",
        "time",
        "track",
        "zone",
        "direction",
    )
    told = dict(
        zip(
            (
                *names,
                "frame",
                "dwell",
                "box",
                "camera",
                "gesture",
                "score",
                "source",
                "session",
                "note",
            ),
            row,
            strict=True,
        )
    )
    told["box"] = [float(v) for v in told["box"].split(",")] if told["box"] else None
    return told


def _shown(payload: bytes) -> str:
    """A message as text that every database takes."""
    return payload[:SHOWN_BYTES].decode("utf-8", "backslashreplace").replace("\0", "\\x00")
