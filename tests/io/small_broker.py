"""An MQTT 3.1.1 broker for machines without mosquitto: `python small_broker.py MOSQUITTO.CONF`.

As much as the tests need: QoS 0 and 1, retained messages, wills, sessions that last, shared subscriptions; of the
configuration TLS, passwords (as they are, not hashed) and the rights of a file; nothing is kept on a disk.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14
WINDOW = 20  # messages on their way to a client without its acknowledgement


@dataclass
class Message:
    """What travels: topic, content, quality of service, and whether it was kept for who comes later."""

    topic: str
    payload: bytes
    qos: int
    retained: bool = False


@dataclass
class Session:
    """A client as the broker knows it, connected or not."""

    name: str
    lasts: bool
    user: str = ""
    filters: dict[str, int] = field(default_factory=dict)
    queue: deque[Message] = field(default_factory=deque)
    flying: dict[int, Message] = field(default_factory=dict)
    connection: socket.socket | None = None
    numbers: count[int] = field(default_factory=lambda: count(1))


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A packet with its length in groups of seven bits."""
    length, size = b"", len(body)
    while not length or size:
        size, low = divmod(size, 128)
        length += bytes([low | (128 if size else 0)])
    return bytes([kind << 4 | flags]) + length + body


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


class Reader:
    """Takes the fields of a packet from its front."""

    def __init__(self, body: bytes) -> None:
        self.rest = body

    def take(self, size: int) -> bytes:
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def text(self) -> str:
        return self.take(self.number()).decode()


def matches(pattern: str, topic: str) -> bool:
    wanted, words = pattern.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("#", "+"):
        return False
    for i, want in enumerate(wanted):
        if want == "#":
            return True
        if i >= len(words) or want not in ("+", words[i]):
            return False
    return len(wanted) == len(words)


