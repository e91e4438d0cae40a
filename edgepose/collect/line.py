"""A connection to an MQTT 3.1.1 broker for very many small messages: it reads and writes them in large pieces.

paho-mqtt, which speaks for edgepose everywhere else, reads and writes every packet by itself and wakes a thread for each;
that was most of what an event cost the collector. One thread does all reading and writing here (two cannot share a TLS
connection); whoever sends leaves many messages at once and wakes it once.

A message (qos 1) is acknowledged to the broker when it is in memory. That it is on a disk is told by messages of ours.
"""

from __future__ import annotations

import random
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from edgepose.closing import Closing
from edgepose.errors import OutputError
from edgepose.io.mqtt import (
    FIRST_DELAY,
    KEEPALIVE_SECONDS,
    LONGEST_DELAY,
    Broker,
    certificate_trouble,
)

Message = tuple[str, bytes, bool, float]  # topic, payload, retained, UTC seconds

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, UNSUBSCRIBE = 0x10, 2, 3, 4, 0x82, 9, 0xA2
PING, GOODBYE = b"\xc0\0", b"\xe0\0"
RETAIN, QOS = 1, 6  # bits of a PUBLISH
PIECE = 1 << 18  # bytes read at once
MOST_PACKET = (
    1 << 18
)  # of a packet; what is behind is thrown away, and whoever reads the payload finds it cut
REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "our name",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorized",
}


class Refused(Exception):
    """The broker does not want us."""


