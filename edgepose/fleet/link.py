"""A device's link to its collector: events at least once, state, and settings that come back.

    events.db -> at most 4 batches in flight -> broker -> collector: commit -> ack -> the cursor moves

A batch that is not acknowledged is sent again after 8 s and whenever the broker is there again. The cursor moves
only over batches that are acknowledged without a hole. Nobody who infers or records waits for any of this.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import OutputError, StoreError
from edgepose.events.event import iso_time, seconds_of
from edgepose.events.outbox import Outbox
from edgepose.fleet.delivery import Delivery
from edgepose.fleet.messages import (
    ACK,
    CONFIG,
    EVENTS,
    MOST_EVENTS,
    STATE,
    VERSION,
    Batch,
    check_device,
    device_of,
    dump,
    dump_batch,
    fitting,
    read_config,
    topic_of,
)
from edgepose.io.mqtt import (
    KEEPALIVE_SECONDS,
    Broker,
    broker_of,
    certificate_trouble,
    leave_word,
    make_client,
)
from edgepose.json_file import parse_json

log = logging.getLogger(__name__)

FLEET_WORDS = ("device",)
CLOCK_OFF = 2.0  # seconds by which a clock may differ from the collector's


@dataclass(frozen=True)
class LinkPace:
    """How much is under way, and when what is done again.

    Attributes:
        in_flight: batches. resend: seconds without an acknowledgement. state: seconds between states; a
            source that comes or goes is told within `look` seconds.
        patience: seconds that a broker has to answer at the start. retry: after a read that failed.
    """

    in_flight: int = 4
    resend: float = 8.0
    state: float = 30.0
    look: float = 2.0
    patience: float = 5.0
    retry: float = 5.0


@dataclass
class _Flying:
    """A batch under way."""

    batch: Batch
    count: int
    payload: bytes
    sent: float = 0.0
    wall: float = 0.0
    acked: bool = False


def fleet_broker(target: str) -> tuple[Broker, str]:
    """The broker and the device's name of a `--fleet` address; without `device=` the user's name is it.

    Raises:
        UsageError: the address cannot be meant, or names no device.
    """
    broker = broker_of(target, FLEET_WORDS)
    return broker, check_device(broker.words.get("device") or broker.user)


class FleetLink(Delivery):
    """The link; see the module's text.

    Args:
        target: `mqtts://user:password@host/?device=cam-0042&ca=...&cert=...&key=...`
        database: the recorded events.
        state: what the device says of itself, without the outbox.
        on_config: called with (version, settings) in a thread of its own; None = no settings are taken.
        pace: how much is under way.

    Attributes:
        offset: seconds by which the collector's clock is ahead, None while nothing was acknowledged.
        too_long: events that no batch can carry; they are passed over.

    Raises:
        BackendUnavailable: no paho-mqtt. UsageError: the target. OutputError: the broker refuses us, or its
            certificate is not to be trusted; a broker that is absent is waited for.
        StoreError: the events cannot be read.
    """

    def __init__(
        self,
        target: str,
        database: Path,
        *,
        state: Callable[[], dict[str, Any]] = dict,
        on_config: Callable[[int, dict[str, Any]], None] | None = None,
        pace: LinkPace | None = None,
    ) -> None:
        self._broker, self.device = fleet_broker(target)
        super().__init__(f"fleet {self._broker.shown}")
        self._pace, self._state, self._on_config = pace or LinkPace(), state, on_config
        self.offset: float | None = None
        self.too_long = self.resent = 0
        self._outbox = Outbox(
            database, f"fleet {self._broker.host}:{self._broker.port}", from_start=True
        )
        self._cursor, self._number = self._outbox.upto, int(time.time() * 1000)
        self._flying: dict[int, _Flying] = {}
        self._guard = threading.Lock()
        self._connected = False
        self._refused, self._said, self._warned = "", "", False
        self._told, self._up = 0.0, list[Any]()
        try:
            self._client = self._make_client()
            self._client.connect_async(
                self._broker.host, self._broker.port, keepalive=KEEPALIVE_SECONDS
            )
            self._client.loop_start()
            self._wait_for_start()
        except BaseException:
            self._outbox.close()
            raise
        self._thread.start()

    def _make_client(self) -> Any:
        client = make_client(self._broker, f"edgepose-{self.device}-{uuid.uuid4().hex[:6]}")
        client.will_set(topic_of(self.device, STATE), self._offline(), qos=1, retain=True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_message = self._on_connect_fail, self._on_message
        return client

    def _offline(self) -> bytes:
        return dump({"v": VERSION, "state": "offline", "run": self._outbox.run})

    def _wait_for_start(self) -> None:
        """A certificate or password that is wrong is an error now; later it is a warning."""
        end = time.monotonic() + self._pace.patience
        while not (self._connected or self._refused) and time.monotonic() < end:
            if self._said:
                break
            self._news.wait(0.05)
        if self._refused:
            self._client.disconnect()
            self._client.loop_stop()
            raise OutputError(f"{self._broker.shown}: {self._refused}.")

    # in paho's thread ------------------------------------------------------------------------------
    def _on_connect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._say(f"the broker refuses us ({reason})", refused=True)
            return
        topics = [(topic_of(self.device, ACK), 1)]
        topics += [(topic_of(self.device, CONFIG), 1)] if self._on_config else []
        client.subscribe(topics)
        with self._guard:
            for flying in self._flying.values():
                flying.sent = 0.0  # whether it arrived before the line broke, nobody knows
        self._told = 0.0
        self._connected, self._refused = True, ""
        self._say("connected")
        self._news.set()

    def _on_connect_fail(self, client: Any, _: Any) -> None:
        error = sys.exc_info()[1]
        trouble = certificate_trouble(error)
        if trouble:
            self._say(f"no secure connection ({trouble})", refused=True)
        else:
            self._say(f"no broker answers ({error}); events wait")

    def _on_disconnect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._connected and not self._stop.is_set():
            self._say("the broker is gone; events wait")
        self._connected = False

    def _say(self, text: str, *, refused: bool = False) -> None:
        """Say what is new."""
        if refused and not self._said:
            self._refused = text  # at the start it is an error, which is said by whoever catches it
        elif text != self._said:
            log.log(
                logging.INFO if text == "connected" else logging.WARNING,
                "Fleet %s: %s",
                self._broker.shown,
                text,
            )
        self._said = text
        self._news.set()

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        try:
            what = device_of(message.topic)[1]
            if what == ACK:
                self._acknowledged(parse_json(message.payload))
            elif what == CONFIG and self._on_config is not None and message.payload:
                version, settings = read_config(message.payload)
                config = threading.Thread(target=self._take, args=(version, settings))
                config.daemon = True
                config.start()
        except (ValueError, KeyError, TypeError, AttributeError) as e:  # BadMessage is a ValueError
            log.warning("Fleet: a message on %s is passed over: %s.", message.topic, e)

    def _take(self, version: int, settings: dict[str, Any]) -> None:
        """In a thread of its own: settings may take a minute to prove themselves."""
        if self._on_config is not None:
            self._on_config(version, settings)
        self.tell()

    def _acknowledged(self, ack: dict[str, Any]) -> None:
        with self._guard:
            flying = self._flying.get(ack["batch"])
            if flying is None:
                return  # it was acknowledged before
            if (ack["run"], ack["last"]) != (flying.batch.run, flying.batch.last):
                return  # an old one, or another's
            flying.acked = True
        middle = (flying.wall + time.time()) / 2
        if "now" in ack:
            self._compare(seconds_of(ack["now"]) - middle)
        self._news.set()

    def _compare(self, offset: float) -> None:
        self.offset = offset
        off = abs(offset) > CLOCK_OFF
        if off and not self._warned:
            text = "This clock is %.1f s %s the collector's; events keep this device's time."
            log.warning(text, abs(offset), "behind" if offset > 0 else "ahead of")
        self._warned = off

    # in our own thread ------------------------------------------------------------------------------
    def tell(self) -> None:
        """Say the state now."""
        self._told = 0.0
        self._news.set()

    def _work(self) -> float:
        """One round; seconds until the next is due."""
        if self._outbox.renew():
            with self._guard:
                self._flying.clear()
            self._cursor = self._outbox.upto
        self._move()
        self._outbox.touch()
        if not self._connected:
            return self._pace.retry
        now = time.monotonic()
        up = [source.get("up") for source in self._state().get("sources", ())]
        if up != self._up or not self._told or now - self._told >= self._pace.state:
            self._up = up
            self._told = now
            self._client.publish(
                topic_of(self.device, STATE), self._state_now(), qos=1, retain=True
            )
        while len(self._flying) < self._pace.in_flight and self._next():
            pass
        with self._guard:
            flying = list(self._flying.values())
        for one in flying:
            if not one.acked and (not one.sent or now - one.sent >= self._pace.resend):
                self._send(one)
        due = [one.sent + self._pace.resend for one in flying if not one.acked]
        due += [self._told + self._pace.state, now + self._pace.look]
        return max(0.02, min(due) - time.monotonic())

    def _move(self) -> None:
        """Move the cursor over what is acknowledged without a hole."""
        with self._guard:
            done: list[_Flying] = []
            for number in sorted(self._flying):
                if not self._flying[number].acked:
                    break
                done.append(self._flying.pop(number))
        if done:
            self._outbox.confirm(done[-1].batch.last, sum(one.count for one in done))

    def _next(self) -> bool:
        """Take the next events into a batch; False where there are none."""
        events = self._outbox.after(self._cursor, MOST_EVENTS)
        if not events:
            return False
        texts = fitting(events)
        if not texts:  # no message can carry it: without this it would hold up all others for ever
            self.too_long += 1
            log.warning("Fleet: event %s is too long for a message; it stays here.", events[0].id)
        last = events[max(0, len(texts) - 1)].id or 0
        self._number += 1
        batch = Batch(self._outbox.run, self._number, self._cursor + 1, last)
        payload = dump_batch(batch, texts, iso_time(time.time()))
        with self._guard:
            self._flying[batch.number] = _Flying(batch, len(texts), payload)
        self._cursor = last
        return True

    def _send(self, one: _Flying) -> None:
        self.resent += one.wall > 0
        one.sent, one.wall = time.monotonic(), time.time()
        self._client.publish(topic_of(self.device, EVENTS), one.payload, qos=1)

    def _state_now(self) -> bytes:
        waiting = self._outbox.waiting()
        oldest = max(0.0, time.time() - waiting.oldest) if waiting.oldest is not None else 0.0
        outbox = {
            "events": waiting.events,
            "oldest_s": round(oldest, 1),
            "delivered": waiting.delivered,
            "dropped": waiting.dropped + self.too_long,
            "upto": self._outbox.upto,
        }
        told = {
            "v": VERSION,
            "state": "online",
            "run": self._outbox.run,
            "time": iso_time(time.time()),
        }
        offset = None if self.offset is None else round(self.offset, 3)
        return dump({**told, "clock_offset": offset, "outbox": outbox, **self._state()})

    @property
    def waiting(self) -> int:
        """Events that the collector has not acknowledged."""
        return self._outbox.waiting().events

    def _is_waiting(self) -> bool | None:
        """Whether events wait, None where nobody can tell."""
        try:
            return bool(self.waiting)
        except StoreError:
            return None

    def close(self, timeout: float = 1.0) -> None:
        """Wait a moment until all is acknowledged, say goodbye; what waits stays in the file."""
        if self._stop.is_set():
            return
        end = time.monotonic() + timeout
        self.wake()
        while self._connected and time.monotonic() < end and self._is_waiting():
            time.sleep(0.02)
        super().close()
        if self._connected:
            self._move()
            if self._is_waiting() is not None:
                self._client.publish(
                    topic_of(self.device, STATE), self._state_now(), qos=1, retain=True
                )
            leave_word(self._client, topic_of(self.device, STATE), self._offline(), 0.5)
        self._client.disconnect()
        self._client.loop_stop()
        self._outbox.close()