class Rights:
    """Who is let in, and what for."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._passwords: dict[str, str] | None = None
        if settings.get("allow_anonymous") == "false":
            file = settings.get("password_file")  # none: nobody is let in
            lines = Path(file).read_text().splitlines() if file else []
            self._passwords = dict(line.split(":", 1) for line in lines)
        self._rules: list[tuple[str, str, str]] | None = None  # user ("" all), access, filter
        if "acl_file" in settings:
            self._rules, user = [], ""
            for line in Path(settings["acl_file"]).read_text().splitlines():
                word, _, rest = line.partition(" ")
                if word == "user":
                    user = rest
                elif word in ("topic", "pattern"):
                    access, pattern = rest.split()
                    self._rules.append(("" if word == "pattern" else user, access, pattern))

    def lets_in(self, user: str, password: str) -> bool:
        return self._passwords is None or self._passwords.get(user) == password

    def allows(self, user: str, access: str, topic: str) -> bool:
        return self._rules is None or any(
            kind == access and whose in ("", user) and matches(of.replace("%u", user), topic)
            for whose, kind, of in self._rules
        )


class Broker:
    """All sessions and what is retained; one lock, as tests have few clients."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._lock = threading.RLock()
        self._sessions: dict[str, Session] = {}
        self._retained: dict[str, Message] = {}
        self._turns: dict[str, int] = {}

    def serve(self, connection: socket.socket) -> None:
        """One connection from its first packet to its last."""
        stream = connection.makefile("rb")
        will, session = None, None
        try:
            _, body = self._next(stream)
            session, will = self._connect(connection, Reader(body))
            while True:
                head, body = self._next(stream)
                if head >> 4 == DISCONNECT:
                    will = None
                    return
                self._handle(session, head, Reader(body))
        except (OSError, ValueError, EOFError):
            return
        finally:
            with self._lock:
                if session is not None and session.connection is connection:
                    session.connection = None
                    if not session.lasts:
                        self._sessions.pop(session.name, None)
                if session is not None and will is not None:
                    self._publish(session.user, will)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    @staticmethod
    def _next(stream: socket.SocketIO) -> tuple[int, bytes]:  # type: ignore[name-defined]
        head = stream.read(1)
        if not head:
            raise EOFError
        size, shift = 0, 0
        while True:
            byte = stream.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        body = stream.read(size)
        if len(body) < size:
            raise EOFError
        return head[0], body

    def _connect(self, connection: socket.socket, r: Reader) -> tuple[Session, Message | None]:
        r.text(), r.take(1)
        flags, keep_alive, name, will = r.take(1)[0], r.number(), r.text(), None
        connection.settimeout(keep_alive * 1.5 or None)
        if flags & 4:
            topic = r.text()
            will = Message(topic, r.take(r.number()), flags >> 3 & 3, bool(flags & 32))
        user = r.text() if flags & 128 else ""
        if not self._rights.lets_in(user, r.text() if flags & 64 else ""):
            connection.sendall(packet(CONNACK, bytes([0, 5])))
            raise ValueError(user)
        name = name or f"nameless {id(connection)}"
        with self._lock:
            old = self._sessions.get(name)
            if old is not None and old.connection is not None:
                with suppress(OSError):
                    old.connection.shutdown(socket.SHUT_RDWR)
            fresh = flags & 2 or old is None
            session = Session(name, lasts=not flags & 2) if fresh or old is None else old
            session.connection, session.user, self._sessions[name] = connection, user, session
            connection.sendall(packet(CONNACK, bytes([0 if fresh else 1, 0])))
            for number, message in session.flying.items():
                self._send(session, message, number, again=True)
            self._drain(session)
        return session, will

    def _handle(self, session: Session, head: int, r: Reader) -> None:
        kind, connection = head >> 4, session.connection
        assert connection is not None
        with self._lock:
            if kind == PUBLISH:
                topic, qos = r.text(), head >> 1 & 3
                number = r.take(2) if qos else b""
                self._publish(session.user, Message(topic, r.rest, qos, bool(head & 1)))
                if qos:
                    connection.sendall(packet(PUBACK, number))
            elif kind == PUBACK:
                session.flying.pop(r.number(), None)
                self._drain(session)
            elif kind == SUBSCRIBE:
                self._subscribe(session, r)
            elif kind == UNSUBSCRIBE:
                number = r.take(2)
                while r.rest:
                    session.filters.pop(r.text(), None)
                connection.sendall(packet(UNSUBACK, number))
            elif kind == PINGREQ:
                connection.sendall(packet(PINGRESP, b""))
            else:
                raise ValueError(kind)

    def _subscribe(self, session: Session, r: Reader) -> None:
        number, granted, asked = r.take(2), b"", []
        while r.rest:
            pattern, qos = r.text(), min(1, r.take(1)[0])
            session.filters[pattern] = qos
            granted += bytes([qos])
            asked.append((pattern, qos))
        assert session.connection is not None
        session.connection.sendall(packet(SUBACK, number + granted))
        for pattern, qos in asked:
            for kept in self._retained.values():
                if matches(pattern, kept.topic):
                    self._queue(session, kept, min(qos, kept.qos), retained=True)

    def _publish(self, user: str, message: Message) -> None:
        if not self._rights.allows(user, "write", message.topic):
            return  # acknowledged all the same, as mosquitto does
        if message.retained and message.payload:
            self._retained[message.topic] = message
        elif message.retained:
            self._retained.pop(message.topic, None)
        shares: dict[str, list[tuple[Session, int]]] = {}
        for session in list(self._sessions.values()):
            fits = []
            for pattern, qos in session.filters.items():
                share, _, inner = pattern.removeprefix("$share/").partition("/")
                if pattern.startswith("$share/"):
                    if session.connection is not None and matches(inner, message.topic):
                        shares.setdefault(share + inner, []).append((session, qos))
                elif matches(pattern, message.topic):
                    fits.append(qos)
            if fits:
                self._queue(session, message, min(message.qos, max(fits)))
        for share, members in shares.items():
            turn = self._turns[share] = self._turns.get(share, 0) + 1
            session, qos = members[turn % len(members)]
            self._queue(session, message, min(message.qos, qos))

    def _queue(self, session: Session, message: Message, qos: int, retained: bool = False) -> None:
        if session.connection is None and not (session.lasts and qos):
            return
        if not self._rights.allows(session.user, "read", message.topic):
            return
        session.queue.append(Message(message.topic, message.payload, qos, retained))
        self._drain(session)

    def _drain(self, session: Session) -> None:
        while session.connection is not None and session.queue and len(session.flying) < WINDOW:
            message = session.queue.popleft()
            number = 0
            if message.qos:
                number = next(n for n in session.numbers if n % 65536 not in (0, *session.flying))
                session.flying[number % 65536] = message
            self._send(session, message, number % 65536)

    @staticmethod
    def _send(session: Session, message: Message, number: int, again: bool = False) -> None:
        flags = (8 if again else 0) | message.qos << 1 | message.retained
        body = text(message.topic) + (struct.pack(">H", number) if message.qos else b"")
        with suppress(OSError):  # its own thread hears of it
            assert session.connection is not None
            session.connection.sendall(packet(PUBLISH, body + message.payload, flags))


async def secure(port: int, inner: int, settings: dict[str, str]) -> None:
    """TLS on a port; what comes is handed to another one, where it is plain."""
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings["cafile"])
    trust.load_cert_chain(settings["certfile"], settings["keyfile"])
    if settings.get("require_certificate") == "true":
        trust.verify_mode = ssl.CERT_REQUIRED

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", inner)
        await asyncio.gather(pump(reader, there), pump(back, writer))

    server = await asyncio.start_server(meet, "127.0.0.1", port, ssl=trust)
    await server.serve_forever()


def listen(listening: socket.socket, broker: Broker) -> None:
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=broker.serve, args=(connection,), daemon=True).start()


def main() -> None:
    lines = Path(sys.argv[1]).read_text().splitlines()
    settings = dict(line.split(" ", 1) for line in lines if line)
    port, broker = int(settings["listener"].split()[0]), Broker(Rights(settings))
    tls = "certfile" in settings
    plain = socket.create_server(("127.0.0.1", 0 if tls else port))
    if tls:
        threading.Thread(target=listen, args=(plain, broker), daemon=True).start()
        asyncio.run(secure(port, plain.getsockname()[1], settings))
    else:
        listen(plain, broker)


if __name__ == "__main__":
    main()