def text(word: str) -> bytes:
    """A text as MQTT writes it."""
    data = word.encode()
    return struct.pack(">H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    """A packet with its length."""
    length, size = bytearray((first,)), len(body)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes(length) + body


class Packets:
    """Cuts what comes into packets."""

    def __init__(self) -> None:
        self._rest, self._skip = b"", 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(first byte, body) of each packet that is there now.

        Raises:
            ValueError: it is no MQTT.
        """
        if self._skip:
            data, self._skip = data[self._skip :], max(0, self._skip - len(data))
        data = self._rest + data
        found, at, end = [], 0, len(data)
        while end - at > 1:
            body, size, shift = at + 1, 0, 0
            while body < end and (digit := data[body]) > 127:
                size, shift, body = size | (digit & 127) << shift, shift + 7, body + 1
                if shift > 21:
                    raise ValueError("the broker does not speak MQTT")
            if body == end:
                break
            size |= data[body] << shift
            body += 1
            kept = min(size, MOST_PACKET)
            if end - body < kept:
                break
            found.append((data[at], data[body : body + kept]))
            at = min(end, body + size)
            self._skip = body + size - at
        self._rest = data[at:]
        return found


@dataclass
class _Wire:
    """A socket that does not wait, and what stands between."""

    socket: socket.socket
    packets: Packets = field(default_factory=Packets)
    began: float = 0.0
    heard: float = 0.0
    said: float = 0.0
    greeted: bool = False

    def read(self) -> list[tuple[int, bytes]]:
        """Packets that have come; none where nothing has.

        Raises:
            OSError: the line is broken. ValueError: it is no MQTT.
        """
        try:
            data = self.socket.recv(PIECE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        self.heard = time.monotonic()
        found = self.packets.feed(data)
        if found and not self.greeted and found[0][0] >> 4 != CONNACK:
            raise ValueError("it does not speak MQTT")
        self.greeted = self.greeted or bool(found)
        return found

    def write(self, data: bytes) -> bytes:
        """Send what can be sent now; the rest."""
        try:
            while data:
                data = data[self.socket.send(data) :]
                self.said = time.monotonic()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        return data

    @property
    def more(self) -> bool:
        """TLS holds bytes of which `select` knows nothing."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0


class Line(Closing):
    """The connection; it comes back by itself, each time with its subscriptions.

    Args:
        broker: where to, and who we are. name: the client's id.
        topics: to subscribe to, with qos 1.
        take: called with messages that have come, in the line's thread.
        tell: called with (connected, why not), in the line's thread.
        full: True while nothing more shall be read.
        patience: seconds that the broker has to let us in.

    Raises:
        OutputError: a file for TLS cannot be read.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        topics: Sequence[str],
        *,
        take: Callable[[list[Message]], None],
        tell: Callable[[bool, str], None],
        full: Callable[[], bool],
        patience: float = 2 * KEEPALIVE_SECONDS,
    ) -> None:
        self._broker, self._name, self._topics = broker, broker.client or name, tuple(topics)
        self._take, self._tell, self._full = take, tell, full
        self._tls, self._patience = _tls(broker), patience
        self._guard = threading.Lock()
        self._out = b""
        self._number = 0
        self._up = self._heard = False
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._thread.start()

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send messages (topic, payload) with qos 1; they are lost where the line is, or breaks."""
        parts = []
        for topic, payload in messages:
            self._number = self._number % 65535 + 1
            parts.append(packet(0x32, text(topic) + struct.pack(">H", self._number) + payload))
        self._leave(b"".join(parts))

    def silence(self) -> None:
        """Ask the broker for no more."""
        topics = b"".join(map(text, self._topics))
        self._leave(packet(UNSUBSCRIBE, b"\0\2" + topics))

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._out)

    def _leave(self, data: bytes) -> None:
        with self._guard:
            if self._up:
                self._out += data
        self._wake()

    def _wake(self) -> None:
        try:
            self._ring.send(b"x")
        except OSError:  # it rings already, or the line is closed
            return

    # in the line's thread -----------------------------------------------------------------------------
    def _run(self) -> None:
        delay = float(FIRST_DELAY)
        while not self._stop.is_set():
            began = time.monotonic()
            why = self._once()
            if self._stop.is_set():
                break
            self._tell(False, why)
            if time.monotonic() - began > LONGEST_DELAY:
                delay = FIRST_DELAY
            self._stop.wait(delay * random.uniform(0.7, 1.0))
            delay = min(LONGEST_DELAY, delay * 2)

    def _once(self) -> str:
        """One connection, from its beginning to its end; why it ended."""
        address = (self._broker.host, self._broker.port)
        try:
            with socket.create_connection(address, timeout=KEEPALIVE_SECONDS) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is None:
                    return self._speak(plain)
                with self._tls.wrap_socket(plain, server_hostname=self._broker.host) as secure:
                    return self._speak(secure)
        except Refused as e:
            return str(e)
        except (OSError, ValueError, LookupError) as e:  # ssl.SSLError is an OSError
            if self._heard:
                return "the broker is gone"
            trouble = certificate_trouble(e)
            return f"no secure connection ({trouble})" if trouble else f"no broker answers ({e})"
        finally:
            with self._guard:
                self._up, self._heard, self._out = False, False, b""

    def _speak(self, connected: socket.socket) -> str:
        connected.setblocking(False)
        now = time.monotonic()
        wire = _Wire(connected, began=now, heard=now, said=now)
        with self._guard:
            self._up, self._out = True, self._hello()
        while not self._stop.is_set() or self._out:
            listening = not self._full() and not self._stop.is_set()
            with self._guard:
                self._out = wire.write(self._out)
                writing = [connected] if self._out else []
            reading = [self._bell, *([connected] if listening else [])]
            wait = 0.0 if listening and wire.more else 1.0
            ready = select.select(reading, writing, [], wait)[0]
            if self._bell in ready:
                self._bell.recv(4096)
            if listening and (connected in ready or wire.more):
                self._hear(wire.read())
            self._keep_alive(wire, listening)
        connected.setblocking(True)
        connected.sendall(GOODBYE)
        return ""

    def _hello(self) -> bytes:
        broker = self._broker
        flags = 2 | (0xC0 if broker.user else 0)  # a clean session, and a password
        login = text(broker.user) + text(broker.password) if broker.user else b""
        head = text("MQTT") + struct.pack(">BBH", 4, flags, KEEPALIVE_SECONDS)
        return packet(CONNECT, head + text(self._name) + login)

    def _keep_alive(self, wire: _Wire, listening: bool) -> None:
        now = time.monotonic()
        if now - wire.said > KEEPALIVE_SECONDS / 2:
            with self._guard:
                self._out += PING
        if not self._heard and now - wire.began > self._patience:
            raise TimeoutError("it does not let us in")  # whatever else it sends
        if not listening:
            wire.heard = now
        elif now - wire.heard > 2 * KEEPALIVE_SECONDS:
            raise TimeoutError("the broker is silent")

    def _hear(self, packets: Iterable[tuple[int, bytes]]) -> None:
        now, messages, received = time.time(), list[Message](), list[bytes]()
        for first, body in packets:
            kind = first >> 4
            if kind == PUBLISH:
                behind = 2 + (body[0] << 8 | body[1])
                if first & QOS:
                    received.append(b"\x40\2" + body[behind : behind + 2])
                payload = body[behind + 2 :] if first & QOS else body[behind:]
                topic = body[2:behind].decode("utf-8", "backslashreplace")
                messages.append((topic, payload, bool(first & RETAIN), now))
            elif kind == CONNACK:
                if body[1]:
                    why = REFUSALS.get(body[1], f"code {body[1]}")
                    raise Refused(f"the broker refuses us ({why})")
                topics = b"".join(text(topic) + b"\1" for topic in self._topics)
                self._leave(packet(SUBSCRIBE, b"\0\1" + topics))
            elif kind == SUBACK:
                if any(code & 0x80 for code in body[2:]):
                    raise Refused(
                        "the broker lets us subscribe to nothing; give the collector's user the right"
                    )
                self._heard = True
                self._tell(True, "")
        if received:
            with self._guard:
                self._out += b"".join(received)
        if messages:
            self._take(messages)

    def close(self) -> None:
        """Send what waits, say goodbye; safe to call twice."""
        self._stop.set()
        self._wake()
        self._thread.join(5)
        self._bell.close()
        self._ring.close()


def _tls(broker: Broker) -> ssl.SSLContext | None:
    if not broker.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=broker.ca or None)
        if broker.cert:
            context.load_cert_chain(broker.cert, broker.key or None)
    except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
        files = (("ca", broker.ca), ("cert", broker.cert), ("key", broker.key))
        named = ", ".join(f"{word}={value}" for word, value in files if value)
        raise OutputError(f"{broker.shown}: {named} cannot be read: {e}.") from None
    return context
