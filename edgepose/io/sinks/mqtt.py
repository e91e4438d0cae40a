"""`mqtt://user:password@host:1883/topic`: each result as a JSON message (paho-mqtt, extra `mqtt`).

Messages wait in a bounded queue (the oldest is dropped and counted when it is full) in memory or in
a file, which a later run goes on sending. With qos=1 a message leaves the queue when the broker has
acknowledged it. **That acknowledgement is worth as much as the broker's memory**: mosquitto acknowledges
first and writes its database every half hour, so a broker that is killed loses what it had acknowledged and
not yet given to its subscribers. No setting of the broker closes this gap. What must not be lost goes over
`edgepose serve --fleet`, where the store itself acknowledges.

| word in the URI | default | meaning |
|---|---|---|
| qos | 0 | 0 at most once, 1 at least once, 2 exactly once: to the broker, while it lives |
| queue | 1000 | messages that may wait |
| spool | | file of the queue; without it the queue is in memory. A power cut may lose some |
| retain | 0 | 1: the broker keeps the last result for new subscribers |
| client | | client id; random by default |
| wait | 0 | 1: a broker that is absent at the start is no error |
| ca, cert, key | | files for mqtts://, see `edgepose/io/mqtt.py` |

Beside results, `TOPIC/gestures` has a message for each begin and end of a gesture of a tracked person (the end
comes two seconds after who vanishes, and at the end of the source),
`TOPIC/events` has status events, and `TOPIC/status` says online or offline
(retained; the broker itself says offline when we vanish: the last will).
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepose.errors import OutputError
from edgepose.io.base import Sink, SinkOptions
from edgepose.io.mqtt import (
    KEEPALIVE_SECONDS,
    Broker,
    broker_of,
    certificate_trouble,
    leave_word,
    make_client,
    number,
    publish_topic,
)
from edgepose.io.sinks.gesture_changes import Change, GestureChanges
from edgepose.io.sinks.rows import plain, result_row, score, seconds, to_json
from edgepose.io.sinks.spool import Spool
from edgepose.types import Result

log = logging.getLogger(__name__)

IN_FLIGHT = 20
START_SECONDS = 5.0
CLOSE_SECONDS = 1.0
WORDS = ("qos", "queue", "retain", "wait", "spool")


@dataclass(frozen=True)
class Settings:
    """What a target asks for; see the module's table."""

    broker: Broker
    topic: str
    qos: int = 0
    queue: int = 1000
    spool: str = ""
    retain: bool = False
    wait: bool = False

    @property
    def shown(self) -> str:
        """The target without credentials."""
        return self.broker.shown


def settings(target: str) -> Settings:
    """Parse a target.

    Raises:
        UsageError: no mqtt:// URI, no host or topic, or a value that cannot be meant.
    """
    broker = broker_of(target, WORDS)
    return Settings(
        broker,
        publish_topic(broker, target),
        number(broker, "qos", 0, 0, 2),
        number(broker, "queue", 1000, 1, 10_000_000),
        broker.words.get("spool", ""),
        bool(number(broker, "retain", 0, 0, 1)),
        bool(number(broker, "wait", 0, 0, 1)),
    )


