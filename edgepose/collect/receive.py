"""From the broker into the store: gather, one transaction, acknowledge.

    paho's thread: message -> bounded queue (full: it stops reading, and the broker holds back)
    our thread:    50 ms or 5,000 events -> one transaction -> one acknowledgement for each batch

What is not on the disk is not acknowledged, so devices keep it and send it again.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgepose.closing import Closing
from edgepose.collect.store import Arrival, BadValue, FleetStore, Stored
from edgepose.errors import OutputError, StoreError
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
from edgepose.io.mqtt import KEEPALIVE_SECONDS, broker_of, certificate_trouble, make_client

log = logging.getLogger(__name__)
Message = tuple[str, bytes, bool, float]  # topic, payload, retained, UTC seconds


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
        BackendUnavailable: no paho-mqtt. UsageError: the target. OutputError: the broker is absent, refuses us,
            or its certificate is not to be trusted.
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
        self._broker, self._store, self._group = broker_of(target), store, group
        self._pace, self._keep_days = pace or ReceivePace(), keep_days
        self.counts: Counter[str] = Counter()
        self.error, self.connected = "", False
        self._queue: queue.Queue[Message] = queue.Queue(self._pace.waiting)
        self._refused = self._said = ""
        self._heard = threading.Event()
        self._stop = threading.Event()
        self._client = self._make_client()
        self._client.connect_async(
            self._broker.host, self._broker.port, keepalive=KEEPALIVE_SECONDS
        )
        self._client.loop_start()
        self._wait_for_start()
        self._thread = threading.Thread(target=self._run, name="collect", daemon=True)
        self._thread.start()

    def _make_client(self) -> Any:
        client = make_client(self._broker, f"edgepose-collect-{uuid.uuid4().hex[:8]}")
        client.max_inflight_messages_set(1000)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_connect_fail, client.on_message = self._on_connect_fail, self._on_message
        return client

    def _wait_for_start(self) -> None:
        self._heard.wait(self._pace.patience)
        if not self.connected:
            self._stop.set()
            self._client.disconnect()
            self._client.loop_stop()
            raise OutputError(f"{self._broker.shown}: {self._refused or 'no broker answers'}.")

    # in paho's thread ------------------------------------------------------------------------------
    def _on_connect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._trouble(f"the broker refuses us ({reason})")
            return
        share = f"$share/{self._group}/" if self._group else ""
        client.subscribe([(f"{share}{topic_of('+', EVENTS)}", 1), (topic_of("+", STATE), 1)])

    def _on_subscribe(self, client: Any, _: Any, mid: int, reasons: Any, properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._trouble(
                "the broker lets us subscribe to nothing; give the collector's user the right"
            )
            return
        if self._said:
            log.info("%s: the broker is there again.", self._broker.shown)
        self.connected, self._said = True, ""
        self._heard.set()

    def _on_connect_fail(self, client: Any, _: Any) -> None:
        error = sys.exc_info()[1]
        trouble = certificate_trouble(error)
        self._trouble(
            f"no secure connection ({trouble})" if trouble else f"no broker answers ({error})"
        )

    def _on_disconnect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self.connected and not self._stop.is_set():
            self._trouble("the broker is gone")
        self.connected = False

    def _trouble(self, text: str) -> None:
        if not self._heard.is_set():
            self._refused = text
        elif text != self._said:
            log.warning("%s: %s; devices keep their events.", self._broker.shown, text)
        self._said = text
        self._heard.set()

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        try:
            item = (message.topic, message.payload, bool(message.retain), time.time())
        except UnicodeDecodeError:  # paho decodes topics when they are read
            self.counts["rejected"] += 1
            return
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.5)
                return
            except queue.Full:  # wait: nothing more is read from the broker
                continue

    # in our own thread ------------------------------------------------------------------------------
    @property
    def waiting(self) -> int:
        """Messages in memory."""
        return self._queue.qsize()

    def _run(self) -> None:
        upkeep = 0.0
        while not (self._stop.is_set() and self._queue.empty()):
            arrivals = self._gathered()
            while arrivals and not self._attempt(arrivals):
                if self._stop.wait(self._pace.retry):
                    return  # not acknowledged: devices send it again
            if self._keep_days and time.monotonic() >= upkeep:
                upkeep = time.monotonic() + self._pace.upkeep
                self._clean()

    def _gathered(self) -> list[Arrival]:
        """What has come, read."""
        try:
            messages = [self._queue.get(timeout=0.5)]
        except queue.Empty:
            return []
        if self._queue.qsize() < self._pace.rows:
            self._stop.wait(self._pace.gather)
        arrivals, rows = [_arrival(*messages[0])], 0
        while rows < self._pace.rows:
            try:
                arrivals.append(_arrival(*self._queue.get_nowait()))
            except queue.Empty:
                break
            rows += len(arrivals[-1].batch.events) if arrivals[-1].batch else 1
        return [a for a in arrivals if a is not None]

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
        for arrival in arrivals:
            if arrival.batch is not None:
                topic = topic_of(arrival.device, ACK)
                self._client.publish(topic, dump_ack(arrival.batch, now), qos=1)
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
        try:
            gone = self._store.clean(time.time() - self._keep_days * 86400)
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
        self._client.unsubscribe(topic_of("+", EVENTS))
        self._stop.set()
        self._thread.join(5)
        self._client.disconnect()
        self._client.loop_stop()


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
