"""Recording events: one thread writes them in batches, nobody who records ever waits for the disk.

    record -> queue -> writer thread: one transaction for all that waits -> on_commit

What is written survives SIGKILL and a power cut (WAL, a synchronous commit for each batch). While it
cannot be written (a full disk), events wait in memory and are tried again; the trouble is said once. An
event that can never be written is put aside and counted, so that it holds up no other. So is a file that
turns out to be damaged, at most one an hour. A person who was
inside when the program died is closed at the next start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgepose.closing import Closing
from edgepose.errors import StoreError
from edgepose.events.event import EXAMPLE, Event
from edgepose.events.tables import Retention, Session, session_name
from edgepose.events.writer import Item, Writer
from edgepose.paths import home

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often the writer does what, and what may wait for it.

    Attributes:
        gather: seconds that the first event of a batch waits for others.
        retry: seconds between attempts while nothing can be written.
        heartbeat: seconds between signs of life of the sessions.
        upkeep: seconds between clean-ups.
        batch: items in a transaction at most.
        events: that wait in memory at most. pictures: their bytes at most; events beyond have none.
    """

    gather: float = 0.05
    retry: float = 2.0
    heartbeat: float = 60.0
    upkeep: float = 3600.0
    batch: int = 500
    events: int = 10_000
    pictures: int = 32_000_000


