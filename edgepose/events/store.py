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
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from edgepose.errors import StoreError
from edgepose.events.event import Event
from edgepose.events.schema import connect, damage, migrate, put_aside
from edgepose.events.tables import (
    Retention,
    Session,
    clean,
    close_dangling,
    insert,
    insert_session,
    snapshots,
)

BATCH = 500
GATHER = 0.05  # seconds that the first event of a batch waits for others
RETRY = 2.0  # seconds between attempts while nothing can be written
HEARTBEAT = 60.0  # seconds between signs of life of the sessions
UPKEEP = 3600.0  # seconds between clean-ups
WAITING = 10_000  # events that wait in memory at most


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


def default_path() -> Path:
    """Where events are kept unless another file is named."""
    from edgepose.paths import home

    return Path(os.environ.get("EDGEPOSE_EVENTS") or home() / "events.db")
