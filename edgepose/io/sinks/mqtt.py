"""`mqtt://user:password@host:1883/topic`: each result as a JSON message (paho-mqtt, extra `mqtt`).

Messages wait in a bounded queue (the oldest is dropped and counted when it is full) in memory or in
a file, which a later run goes on sending. With qos=1 a message leaves the queue when the broker has
acknowledged it, so a broker that restarts misses nothing that fitted into the queue.

| word in the URI | default | meaning |
|---|---|---|
| qos | 0 | 0 at most once, 1 at least once, 2 exactly once |
| queue | 1000 | messages that may wait |
| spool | | file of the queue; without it the queue is in memory |
| retain | 0 | 1: the broker keeps the last result for new subscribers |
| client | | client id; random by default |
| wait | 0 | 1: a broker that is absent at the start is no error |
| ca | | file of certificates for mqtts:// instead of the system's |

Beside results, `TOPIC/gestures` has a message for each begin and end of a gesture of a tracked person,
`TOPIC/events` has status events, and `TOPIC/status` says online or offline
(retained; the broker itself says offline when we vanish: the last will).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from edgepose.errors import BackendUnavailable, OutputError, UnknownNameError, UsageError
from edgepose.io.base import Sink, SinkOptions
from edgepose.io.sinks.gesture_changes import GestureChanges
from edgepose.io.sinks.rows import plain, result_row, score, seconds, to_json, valid
from edgepose.io.uri import Uri, parse
from edgepose.types import Result

log = logging.getLogger(__name__)

T = TypeVar("T")

IN_FLIGHT = 20
START_SECONDS = 5.0
CLOSE_SECONDS = 1.0
KEEPALIVE_SECONDS = 20
FIRST_DELAY, LONGEST_DELAY = 1, 30


@dataclass(frozen=True)
class Settings:
    """What a target asks for; see the module's table."""

    host: str
    port: int
    topic: str
    user: str = ""
    password: str = ""
    tls: bool = False
    qos: int = 0
    queue: int = 1000
    spool: str = ""
    retain: bool = False
    client: str = ""
    wait: bool = False
    ca: str = ""
    shown: str = ""


def settings(target: str) -> Settings:
    """Parse a target.

    Raises:
        UsageError: no mqtt:// URI, no host or topic, or a value that cannot be meant.
    """
    uri = parse(target)
    topic = uri.path.strip("/")
    if uri.scheme not in ("mqtt", "mqtts") or not uri.host or not topic:
        raise UsageError(
            f"{uri.display!r} is no MQTT target. Example: mqtt://broker:1883/building/door?qos=1"
        )
    if "#" in target or "+" in topic:
        raise UsageError(f"{uri.display}: a topic to publish to holds no # and no +.")
    if valid(topic) != topic:
        raise UsageError(f"{valid(uri.display)}: the topic is no valid text.")
    secure = uri.scheme == "mqtts"
    words: dict[str, Any] = {}
    for key, value in uri.query:
        words[key] = _value(uri, key, value)
    return Settings(
        uri.host,
        uri.port or (8883 if secure else 1883),
        topic,
        uri.user,
        uri.password,
        secure,
        shown=uri.display,
        **words,
    )


def _value(uri: Uri, key: str, value: str) -> object:
    limits = {"qos": (0, 2), "queue": (1, 10_000_000), "retain": (0, 1), "wait": (0, 1)}
    if key in ("spool", "client", "ca"):
        return value
    if key not in limits:
        key = key if value else "***"  # a bare word may be a part of a password
        raise UnknownNameError("word in an mqtt:// URI", key, [*limits, "spool", "client", "ca"])
    low, high = limits[key]
    if not value.isdecimal() or not low <= int(value) <= high:
        raise UsageError(f"{uri.display}: {key}={value} is not a number from {low} to {high}.")
    return bool(int(value)) if key in ("retain", "wait") else int(value)


