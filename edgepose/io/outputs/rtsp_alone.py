"""An RTSP server in plain Python where there is no gst-rtsp-server; a program of its own.

What comes in on stdin and goes out on stdout is as in `rtsp_child.py`. Packets go within the
connection (TCP) or over UDP, as the viewer asks. Each viewer has a queue and a thread: a slow one
misses pictures up to a key frame and holds nobody up, one that takes nothing for 30 s is let go. Who
takes them over UDP must say something within the session's 60 s: a request, or a report (RTCP).

The protocol is RFC 2326 with the digest of RFC 2069.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

from edgepose.io.outputs.rtp import Packet, Packets, Payload, payload_for

RECORD = struct.Struct("!cBI")
REALM = "edgepose"
MOST_VIEWERS = 64
HELD_BYTES = 1 << 20  # of one viewer; more, and it is too slow
LINE, LINES, BODY = 8192, 64, 1 << 16
FIRST_PICTURE_SECONDS, IDLE_SECONDS, STUCK_SECONDS, SESSION_SECONDS = 10.0, 30, 30, 60
REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 454: "Session Not Found", 501: "Not Implemented",
    455: "Method Not Valid in This State", 461: "Unsupported Transport", 503: "Service Unavailable",
}  # fmt: skip
PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"

_talks = threading.Lock()


def tell(text: str) -> None:
    """One line to the parent."""
    with _talks:
        print(text, flush=True)


class Mount:
    """A path: its pictures become packets while somebody watches."""

    def __init__(self, number: int, path: str, payload: Payload, user: str, password: str) -> None:
        self.number, self.path, self.payload = number, path, payload
        self.user, self.password = user, password
        self.described = threading.Event()
        self._packets = Packets(payload)
        self._viewers: set[Connection] = set()
        self._lock = threading.Lock()

    def enter(self, viewer: Connection) -> None:
        """Somebody is interested; the first one waits for a new description."""
        with self._lock:
            if not self._viewers:
                self.described.clear()
                tell(f"watched {self.number} 1")
            self._viewers.add(viewer)
            tell(f"join {self.number}")

    def leave(self, viewer: Connection) -> None:
        """The viewer is gone."""
        with self._lock:
            if viewer in self._viewers:
                self._viewers.discard(viewer)
                if not self._viewers:
                    tell(f"watched {self.number} 0")

    def push(self, data: bytes) -> None:
        """Send one encoded picture to all who play."""
        packets, key = self._packets.of(data)
        with self._lock:
            viewers = list(self._viewers)
        if key:
            self.described.set()
        for viewer in viewers:
            viewer.offer(packets, key)


class Request(NamedTuple):
    """What a viewer asks."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Of the mount, without the stream's name behind it."""
        path = re.sub(r"^rtsps?://[^/]*", "", self.url).partition("?")[0]
        return unquote(path.rstrip("/").removesuffix("/stream=0"))


class Server(ThreadingTCPServer):
    """The port and its paths.

    Args:
        session: seconds after which a viewer over UDP that says nothing is gone.

    Raises:
        OSError: the port is taken.
    """

    allow_reuse_address, daemon_threads, request_queue_size = os.name != "nt", True, 64
    start_seconds = 60.0  # for which a viewer that does not play yet may hold a place

    def __init__(
        self, host: str, port: int, handler: type[Connection], session: int = SESSION_SECONDS
    ) -> None:
        self.session, self.starting = session, dict[Connection, float]()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.mounts: dict[str, Mount] = {}
        self._places = threading.Semaphore(MOST_VIEWERS)
        super().__init__((host, port), handler)

    def verify_request(self, request: object, client_address: object) -> bool:
        """There is a place left."""
        return self._places.acquire(blocking=False)

    def service_actions(self) -> None:
        """Several times a second: let go who says something now and then, but never plays."""
        for viewer, began in tuple(self.starting.items()):
            with suppress(OSError):
                if time.monotonic() - began > self.start_seconds:
                    viewer.connection.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Serve a viewer and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def lets_in(self, request: Request, nonce: str) -> bool:
        """The path asks for nobody's name, or the right one is given; unknown paths take any."""
        mount = self.mounts.get(request.path)
        asked = [mount] if mount else [m for m in self.mounts.values() if m.user]
        given = dict(re.findall(r'(\w+)="([^"]*)"', request.headers.get("authorization", "")))

        def digest(*words: str) -> str:
            return hashlib.md5(":".join(words).encode(), usedforsecurity=False).hexdigest()

        def right(m: Mount) -> bool:
            who, what = digest(m.user, REALM, m.password), digest(request.method, given["uri"])
            answer = given.get("response", "").encode()
            named = given.get("username") == m.user and given.get("nonce") == nonce
            return named and hmac.compare_digest(answer, digest(who, nonce, what).encode())

        return not any(m.user for m in asked) or ("uri" in given and any(map(right, asked)))


