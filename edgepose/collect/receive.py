"""From the broker into the store: gather, one transaction, acknowledge.

    line's thread: messages -> bounded queue (full: it stops reading, and the broker holds back)
    our thread:    50 ms or 5,000 events -> one transaction -> one acknowledgement for each batch

What is not on the disk is not acknowledged, so devices keep it and send it again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgepose.closing import Closing
from edgepose.collect.line import Line, Message
from edgepose.collect.store import Arrival, BadValue, FleetStore, Stored
from edgepose.errors import OutputError, StoreError
from edgepose.events.ages import Ages
from edgepose.events.event import iso_time, seconds_of
from edgepose.fleet.messages import (
    ACK,
    EVENTS,
    STATE,
    BadMessage,
    device_of,
    dump_ack,
    read_batch,
    read_state,
    topic_of,
)
from edgepose.io.mqtt import broker_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReceivePace:
    """How much waits, and for how long.

    Attributes:
        gather: seconds that a message waits for others. rows: events in a transaction at most.
        waiting: messages in memory at most. retry: seconds after a transaction that failed.
        upkeep: seconds between clean-ups. patience: seconds that the broker has to answer at the start.
    """

    gather: float = 0.05
    rows: int = 5000
    waiting: int = 20_000
    retry: float = 2.0
    upkeep: float = 3600.0
    patience: float = 5.0


class Receiver(Closing):
    """Collects; see the module's text.

    Args:
        target: `mqtts://user:password@host/?ca=...`
        store: where events go; not closed here.
        group: several collectors of one group share the work (`$share`).
        keep_days: events that were received earlier are deleted; 0 = never.

    Attributes:
        counts: events, duplicates, rejected, commits, failures since the start.
        error: why nothing can be stored now, "" where all is well. connected: to the broker.

    Raises:
        UsageError: the target. OutputError: the broker is absent, refuses us, or its certificate is not to be
            trusted.
    """

    def __init__(
        self,
        target: str,
        store: FleetStore,
        *,
        group: str = "",
        keep_days: float = 0.0,
        pace: ReceivePace | None = None,
    ) -> None:
        self._broker, self._store = broker_of(target), store
        self._pace, self._keep_days = pace or ReceivePace(), keep_days
        self._ages = Ages(self._pace.upkeep)
        self.counts: Counter[str] = Counter()
        self.error, self.connected = "", False
        self._queue: queue.Queue[list[Message]] = queue.Queue()
        self._next: deque[Message] = deque()  # of the piece that is being read
        self._come = self._taken = 0  # messages; each is counted by one thread
        self._said = ""
        self._heard, self._stop = threading.Event(), threading.Event()
        share = f"$share/{group}/" if group else ""
        self._line = Line(
            self._broker,
            f"edgepose-collect-{uuid.uuid4().hex[:8]}",
            (f"{share}{topic_of('+', EVENTS)}", topic_of("+", STATE)),
            take=self._take,
            tell=self._told,
            full=lambda: self.waiting >= self._pace.waiting,
        )
        self._wait_for_start()
        self._thread = threading.Thread(target=self._run, name="collect", daemon=True)
        self._thread.start()

    def _wait_for_start(self) -> None:
        self._heard.wait(self._pace.patience)
        if not self.connected:
            self._stop.set()
            self._line.close()
            raise OutputError(f"{self._broker.shown}: {self._said or 'no broker answers'}.")

    # in the line's thread ---------------------------------------------------------------------------
    def _told(self, up: bool, why: str) -> None:
        """Say what is new."""
        if self._heard.is_set() and not self._stop.is_set() and why != self._said:
            if up:
                log.info("%s: the broker is there again.", self._broker.shown)
            else:
                log.warning("%s: %s; devices keep their events.", self._broker.shown, why)
        self.connected, self._said = up, why
        self._heard.set()

    def _take(self, messages: list[Message]) -> None:
        self._come += len(messages)
        self._queue.put(messages)

    # in our own thread ------------------------------------------------------------------------------
    @property
    def waiting(self) -> int:
        """Messages in memory."""
        return self._come - self._taken

    def _run(self) -> None:
        upkeep = 0.0
        while not (self._stop.is_set() and self._queue.empty() and not self._next):
            arrivals = self._gathered()
            while arrivals and not self._attempt(arrivals):
                if self._stop.wait(self._pace.retry):
                    return  # not acknowledged: devices send it again
            if self._keep_days and time.monotonic() >= upkeep:
                upkeep = time.monotonic() + self._pace.upkeep
                self._clean()

    def _gathered(self) -> list[Arrival]:
        """What has come, read."""
        arrivals, rows = list[Arrival](), 0
        while rows < self._pace.rows:
            if not self._next and not self._more(first=not rows):
                break
            arrivals.append(_arrival(*self._next.popleft()))
            self._taken += 1
            batch = arrivals[-1].batch
            rows += max(1, len(batch.events)) if batch else 1
        return arrivals

    def _more(self, *, first: bool) -> bool:
        """Take what has come in one piece; the first waits for it, and then for others."""
        try:
            self._next.extend(self._queue.get(timeout=0.5 if first else 0))
        except queue.Empty:
            return False
        if first and self.waiting < self._pace.rows:
            self._stop.wait(self._pace.gather)
        return True

    def _attempt(self, arrivals: Sequence[Arrival]) -> bool:
        """Store and acknowledge; False where nothing can be stored now."""
        try:
            done = self._stored(arrivals)
        except StoreError as e:
            self.counts["failures"] += 1
            if not self.error:
                log.warning("%s Nothing is acknowledged until that is mended.", e)
            self.error = str(e)
            return False
        if self.error:
            log.info("%s can be written again.", self._store.shown)
            self.error = ""
        self.counts.update(
            events=done.events, duplicates=done.duplicates, rejected=done.rejected, commits=1
        )
        now = iso_time(time.time())
        self._line.publish(
            (topic_of(arrival.device, ACK), dump_ack(arrival.batch, now))
            for arrival in arrivals
            if arrival.batch is not None
        )
        return True

    def _stored(self, arrivals: Sequence[Arrival]) -> Stored:
        """All in one transaction; where a value is at fault, each alone, and that one is rejected."""
        try:
            return self._store.write(arrivals)
        except BadValue:
            done = Stored()
            for arrival in arrivals:
                try:
                    one = self._store.write([arrival])
                except BadValue as e:
                    bad = replace(arrival, reason=str(e), state=None)
                    one = self._store.write([bad])
                done.events += one.events
                done.duplicates += one.duplicates
                done.rejected += one.rejected
            return done

    def _clean(self) -> None:
        now = time.time()
        before = now - self._keep_days * 86400
        try:
            if self._ages.doubtful(now, self._store.came):
                if self._store.came(0.0, before):
                    self._ages.say(self._store.shown, now)
                return
            gone = self._store.clean(before)
        except StoreError as e:
            log.warning("%s", e)
        else:
            if gone:
                log.info(
                    "%d events that were older than %g days are deleted.", gone, self._keep_days
                )

    def close(self) -> None:
        """Store what has come, and leave."""
        if self._stop.is_set():
            return
        self._line.silence()
        self._stop.set()
        self._thread.join(5)
        self._line.close()


def _arrival(topic: str, payload: bytes, retained: bool, received: float) -> Arrival:
    """A message, read; what cannot be meant is an arrival with a reason."""
    device = ""
    try:
        device, what = device_of(topic)
        if what == EVENTS:
            return Arrival(device, received, read_batch(payload), payload=payload)
        state = read_state(payload)
        return Arrival(device, _seen(state, received) if retained else received, state=state)
    except BadMessage as e:
        return Arrival(device or topic[:64], received, e.batch, reason=str(e), payload=payload)


def _seen(state: dict[str, Any], received: float) -> float:
    """When a retained state was said: by the device's clock, but not in the future."""
    try:
        return min(received, seconds_of(state["time"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return received
