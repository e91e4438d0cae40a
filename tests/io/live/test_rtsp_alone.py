"""The RTSP server in Python, asked by hand: what it refuses, and viewers who take nothing."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, NamedTuple

import pytest
from peers import wait_for

from edgepose.io.outputs import rtsp_alone
from edgepose.io.outputs.rtp import LARGEST, Packets, Units

SIZE, PICTURES = 250_000, 60  # together more than sockets and a queue hold
PARAMETERS = b"\0\0\0\1\x67\x42\xc0\x1e\x01\0\0\0\1\x68\xce\x01"
KEY = PARAMETERS + b"\0\0\1\x65" + b"k" * SIZE
OTHER = b"\0\0\1\x41" + b"o" * SIZE


class Answer(NamedTuple):
    code: int
    headers: dict[str, str]
    body: bytes


class Viewer:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.base = f"rtsp://127.0.0.1:{port}"
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rb")
        self._number = 0

    def ask(self, method: str, path: str = "/x", **headers: str) -> Answer:
        self._number += 1
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        text = f"{method} {self.base}{path} RTSP/1.0\r\nCSeq: {self._number}\r\n{lines}\r\n"
        self.socket.sendall(text.encode())
        return self.answer()

    def answer(self) -> Answer:
        code = int(self.file.readline().split()[1])
        lines = iter(lambda: self.file.readline().decode().strip(), "")
        headers = dict(line.split(": ", 1) for line in lines)
        return Answer(code, headers, self.file.read(int(headers["Content-Length"])))

    def play(self) -> None:
        assert self.ask("SETUP", "/x/stream=0", Transport="RTP/AVP/TCP;interleaved=4-5").code == 200
        assert self.ask("PLAY").code == 200

    def rtp(self) -> bytes:
        while True:
            head = self.file.read(4)
            assert head[:1] == b"$"
            data = self.file.read(int.from_bytes(head[2:], "big"))
            if head[1] == 4:
                return data

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Looked(rtsp_alone.Connection):
    """A connection that notes what its looks for reports found."""

    looks: ClassVar[list[bool]] = []

    def reports(self) -> bool:
        self.looks.append(super().reports())
        return self.looks[-1]


@pytest.fixture
def server(nothing_left: None) -> Iterator[rtsp_alone.Server]:
    with rtsp_alone.Server("127.0.0.1", 0, Looked, session=1) as made:
        made.mounts["/x"] = rtsp_alone.Mount(0, "/x", Units(), "", "")
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def viewers(server: rtsp_alone.Server) -> Iterator[list[Viewer]]:
    made = [Viewer(server.server_address[1]) for _ in range(2)]
    yield made
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"OPTIONS rtsp://x RTSP/1.0\r\n\r\n",
        b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n",
        b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n",
        b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: \xff\r\n\r\n",
        b"x" * (1 + rtsp_alone.LINE),
        b"OPTIONS rtsp://x RTSP/1.0\r\n" + b"".join(b"h%d: 1\r\n" % i for i in range(100)),
        b"OPTIONS rtsp://x RTSP/1.0\r\n" + b"h: 1\r\n" * 100,
    ],
)
def test_what_is_no_request_is_told_so_and_let_go(viewers: list[Viewer], text: bytes) -> None:
    viewers[0].socket.sendall(text)
    assert viewers[0].answer().code == 400
    assert viewers[0].file.read(1) == b""
    assert viewers[1].ask("OPTIONS").code == 200


def test_what_cannot_be_is_refused(viewers: list[Viewer]) -> None:
    one = viewers[0]
    assert one.ask("DESCRIBE", "/y").code == 404
    assert one.ask("ANNOUNCE").code == 501
    assert one.ask("PLAY").code == 455
    assert one.ask("SETUP", Transport="RTP/AVP;multicast").code == 461
    assert one.ask("SETUP", Transport="RTP/AVP/TCP;interleaved=0-1;mode=record").code == 461
    offered = one.ask("SETUP", Transport="RAW/RAW/UDP,RTP/AVP/TCP;unicast;interleaved=2-3")
    assert offered.headers["Transport"].endswith("interleaved=2-3")
    assert one.ask("PLAY", Session="another").code == 454
    assert one.ask("TEARDOWN").code == 200
    assert one.file.read(1) == b""


def test_a_viewer_who_takes_nothing_holds_nobody_and_goes_on_with_a_key_picture(
    server: rtsp_alone.Server, viewers: list[Viewer]
) -> None:
    stuck, good = viewers
    for one in viewers:
        one.play()
    mount, seen, found = server.mounts["/x"], [], []

    def take() -> None:
        while len(seen) < PICTURES:
            if (packet := good.rtp())[1] & 128:
                seen.append(int.from_bytes(packet[2:4], "big"))

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(PICTURES):
        mount.push(OTHER if number % 4 else KEY)
        wait_for(lambda n=number: len(seen) > n)
    taker.join()
    each = len(Packets(Units()).of(KEY)[0])
    assert all((b - a) % 65536 <= each for a, b in pairwise(seen)), "the other one missed none"

    def after_a_gap() -> None:
        last = int.from_bytes(stuck.rtp()[2:4], "big")
        while True:
            packet = stuck.rtp()
            last, before = int.from_bytes(packet[2:4], "big"), last
            if last != (before + 1) % 65536:
                found.append(packet[12] & 31)
                return

    taker = threading.Thread(target=after_a_gap)
    taker.start()
    wait_for(lambda: mount.push(OTHER) or mount.push(KEY) or found)
    taker.join()
    assert found == [7], "parameter sets"


def test_a_viewer_over_udp_that_vanishes_is_let_go(
    server: rtsp_alone.Server, viewers: list[Viewer]
) -> None:
    quiet, good = viewers
    good.play()
    Looked.looks.clear()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp:
        rtcp.bind(("127.0.0.1", 0))
        port = rtcp.getsockname()[1]
        way = f"RTP/AVP;unicast;client_port={port - 1}-{port}"
        asked = quiet.ask("SETUP", "/x/stream=0", Transport=way)
        assert asked.headers["Session"].endswith(";timeout=1")
        reports = int(asked.headers["Transport"].rpartition("-")[2])
        rtcp.sendto(bytes.fromhex("80c9000100000001"), ("127.0.0.1", reports))  # one report
        assert quiet.ask("PLAY").code == 200
        assert quiet.file.read(1) == b""
    assert Looked.looks == [True, False]
    assert len(server.mounts["/x"]._viewers) == 1
    assert good.ask("GET_PARAMETER").code == 200  # within the connection silence is no news


def test_who_never_plays_gives_the_place_back(
    server: rtsp_alone.Server, viewers: list[Viewer]
) -> None:
    """Not even a password is needed to hold a place by a few words now and then."""
    idle, good = viewers
    good.play()
    server.start_seconds = 0.3

    def let_go() -> bool:
        try:
            idle.socket.sendall(b"$\0\0\1x")
        except ConnectionError:
            return True
        return False

    wait_for(let_go)
    assert good.ask("GET_PARAMETER").code == 200


def test_a_packet_that_never_ends_is_let_go_without_a_trace(
    server: rtsp_alone.Server, viewers: list[Viewer], capfd: pytest.CaptureFixture[str]
) -> None:
    viewers[0].ask("OPTIONS")
    (held,) = [c for c in server.starting if c.client_address == viewers[0].socket.getsockname()]
    held._limit(socket.SO_RCVTIMEO, 1)
    viewers[0].socket.sendall(b"$")
    assert viewers[0].file.read(1) == b""
    wait_for(lambda: held not in server.starting)
    assert "Traceback" not in capfd.readouterr().err


def test_a_password_is_asked_for_anew_on_every_connection(
    server: rtsp_alone.Server, viewers: list[Viewer]
) -> None:
    server.mounts["/x"] = rtsp_alone.Mount(0, "/x", Units(), "me", "hunter2")

    def md5(*words: str) -> str:
        return hashlib.md5(":".join(words).encode()).hexdigest()

    def says(nonce: str, user: str = "me") -> str:
        url = f"{viewers[0].base}/x"
        right = md5(md5(user, rtsp_alone.REALM, "hunter2"), nonce, md5("PLAY", url))
        return f'Digest username="{user}", nonce="{nonce}", uri="{url}", response="{right}"'

    asked = viewers[0].ask("PLAY")
    assert asked.code == 401
    (nonce,) = re.findall(r'nonce="(\w+)"', asked.headers["WWW-Authenticate"])
    assert viewers[0].ask("PLAY", Authorization=says(nonce, "you")).code == 401
    assert viewers[0].ask("PLAY", Authorization=says(nonce)).code == 455  # let in, too early
    assert viewers[1].ask("PLAY", Authorization=says(nonce)).code == 401
    assert viewers[1].ask("DESCRIBE", "/nowhere").code == 401  # which paths there are is not told


def test_more_viewers_than_there_are_places(
    server: rtsp_alone.Server, viewers: list[Viewer]
) -> None:
    port = server.server_address[1]
    more = [Viewer(port) for _ in range(rtsp_alone.MOST_VIEWERS - 2)]
    try:
        assert all(one.ask("OPTIONS").code == 200 for one in more)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as late:
            assert late.recv(1) == b""
        more.pop().close()

        def place() -> bool:
            one = Viewer(port)
            try:
                return one.ask("OPTIONS").code == 200
            except (OSError, IndexError):
                return False
            finally:
                one.close()

        wait_for(place)
    finally:
        for one in more:
            one.close()


def test_units_longer_than_a_packet_come_in_parts() -> None:
    parts, key = Units().split(KEY)
    assert key
    assert [p[0] & 31 for p in parts[:3]] == [7, 8, 28]
    assert all(len(p) <= LARGEST + 2 for p in parts)
    assert b"".join(p[2:] for p in parts[2:]) == b"k" * SIZE
    assert [p[1] >> 6 for p in parts[2:]] == [2, *[0] * (len(parts) - 4), 1]
