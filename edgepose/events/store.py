"""Recording events: one thread writes them in batches, nobody who records ever waits for the disk.

    record -> queue -> writer thread: one transaction for all that waits -> on_commit

What is written survives SIGKILL and a power cut (WAL, a synchronous commit for each batch). While it
cannot be written (a full disk), events wait in memory and are tried again; the trouble is reported once.
A person who was inside when the program died is closed at the next start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from edgepose.errors import StoreError
from edgepose.events.event import ENTER, EXIT, Event
from edgepose.events.schema import connect, damage, migrate, put_aside

BATCH = 500
GATHER = 0.05  # seconds that the first event of a batch waits for others
RETRY = 2.0  # seconds between attempts while nothing can be written
HEARTBEAT = 60.0  # seconds between signs of life of the sessions
UPKEEP = 3600.0  # seconds between clean-ups
WAITING = 10_000  # events that wait in memory at most


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


@dataclass(frozen=True)
class _Item:
    """Something for the writer: an event, the end of a session (time), or a question for a flush."""

    session: Session | None = None
    number: int = 0
    event: Event | None = None
    picture: bytes | None = None
    end: float | None = None
    done: threading.Event | None = None


class EventStore:
    """Records events into a SQLite file.

    All methods may be called from any thread; `begin`, `record` and `end` return at once.

    Args:
        path: the file; it and its folder are made where they are missing.
        retention: what is kept.
        on_commit: called in the writer thread with the events that are now on the disk, with their ids.
        on_error: called in the writer thread once when writing begins to fail, with the error, and once
            with None when it works again.
        on_notice: called with sentences for people: a damaged file put aside, sessions closed.
        clock: UTC seconds.

    Raises:
        StoreError: the file cannot be opened, or belongs to another program.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        retention: Retention | None = None,
        on_commit: Callable[[tuple[Event, ...]], None] | None = None,
        on_error: Callable[[StoreError | None], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self.error: StoreError | None = None
        self.dropped = 0
        self._retention = retention or Retention()
        self._on_commit, self._on_error, self._on_notice = on_commit, on_error, on_notice
        self._clock = clock
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._batch: deque[_Item] = deque()
        self._open: dict[str, Session] = {}
        self._ids: dict[str, int] = {}
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._lock = self._prepare()
        try:
            self._db = self._first_connection()
        except BaseException as e:
            self._lock.close()
            if self._lock_is_new:  # nothing is left beside a file that is not ours
                Path(self._lock.name).unlink(missing_ok=True)
            if isinstance(e, sqlite3.Error):
                raise StoreError(f"Events {self.path} cannot be written: {e}.") from None
            raise
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    # recording -----------------------------------------------------------------------------------
    def begin(self, source: str, started: float | None = None) -> Session:
        """Start a session over a source (a path, or a URI without credentials)."""
        session = Session(source, self._clock() if started is None else started)
        with self._guard:
            self._open[session.key] = session
        self._queue.put(_Item(session))
        return session

    def record(
        self, session: Session, events: Sequence[Event], pictures: Sequence[bytes | None] = ()
    ) -> None:
        """Hand events over to the writer.

        Args:
            session: from `begin`.
            events: their session and source are the session's, whatever they say.
            pictures: a JPEG file for each event, or None; stored beside the database.
        """
        for i, event in enumerate(events):
            if self._queue.qsize() + len(self._batch) >= WAITING:
                self.dropped += 1
                continue
            with self._guard:
                session.recorded += 1
                number = session.recorded
            event = replace(event, session=session.name, source=session.source)
            picture = pictures[i] if i < len(pictures) else None
            self._queue.put(_Item(session, number, event, picture))

    def end(self, session: Session, ended: float | None = None) -> None:
        """End a session; record the exits of who is inside before."""
        with self._guard:
            self._open.pop(session.key, None)
        self._queue.put(_Item(session, end=self._clock() if ended is None else ended))

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was recorded before is on the disk; False where it is not in time."""
        done = threading.Event()
        self._queue.put(_Item(done=done))
        return done.wait(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """End all sessions, write what waits and close; False where it could not be written."""
        with self._guard:
            sessions = list(self._open.values())
        for session in sessions:
            self.end(session)
        written = self.flush(timeout) if self._thread.is_alive() else True
        self._closing.set()
        self._queue.put(_Item())
        self._thread.join(timeout)
        return written

    def __enter__(self) -> EventStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # opening -------------------------------------------------------------------------------------
    def _prepare(self) -> IO[str]:
        """Make the folder and open the lock file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_name(self.path.name + ".lock")
            self._lock_is_new = not lock.exists()
            return open(lock, "a")
        except OSError as e:
            raise StoreError(f"Events {self.path} cannot be made: {e}.") from None

    def _connect(self) -> sqlite3.Connection:
        db = connect(self.path, write=True)
        try:
            migrate(db, self.path)
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
            self._notice(f"Events {self.path} were damaged ({fault}); put aside as {aside.name}.")
        db = self._connect()
        closed = close_dangling(db, self._clock())
        if closed:
            self._notice(f"Closed {closed} visits that the last run left open.")
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        return db

    def _notice(self, text: str) -> None:
        if self._on_notice:
            self._on_notice(text)

    # the writer thread ---------------------------------------------------------------------------
    def _run(self) -> None:
        now = upkeep = heartbeat = time.monotonic()
        retry = 0.0
        while not (self._closing.is_set() and self._queue.empty()):
            idle = max(0.0, min(heartbeat, upkeep) - now)
            self._collect(RETRY if self._batch else idle)
            now = time.monotonic()
            if self._batch and now >= retry:
                retry = 0.0 if self._attempt(self._write) else now + RETRY
            if not self._batch and now >= heartbeat:
                heartbeat = now + HEARTBEAT
                self._attempt(self._beat)
            if not self._batch and now >= upkeep and not self._closing.is_set():
                upkeep = now + UPKEEP
                self._attempt(lambda: clean(self._db, self._retention, self._clock(), self.path))
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._lock.close()

    def _collect(self, wait: float) -> None:
        """Wait for an item and a moment for others, then take all that is there."""
        try:
            self._batch.append(self._queue.get(timeout=wait))
            self._closing.wait(GATHER)
            while len(self._batch) < BATCH:
                self._batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass

    def _attempt(self, work: Callable[[], None]) -> bool:
        """Do something in the database; report the first failure of a row, and its end."""
        try:
            work()
        except (sqlite3.Error, OSError, StoreError) as e:
            self._undo()
            if self.error is None:
                self.error = StoreError(
                    f"Events {self.path} cannot be written: {e}. Frames go on; events wait in memory."
                )
                if self._on_error:
                    self._on_error(self.error)
            return False
        if self.error is not None:
            self.error = None
            if self._on_error:
                self._on_error(None)
        return True

    def _undo(self) -> None:
        self._ids.clear()
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _write(self) -> None:
        """One transaction for the whole batch; the batch stays until it is on the disk."""
        batch = list(self._batch)
        self._come_back_if_gone()
        written: list[Event] = []
        if any(item.session for item in batch):
            self._db.execute("BEGIN IMMEDIATE")
            for item in batch:
                event = self._write_item(item)
                if event is not None:
                    written.append(event)
            self._db.execute("COMMIT")
        for _ in batch:
            self._batch.popleft()
        for item in batch:
            if item.done:
                item.done.set()
        if written and self._on_commit:
            try:
                self._on_commit(tuple(written))
            except Exception as e:
                # the listener's trouble must not stop the recording
                self._notice(f"A listener to events failed: {type(e).__name__}: {e}.")

    def _write_item(self, item: _Item) -> Event | None:
        if item.session is None:
            return None
        row = self._session_row(item.session)
        if item.end is not None:
            update = "UPDATE session SET ended = ?, seen = max(seen, ?) WHERE id = ?"
            self._db.execute(update, (item.end, item.end, row))
        if item.event is None:
            return None
        event = item.event
        if item.picture is not None:
            event = replace(event, snapshot=self._write_picture(item))
        update = "UPDATE session SET seen = max(seen, ?) WHERE id = ?"
        self._db.execute(update, (event.time, row))
        return replace(event, id=insert(self._db, row, item.number, event))

    def _session_row(self, session: Session) -> int:
        if session.key not in self._ids:
            self._ids[session.key] = insert_session(self._db, session)
        return self._ids[session.key]

    def _write_picture(self, item: _Item) -> str:
        """Store a snapshot; its path relative to the database's folder."""
        assert item.session is not None
        assert item.picture is not None
        folder = snapshots(self.path) / f"{item.session.name}-{item.session.key[:6]}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{item.number}.jpg"
        part = file.with_suffix(".part")
        part.write_bytes(item.picture)
        part.replace(file)
        return file.relative_to(self.path.parent).as_posix()

    def _beat(self) -> None:
        """Say that the open sessions are alive: a crash closes them at this time."""
        with self._guard:
            keys = list(self._open)
        now = self._clock()
        for key in keys:
            self._db.execute("UPDATE session SET seen = max(seen, ?) WHERE key = ?", (now, key))

    def _come_back_if_gone(self) -> None:
        """Make the file anew where somebody deleted it: SQLite would go on in the deleted one."""
        if self.path.exists():
            return
        self._db.close()
        self._ids.clear()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._connect()


# the tables ----------------------------------------------------------------------------------------


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


def default_path() -> Path:
    """Where events are kept unless another file is named."""
    from edgepose.paths import home

    return Path(os.environ.get("EDGEPOSE_EVENTS") or home() / "events.db")