class Connection(StreamRequestHandler):
    """A viewer: its requests and answers, and the packets that go to it."""

    server: Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Bounds on how long it may say or take nothing."""
        super().setup()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._limit(socket.SO_RCVTIMEO, IDLE_SECONDS)
        self._limit(socket.SO_SNDTIMEO, STUCK_SECONDS)
        self.server.starting[self] = time.monotonic()
        self.nonce, self.session = secrets.token_hex(16), secrets.token_hex(8)
        self.mount: Mount | None = None
        self._speaks = threading.Lock()
        self._change = threading.Condition()
        self._queue: deque[Packet] = deque()
        self._held, self._playing, self._behind, self._over = 0, False, True, False
        self._send: Callable[[Packet], None] | None = None
        self._sockets: list[socket.socket] = []
        self._writer = threading.Thread(target=self._write, daemon=True)

    def _limit(self, option: int, seconds: int) -> None:
        value = seconds * 1000 if os.name == "nt" else struct.pack("@ll", seconds, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, option, value)

    def handle(self) -> None:
        """Take requests until the viewer goes."""
        with suppress(OSError, OverflowError, struct.error):  # gone, or nonsense
            while head := self._first():
                if head == b"$":
                    channel, size = struct.unpack("!BH", self.rfile.read(3) or b"")
                    self.came(channel, self.rfile.read(size) or b"")
                elif head not in b"\r\n" and not self._answer(head):
                    break

    def _first(self) -> bytes:
        """The first byte of what comes; empty where nobody is there any more."""
        head: Any = self.rfile.read(1)
        while head is None and self.reports():  # nothing came in time
            head = self.rfile.read(1)
        return head or b""

    def finish(self) -> None:
        """Free what it held."""
        self.server.starting.pop(self, None)
        if self.mount is not None:
            self.mount.leave(self)
        with self._change:
            self._over = True
            self._change.notify()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        if self._writer.ident is not None:
            self._writer.join()
        for one in self._sockets:
            one.close()
        with suppress(OSError):
            super().finish()

    def came(self, channel: int, data: bytes) -> None:
        """A packet of the viewer: its reports say nothing that is needed here."""

    def reports(self) -> bool:
        """Whether something came over UDP since the last look: its sender is still there."""
        came = False
        for one in self._sockets:
            while select.select([one], [], [], 0)[0]:
                with suppress(ConnectionError):  # an answer to what was sent
                    came = bool(one.recv(LINE)) or came
        return came

    # requests ---------------------------------------------------------------------------------
    def _answer(self, head: bytes) -> bool:
        """Read the rest of a request and answer it; False at the last one."""
        try:
            request = self._read(head)
        except ValueError:
            self.say({"cseq": "0"}, 400)
            return False
        self.do(request)
        return request.method != "TEARDOWN"

    def _read(self, head: bytes) -> Request:
        """Raises ValueError where it is no request, or too long."""
        method, url, _ = (head + self._line()).decode().split()
        headers = {}
        for _ in range(LINES + 1):  # not of names: one may come again and again
            name, _, value = self._line().decode().partition(":")
            headers[name.strip().lower()] = value.strip()
            if not name.strip():
                break
        else:
            raise ValueError
        size = int(headers.get("content-length", 0))
        if not 0 <= size <= BODY or not re.fullmatch(r"\d{1,10}", headers.get("cseq", "")):
            raise ValueError
        return Request(method, url, headers, self.rfile.read(size) if size else b"")

    def _line(self) -> bytes:
        line = self.rfile.readline(LINE)
        if not line.endswith(b"\n"):
            raise ValueError
        return line

    def do(self, request: Request) -> None:
        """Answer one request."""
        actions = {"DESCRIBE": self._describe, "SETUP": self._set_up, "PLAY": self._play,
                   "PAUSE": self._pause, "TEARDOWN": self._pause, "GET_PARAMETER": self._well,
                   "SET_PARAMETER": self._well}  # fmt: skip
        session = request.headers.get("session", "").partition(";")[0].strip()
        if request.method == "OPTIONS":
            self.say(request.headers, 200, {"Public": PUBLIC})
        elif request.method not in actions:
            self.say(request.headers, 501)
        elif not self.server.lets_in(request, self.nonce):
            asked = f'Digest realm="{REALM}", nonce="{self.nonce}"'
            self.say(request.headers, 401, {"WWW-Authenticate": asked})
        elif request.path not in self.server.mounts and request.method in ("DESCRIBE", "SETUP"):
            self.say(request.headers, 404)
        elif session and session != self.session:
            self.say(request.headers, 454)
        else:
            actions[request.method](request)

    def say(
        self, asked: dict[str, str], code: int, more: dict[str, str] | None = None, body: str = ""
    ) -> None:
        """Answer a request whose headers are `asked`."""
        headers = {"CSeq": asked["cseq"], **(more or {}), "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with self._speaks:
            self.connection.sendall(
                f"RTSP/1.0 {code} {REASONS[code]}\r\n{lines}\r\n{body}".encode()
            )

    def _enter(self, request: Request) -> Mount:
        mount = self.server.mounts[request.path]
        if self.mount is not mount:
            if self.mount is not None:
                self.mount.leave(self)
            self.mount = mount
            mount.enter(self)
        return mount

    def _describe(self, request: Request) -> None:
        mount = self._enter(request)
        if not mount.described.wait(FIRST_PICTURE_SECONDS):
            self.say(request.headers, 503)
            return
        host = self.connection.getsockname()[0]
        text = (
            f"v=0\r\no=- 0 0 IN IP{6 if ':' in host else 4} {host}\r\ns=edgepose\r\nt=0 0\r\n"
            f"a=control:*\r\n{mount.payload.description()}a=control:stream=0\r\n"
        )
        base = f"{request.url.partition('?')[0].rstrip('/')}/"
        kind = {"Content-Base": base, "Content-Type": "application/sdp"}
        self.say(request.headers, 200, kind, text)

    def _set_up(self, request: Request) -> None:
        way = "" if self._send else self._way(request.headers.get("transport", ""))
        if not way:
            self.say(request.headers, 455 if self._send else 461)
            return
        self._enter(request)
        session = f"{self.session};timeout={self.server.session}"
        self.say(request.headers, 200, {"Session": session, "Transport": way})

    def _way(self, asked: str) -> str:
        """How packets will go: the first that can be, of those the viewer offers; "" for none."""
        for one in asked.split(","):
            words = one.strip().split(";")
            if "multicast" in words or "mode=record" in one.lower().replace('"', ""):
                continue
            channels = re.search(r"interleaved=(\d{1,3})-", one)
            ports = re.search(r"client_port=(\d{1,5})-(\d{1,5})", one)
            if words[0].upper() == "RTP/AVP/TCP":
                first = int(channels[1]) & 254 if channels else 0
                self._send = partial(self._within, first)
                return f"RTP/AVP/TCP;unicast;interleaved={first}-{first + 1}"
            if words[0].upper() in ("RTP/AVP", "RTP/AVP/UDP") and ports:
                mine = self._over_udp(int(ports[1]), int(ports[2]))
                return f"RTP/AVP;unicast;{ports[0]};server_port={mine}"
        return ""

    def _over_udp(self, *ports: int) -> str:
        """Sockets to the viewer's two ports (at its own address only); "mine-mine"."""
        here, there = self.connection.getsockname(), self.client_address
        for port in ports:
            one = socket.socket(self.server.address_family, socket.SOCK_DGRAM)
            self._sockets.append(one)
            one.bind((here[0], 0, *here[2:]))
            one.connect((there[0], port, *there[2:]))
        self._send = self._datagram
        return "-".join(str(one.getsockname()[1]) for one in self._sockets)

    def _play(self, request: Request) -> None:
        if self.mount is None or self._send is None:
            self.say(request.headers, 455)
            return
        self.server.starting.pop(self, None)
        # within the connection it need not say anything: sending notices that it is gone
        self._limit(socket.SO_RCVTIMEO, self.server.session if self._sockets else 0)
        with self._change:  # before the answer: who has it misses nothing any more
            self._playing = self._behind = True
        self.say(request.headers, 200, {"Session": self.session, "Range": "npt=now-"})
        if self._writer.ident is None:
            self._writer.start()
        tell(f"join {self.mount.number}")

    def _pause(self, request: Request) -> None:
        with self._change:
            self._playing = False
        self._well(request)

    def _well(self, request: Request) -> None:
        self.say(request.headers, 200, {"Session": self.session})

    # packets ----------------------------------------------------------------------------------
    def offer(self, packets: list[Packet], key: bool) -> None:
        """Queue a picture's packets, where the viewer plays and keeps up."""
        with self._change:
            full = self._held > HELD_BYTES
            self._behind = self._playing and (full or (self._behind and not key))
            if self._playing and not self._behind:
                self._queue.extend(packets)
                self._held += sum(len(data) for _, data in packets)
                self._change.notify()

    def _next(self) -> Packet | None:
        with self._change:
            self._change.wait_for(lambda: self._queue or self._over)
            if self._over:
                return None
            packet = self._queue.popleft()
            self._held -= len(packet[1])
            return packet

    def _write(self) -> None:
        assert self._send is not None
        with suppress(OSError):
            while (packet := self._next()) is not None:
                self._send(packet)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # ends the reading

    def _within(self, first: int, packet: Packet) -> None:
        control, data = packet
        with self._speaks:
            self.connection.sendall(struct.pack("!cBH", b"$", first + control, len(data)) + data)

    def _datagram(self, packet: Packet) -> None:
        with suppress(ConnectionRefusedError):  # a port of reports that nobody opened
            self._sockets[packet[0]].send(packet[1])


def main() -> None:
    """`python -m edgepose.io.outputs.rtsp_alone HOST PORT`."""
    try:
        server = Server(sys.argv[1], int(sys.argv[2]), Connection)
    except OSError:
        tell(f"error port {sys.argv[2]} is in use or not ours to open")
        return
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tell("ready")
    numbered: dict[int, Mount] = {}
    while len(head := sys.stdin.buffer.read(RECORD.size)) == RECORD.size:
        kind, number, length = RECORD.unpack(head)
        data = sys.stdin.buffer.read(length)
        if kind == b"A":
            set_ = json.loads(data)
            path, payload = unquote(set_["path"].rstrip("/")), payload_for(set_["codec"])
            mount = Mount(number, path, payload, set_["user"] or "", set_["password"] or "")
            numbered[number] = server.mounts[path] = mount
            tell(f"mounted {number}")
        elif number in numbered:
            numbered[number].push(data)
    os._exit(0)  # the threads of viewers need no farewell


if __name__ == "__main__":
    main()