class MqttSink(Sink):
    """Publishes results; see the module's text.

    Attributes:
        sent: messages that left the queue for the broker.

    Raises:
        BackendUnavailable: no paho-mqtt. UsageError: the target. OutputError: the broker is absent
            or refuses us.
    """

    def __init__(self, target: str, options: SinkOptions | None = None) -> None:
        self._settings = s = settings(target)
        self._spool = Spool(s.spool, s.queue)
        self._changes = GestureChanges()
        self._last: dict[str, tuple[int, float | None]] = {}  # frame and time of each source
        self.sent = 0
        self._announced: dict[str, str] = {}
        self._connected, self._news = threading.Event(), threading.Event()
        self._refused, self._absent = "", False
        self._stop = False
        self._flying: dict[int, int] = {}
        self._early: set[int] = set()
        self._lock = threading.Lock()
        self._client: Any = self._make_client()
        self._client.connect_async(s.broker.host, s.broker.port, keepalive=KEEPALIVE_SECONDS)
        self._client.loop_start()
        self._sender = threading.Thread(target=self._send, name="mqtt", daemon=True)
        self._sender.start()
        self._wait_for_start()

    def _make_client(self) -> Any:
        s = self._settings
        client = make_client(s.broker)
        client.will_set(f"{s.topic}/status", "offline", qos=1, retain=True)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _wait_for_start(self) -> None:
        s = self._settings
        end = time.monotonic() + START_SECONDS
        while not self._connected.wait(0.05) and not self._refused and time.monotonic() < end:
            if s.wait or self._absent:
                break
        if self._connected.is_set():
            return
        refused = self._refused
        if s.wait and not refused:
            return
        self._abandon()
        if refused:
            raise OutputError(f"{s.shown}: {refused}.")
        raise OutputError(
            f"{s.shown}: no broker answers. Check host and port, or add wait=1 to queue until one is "
            "there."
        )

    # in paho's thread -----------------------------------------------------------------------------
    def _on_connect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"the broker refuses us ({reason})"
            log.warning("%s: %s", self._settings.shown, self._refused)
            return
        client.publish(f"{self._settings.topic}/status", "online", qos=1, retain=True)
        self._say_announced(client)
        self._refused = ""
        self._connected.set()
        self._news.set()

    def _on_connect_fail(self, client: Any, _: Any) -> None:
        trouble = certificate_trouble(sys.exc_info()[1])
        if trouble and not self._refused:
            self._refused = f"no secure connection ({trouble})"
            log.warning("%s: %s", self._settings.shown, self._refused)
        self._absent = True

    def _on_disconnect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._connected.is_set() and not self._stop:
            log.warning("%s: the broker is gone; messages wait", self._settings.shown)
        self._connected.clear()

    def _on_publish(self, client: Any, _: Any, number: int, reason: Any, properties: Any) -> None:
        with self._lock:
            message = self._flying.pop(number, None)
            if message is None:
                self._early.add(number)  # before `publish` told its number; or a status message
                return
        self._gone(message)

    # in the sender's thread -----------------------------------------------------------------------
    def _send(self) -> None:
        """Hand messages to paho, never more than it may have in flight.

        Unacknowledged ones are sent again by paho itself after a reconnection.
        """
        last = 0
        while not self._stop:
            self._news.wait(0.5)
            self._news.clear()
            while self._connected.is_set() and not self._stop:
                room = IN_FLIGHT - len(self._flying)
                waiting = self._spool.after(last, room) if room > 0 else []
                if not waiting:
                    break
                for at, topic, payload in waiting:
                    last = at
                    try:
                        self._publish(at, topic, payload)
                    except (ValueError, TypeError):  # no topic or payload: a damaged spool
                        self._spool.remove(at)
                        self._spool.dropped += 1

    def _publish(self, number: int, topic: str, payload: bytes) -> None:
        s = self._settings
        # without our lock: paho holds its own while it calls `_on_publish`
        retain = s.retain or topic == f"{s.topic}/state"
        sent = self._client.publish(topic, payload, qos=s.qos, retain=retain)
        with self._lock:
            early = sent.mid in self._early
            self._early.clear()
            if s.qos and not early:
                self._flying[sent.mid] = number
                return
        self._gone(number)

    def _gone(self, message: int) -> None:
        """The broker has a message."""
        self._spool.remove(message)
        self.sent += 1
        self._news.set()

    # ----------------------------------------------------------------------------------------------
    def write(self, result: Result) -> None:
        """Queue one result, and what begins and ends in it."""
        self._queue(self._settings.topic, to_json(result_row(result)))
        self._last[result.source] = result.frame, result.pts
        self._tell(result.source, self._changes.update(result))

    def _tell(self, source: str, changes: Sequence[Change]) -> None:
        frame, pts = self._last[source]
        for word, track, gesture in changes:
            row = {"event": word, "gesture": gesture.name, "track": track}
            row |= {"score": score(gesture.score), "seconds": round(gesture.seconds, 3)}
            row |= {"source": source, "frame": frame, "pts": seconds(pts)}
            self._queue(f"{self._settings.topic}/gestures", to_json(row))

    def event(self, event: Mapping[str, Any]) -> None:
        """Queue a status event."""
        self._queue(f"{self._settings.topic}/events", to_json(plain(dict(event))))

    def _queue(self, topic: str, text: str) -> None:
        if self._stop:
            return
        self._spool.add(topic, text.encode())
        self._news.set()

    def beside(self, word: str, content: Mapping[str, Any]) -> None:
        """Queue something under `TOPIC/WORD`, in order with the results; a `state` is retained."""
        self._queue(f"{self.topic}/{word}", to_json(plain(dict(content))))

    def announce(self, messages: Mapping[str, Mapping[str, Any]]) -> None:
        """Publish retained messages by topic now, and again whenever the broker is there again."""
        self._announced = {topic: to_json(dict(content)) for topic, content in messages.items()}
        if self._connected.is_set():
            self._say_announced(self._client)

    def _say_announced(self, client: Any) -> None:
        for topic, text in self._announced.items():
            client.publish(topic, text, qos=1, retain=True)

    @property
    def topic(self) -> str:
        """Where results go."""
        return self._settings.topic

    @property
    def counters(self) -> dict[str, int]:
        """Messages sent, waiting and dropped."""
        return {"sent": self.sent, "waiting": len(self._spool), "dropped": self._spool.dropped}

    def close(self) -> None:
        """End the gestures that go on, send what is queued for up to a second, say goodbye; a spool keeps the rest."""
        if self._stop:
            return
        for source, changes in self._changes.finish().items():
            self._tell(source, changes)
        end = time.monotonic() + CLOSE_SECONDS
        while self._connected.is_set() and len(self._spool) and time.monotonic() < end:
            time.sleep(0.01)
        if self._connected.is_set():
            patience = max(0.1, end - time.monotonic())
            leave_word(self._client, f"{self._settings.topic}/status", "offline", patience)
        left = len(self._spool)
        if left and not self._settings.spool:
            log.warning("%s: %d messages could not be sent", self._settings.shown, left)
        self._abandon()

    def _abandon(self) -> None:
        self._stop = True
        self._news.set()
        client, self._client = self._client, None
        client.disconnect()
        client.loop_stop()
        self._sender.join(2)
        self._spool.close()
        # paho closes its wake-up sockets when it is collected: leave it no cycle through us
        client.on_connect = client.on_connect_fail = None
        client.on_disconnect = client.on_publish = None