class Spool:
    """A bounded first-in first-out queue of messages in a file or in memory (SQLite).

    Args:
        path: the file, "" = memory. limit: messages kept; the oldest is dropped beyond.

    Raises:
        OutputError: the file is no spool, in use, or cannot be written.
    """

    def __init__(self, path: str, limit: int) -> None:
        self._path, self._limit = path, limit
        self._lock = threading.Lock()
        self.dropped = 0
        self._failing = False
        try:
            self._open()
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError) or not self._is_spool():
                raise OutputError(
                    f"The MQTT spool {path} cannot be used ({e}). Name another file, one for each run."
                ) from None
            self._start_anew(e)

    def _open(self) -> None:
        base = sqlite3.connect(self._path or ":memory:", check_same_thread=False, timeout=1.0)
        try:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=OFF")  # a crash of the machine may lose some
            base.execute("PRAGMA locking_mode=EXCLUSIVE")
            with base:
                base.execute(
                    "CREATE TABLE IF NOT EXISTS messages "
                    "(id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, payload BLOB)"
                )
                # reads every page that matters: damage shows now, and not in the middle of a run
                self._count = base.execute(
                    "SELECT count(*) FROM messages WHERE length(topic) + length(payload) >= 0"
                ).fetchone()[0]
        except sqlite3.Error:
            base.close()
            raise
        self._base = base

    def _is_spool(self) -> bool:
        """Whether the damaged file was ours, as far as its beginning tells: others are left alone."""
        try:
            with open(self._path, "rb") as file:
                return file.read(16) in (b"SQLite format 3\0", b"", bytes(16))
        except OSError:
            return False

    def _start_anew(self, error: sqlite3.Error) -> None:
        """Put a damaged file aside and begin another.

        Raises:
            OutputError: that cannot be done.
        """
        aside = f"{self._path}.damaged-{int(time.time())}"
        try:
            os.replace(self._path, aside)
            for tail in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(self._path + tail)
            self._open()
        except (OSError, sqlite3.Error) as e:
            raise OutputError(f"The MQTT spool {self._path} is damaged ({error}): {e}.") from None
        self.dropped += 1
        log.warning(
            "The MQTT spool %s is damaged (%s). It is put aside as %s, a new one is begun.",
            self._path,
            error,
            aside,
        )

    def __len__(self) -> int:
        return int(self._count)

    def add(self, topic: str, payload: bytes) -> None:
        """Append a message; one that cannot be stored (a full disk) is dropped and counted."""

        def insert(base: sqlite3.Connection) -> bool:
            base.execute("INSERT INTO messages (topic, payload) VALUES (?, ?)", (topic, payload))
            oldest = "SELECT id FROM messages ORDER BY id LIMIT ?"
            base.execute(f"DELETE FROM messages WHERE id IN ({oldest})", (over,))
            return True

        with self._lock:
            over = max(0, self._count + 1 - self._limit)
            if self._do("stored", insert):
                self._count += 1 - over
                self.dropped += over
            else:
                self.dropped += 1

    def after(self, number: int, count: int) -> list[tuple[int, str, bytes]]:
        """Up to `count` messages (id, topic, payload) that follow a number."""
        query = "SELECT id, topic, payload FROM messages WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock:
            return self._do("read", lambda base: list(base.execute(query, (number, count)))) or []

    def remove(self, number: int) -> None:
        """Take a message away."""
        query = "DELETE FROM messages WHERE id = ?"
        with self._lock:
            gone = self._do("taken away", lambda base: base.execute(query, (number,)).rowcount)
            self._count -= gone or 0

    def _do(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """A transaction that ends no run: where it fails (None), that is said once, and a damaged file
        is put aside."""
        try:
            with self._base:
                result = work(self._base)
        except sqlite3.Error as e:
            if not self._failing:
                log.warning("The MQTT spool %s: messages cannot be %s (%s).", self._path, what, e)
            self._failing = True
            if self._path and not isinstance(e, sqlite3.OperationalError):
                self._base.close()
                self._go_on(e)
            return None
        self._failing = False
        return result

    def _go_on(self, error: sqlite3.Error) -> None:
        """With a new file, or without one where that cannot be made."""
        try:
            self._start_anew(error)
        except OutputError as e:
            log.warning("%s Messages are kept in memory.", e)
            self._path = ""
            self._open()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()


class MqttSink(Sink):
    """Publishes results; see the module's text.

    Attributes:
        sent: messages that left the queue for the broker.

    Raises:
        BackendUnavailable: no paho-mqtt. UsageError: the target. OutputError: the broker is absent
            or refuses us.
    """

    def __init__(self, target: str, options: SinkOptions | None = None) -> None:
        try:
            import paho.mqtt.client as paho
        except ImportError:
            raise BackendUnavailable(
                "--mqtt needs paho-mqtt. Install it: pip install edgepose[mqtt]"
            ) from None
        self._settings = s = settings(target)
        self._spool = Spool(s.spool, s.queue)
        self._changes = GestureChanges()
        self.sent = 0
        self._connected, self._news = threading.Event(), threading.Event()
        self._refused, self._absent = "", False
        self._stop = False
        self._flying: dict[int, int] = {}
        self._early: set[int] = set()
        self._lock = threading.Lock()
        self._client: Any = self._make_client(paho)
        self._client.connect_async(s.host, s.port, keepalive=KEEPALIVE_SECONDS)
        self._client.loop_start()
        self._sender = threading.Thread(target=self._send, name="mqtt", daemon=True)
        self._sender.start()
        self._wait_for_start()

    def _make_client(self, paho: Any) -> Any:
        s = self._settings
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=s.client,
            clean_session=True,  # the queue is ours; the broker need not remember us
        )
        if s.user:
            client.username_pw_set(s.user, s.password)
        if s.tls:
            try:
                client.tls_set(ca_certs=s.ca or None)
            except (OSError, ValueError) as e:
                raise OutputError(f"{s.shown}: ca={s.ca} cannot be read: {e}.") from None
        client.will_set(f"{s.topic}/status", "offline", qos=1, retain=True)
        client.reconnect_delay_set(FIRST_DELAY, LONGEST_DELAY)
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
            raise OutputError(f"{s.shown}: the broker refuses us ({refused}).")
        raise OutputError(
            f"{s.shown}: no broker answers. Check host and port, or add wait=1 to queue until one is "
            "there."
        )

    # in paho's thread -----------------------------------------------------------------------------
    def _on_connect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
            log.warning("%s: the broker refuses us: %s", self._settings.shown, reason)
            return
        client.publish(f"{self._settings.topic}/status", "online", qos=1, retain=True)
        self._connected.set()
        self._news.set()

    def _on_connect_fail(self, client: Any, _: Any) -> None:
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
                for number, topic, payload in waiting:
                    last = number
                    try:
                        self._publish(number, topic, payload)
                    except (ValueError, TypeError):  # no topic or payload: a damaged spool
                        self._spool.remove(number)
                        self._spool.dropped += 1

    def _publish(self, number: int, topic: str, payload: bytes) -> None:
        s = self._settings
        # without our lock: paho holds its own while it calls `_on_publish`
        sent = self._client.publish(topic, payload, qos=s.qos, retain=s.retain)
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
        for word, track, gesture in self._changes.update(result):
            row = {"event": word, "gesture": gesture.name, "track": track}
            row |= {"score": score(gesture.score), "seconds": round(gesture.seconds, 3)}
            row |= {"source": result.source, "frame": result.frame, "pts": seconds(result.pts)}
            self._queue(f"{self._settings.topic}/gestures", to_json(row))

    def event(self, event: Mapping[str, Any]) -> None:
        """Queue a status event."""
        self._queue(f"{self._settings.topic}/events", to_json(plain(dict(event))))

    def _queue(self, topic: str, text: str) -> None:
        if self._stop:
            return
        self._spool.add(topic, text.encode())
        self._news.set()

    @property
    def counters(self) -> dict[str, int]:
        """Messages sent, waiting and dropped."""
        return {"sent": self.sent, "waiting": len(self._spool), "dropped": self._spool.dropped}

    def close(self) -> None:
        """Send what is queued for up to a second, say goodbye; a spool keeps the rest."""
        if self._stop:
            return
        end = time.monotonic() + CLOSE_SECONDS
        while self._connected.is_set() and len(self._spool) and time.monotonic() < end:
            time.sleep(0.01)
        if self._connected.is_set():
            farewell = self._client.publish(
                f"{self._settings.topic}/status", "offline", qos=1, retain=True
            )
            try:
                farewell.wait_for_publish(max(0.1, end - time.monotonic()))
            except (RuntimeError, ValueError):
                log.debug("the broker left first")
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