class EventStore(Closing):
    """Records events into a SQLite file.

    All methods may be called from any thread; `begin`, `record` and `end` return at once.

    Args:
        path: the file; it and its folder are made where they are missing.
        retention: what is kept.
        on_commit: called in the writer thread with the events that are now on the disk, with their ids.
        clock: UTC seconds.
        pace: how often the writer does what.

    Attributes:
        error: why nothing can be written now, None where all is well.
        dropped: events given up because too many waited.

    Raises:
        StoreError: the file cannot be opened, is none, or belongs to another program.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        retention: Retention | None = None,
        on_commit: Callable[[tuple[Event, ...]], None] | None = None,
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self.path = Path(path)
        self.error: StoreError | None = None
        self.dropped = self._too_much = 0
        self._retention, self._pace = retention or Retention(), pace or Pace()
        self._on_commit, self._clock = on_commit, clock
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._batch: deque[Item] = deque()
        self._waiting_bytes = 0
        self._open: dict[str, Session] = {}
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._writer = Writer(self.path, clock, self._pace.upkeep)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    # recording -----------------------------------------------------------------------------------
    @property
    def alive(self) -> bool:
        """True while the writer lives."""
        return self._thread.is_alive()

    @property
    def put_aside(self) -> int:
        """Events that can never be written."""
        return self._writer.put_aside

    @property
    def damaged(self) -> int:
        """Files that were found damaged and put aside."""
        return self._writer.damaged

    @property
    def without_picture(self) -> int:
        """Events whose picture was given up, because too many waited or the disk had no room."""
        return self._too_much + self._writer.without_picture

    def keep(self, retention: Retention) -> None:
        """Keep as much as this from the next clean-up on."""
        self._retention = retention

    def begin(
        self, source: str, started: float | None = None, *, example: bool = False, camera: str = ""
    ) -> Session:
        """Start a session over a source (a path, or a URI without credentials).

        Args:
            source, started: of it; None = now.
            example: it shows how things work; its events are left out unless they are asked for.
            camera: its name where there are several.
        """
        started = self._clock() if started is None else started
        name = session_name(started, EXAMPLE) if example else ""
        session = Session(source, started, name, camera=camera)
        with self._guard:
            self._open[session.key] = session
        self._queue.put(Item(session))
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
            if self._queue.qsize() + len(self._batch) >= self._pace.events:
                self.dropped += 1
                continue
            picture = pictures[i] if i < len(pictures) else None
            with self._guard:
                session.recorded += 1
                number = session.recorded
                if picture and self._waiting_bytes + len(picture) > self._pace.pictures:
                    self._too_much += 1
                    picture = None
                self._waiting_bytes += len(picture or b"")
            event = replace(
                event, session=session.name, source=session.source, camera=session.camera
            )
            self._queue.put(Item(session, number, event, picture))

    def end(self, session: Session, ended: float | None = None) -> None:
        """End a session; record the exits of who is inside before."""
        with self._guard:
            self._open.pop(session.key, None)
        self._queue.put(Item(session, end=self._clock() if ended is None else ended))

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was recorded before is on the disk; False where it is not in time."""
        done = threading.Event()
        self._queue.put(Item(done=done))
        return done.wait(timeout if self.alive else 0)

    def close(self, timeout: float = 10.0) -> None:
        """End all sessions, write what waits and close; logs an ERROR where it cannot be written."""
        with self._guard:
            sessions = list(self._open.values())
        for session in sessions:
            self.end(session)
        if self.alive and not self.flush(timeout):
            log.error("Events %s: what waited in memory could not be written.", self.path)
        self._closing.set()
        self._queue.put(Item())
        self._thread.join(timeout)

    # the writer thread ---------------------------------------------------------------------------
    def _run(self) -> None:
        pace = self._pace
        now = upkeep = heartbeat = time.monotonic()
        retry = 0.0
        while not (self._closing.is_set() and self._queue.empty()):
            self._collect(pace.retry if self._batch else max(0.0, min(heartbeat, upkeep) - now))
            now = time.monotonic()
            if self._batch and now >= retry:
                written = self._attempt(self._write)
                retry = 0.0 if written else now + pace.retry
                if not written or self._much_is_new():  # what is too old may be what fills the disk
                    upkeep = min(upkeep, now + 5 * pace.retry)
            if not self._batch and now >= heartbeat:
                heartbeat = now + pace.heartbeat
                self._attempt(self._beat)
            if now >= upkeep and not self._closing.is_set():
                upkeep = now + pace.upkeep
                self._attempt(self._clean)
        self._writer.close()

    def _collect(self, wait: float) -> None:
        """Wait for an item and a moment for others, then take all that is there."""
        with contextlib.suppress(queue.Empty):
            self._batch.append(self._queue.get(timeout=wait))
            self._closing.wait(self._pace.gather)
            while len(self._batch) < self._pace.batch:
                self._batch.append(self._queue.get_nowait())

    def _attempt(self, work: Callable[[], None]) -> bool:
        """Do something in the database; say the first failure of a row, and its end."""
        try:
            work()
        except Exception as e:  # whatever it is, the next batch must find the writer alive
            self._writer.undo()
            if self._renewed(e):
                return self._attempt(work)
            if self.error is None:
                self.error = StoreError(
                    f"Events {self.path} cannot be written: {e}. Frames go on; events wait in memory."
                )
                log.error("%s", self.error)
            return False
        if self.error is not None and work != self._clean:
            self.error = None
            log.error("Events %s are written again.", self.path)
        return True

    def _renewed(self, error: Exception) -> bool:
        try:
            return self._writer.renew(error)
        except OSError as e:
            log.error("Events %s cannot be put aside: %s.", self.path, e.strerror)
            return False

    def _write(self) -> None:
        """Write the batch, which stays until it is on the disk."""
        batch = list(self._batch)
        written = self._writer.write(batch)
        for item in batch:
            self._batch.popleft()
            if item.done:
                item.done.set()
        with self._guard:
            self._waiting_bytes -= sum(len(item.picture or b"") for item in batch)
        if written and self._on_commit:
            try:
                self._on_commit(tuple(written))
            except Exception as e:  # the listener's trouble must not stop the recording
                log.warning("A listener to events failed: %s: %s.", type(e).__name__, e)

    def _much_is_new(self) -> bool:
        """True where so much was written since the last clean-up that one is due."""
        limit = self._retention.megabytes * 1e6 or float(1 << 61)
        return self._writer.fresh_bytes > limit / 10

    def _clean(self) -> None:
        self._writer.clean(self._retention)

    def _beat(self) -> None:
        with self._guard:
            keys = list(self._open)
        self._writer.beat(keys)


def default_path() -> Path:
    """Where events are kept unless another file is named."""
    return Path(os.environ.get("EDGEPOSE_EVENTS") or home() / "events.db")
