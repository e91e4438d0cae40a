"""Connections that say nothing, too little or too slowly leave room for all others."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import uvicorn
from served import Served, wait_for

from edgepose.web.connections import Gate, Sparse, protocol, room_for

HEAD = b"PUT /api/v1/source HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BEGINNINGS = {
    "idle": b"",
    "half a header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: ",
    "half a body": HEAD + b"Content-Length: 60000\r\n\r\n{",
    "no http": b"\0\xff" * 10,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that always infers."""
    home = tmp_path_factory.mktemp("flooded")
    camera = "test://people?size=160x120&rate=5&people=1"
    server = Served(home, camera, "--always", "--db", "none")
    yield server
    assert server.end() == 0


@pytest.fixture
def many_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 4000:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_flood_leaves_health_and_camera_alive(served: Served, many_files: None) -> None:
    wait_for(lambda: served.frames("camera"), "frames")
    before = served.frames("camera")
    beginnings = list(BEGINNINGS.values())
    with ExitStack() as stack:
        for i in range(1500):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            with contextlib.suppress(OSError):
                connection.sendall(beginnings[i % len(beginnings)])
        for _ in range(5):
            assert httpx.get(f"{served.url}/healthz", timeout=20, trust_env=False).is_success
        wait_for(lambda: served.frames("camera") > before + 3, "more frames")
    assert len(served.said) < 30, "".join(served.said)
    assert not any("Traceback" in line for line in served.said)


def test_who_goes_while_a_websocket_is_opened_leaves_no_trace_in_the_log(served: Served) -> None:
    opening = (
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for turn in range(80):
        with socket.create_connection(("127.0.0.1", served.port)) as going:
            going.sendall(opening.encode())
            going.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
            time.sleep(turn % 20 / 400)
    assert served.get("/healthz")["ok"]
    assert not [line for line in served.said if "Traceback" in line or "ERROR" in line]


CHUNKED = b"PUT /api/v1/source HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("head", "answered"), [(CHUNKED, False), (CHUNKED, True), (CHUNKED + JSON, False)]
)
def test_a_body_that_is_no_http_leaves_no_trace_in_the_log(
    served: Served, head: bytes, answered: bool
) -> None:
    """Whether the answer comes before what cannot be read, after it, or never."""
    bad = b"-1\r\nx"
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        if answered:
            connection.sendall(head + b"\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 415")
            connection.sendall(bad)
        else:
            connection.sendall(head + b"\r\n" + bad)
            assert connection.recv(4096).startswith(b"HTTP/1.1 400")
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
    assert served.get("/healthz")["ok"]
    assert not [line for line in served.said if "Traceback" in line or "Fatal" in line]


def test_a_text_that_is_none_in_a_websocket_is_a_line_in_the_log(served: Served) -> None:
    opening = (
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(opening.encode())
        assert connection.recv(12) == b"HTTP/1.1 101"
        connection.sendall(b"\x81\x82\0\0\0\0\xff\xfe")
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
    assert served.get("/healthz")["ok"]
    assert not [line for line in served.said if "Traceback" in line or "UnicodeDecode" in line]


def test_a_body_of_two_lengths_is_refused(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(CHUNKED + JSON + b"Content-Length: 4\r\n\r\n0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


@pytest.fixture(scope="module")
def hasty() -> Iterator[int]:
    """The port of a server that gives a request two seconds: what is in time keeps far from them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            continue
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    gate = Gate(20, 20, seconds=2)
    how = uvicorn.Config(app, http=protocol(gate), port=0, lifespan="off", log_level="error")
    server = uvicorn.Server(how)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started, "the start")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("beginning", ["idle", "half a header", "half a body"])
def test_a_request_has_a_time_limit(hasty: int, beginning: str) -> None:
    with socket.create_connection(("127.0.0.1", hasty)) as connection:
        connection.sendall(BEGINNINGS[beginning])
        connection.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):  # an answer may come before it is closed
                continue


def test_dripping_bytes_do_not_move_the_limit(hasty: int) -> None:
    end = time.monotonic() + 30
    with socket.create_connection(("127.0.0.1", hasty)) as connection:
        connection.sendall(BEGINNINGS["half a header"])
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() < end:
                connection.sendall(b"a")
                time.sleep(0.05)
    assert time.monotonic() < end


@pytest.mark.parametrize(("piece", "whole"), [(4096, True), (1, False)])
def test_a_long_body_may_take_longer_but_not_drip(hasty: int, piece: int, whole: bool) -> None:
    answer = b""
    with socket.create_connection(("127.0.0.1", hasty)) as connection:
        connection.sendall(HEAD + f"Content-Length: {30 * piece}\r\n\r\n".encode())
        connection.settimeout(30)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(30):  # 4.5 s, twice the limit
                connection.sendall(b"a" * piece)
                time.sleep(0.15)
            answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200") is whole


def test_a_connection_that_asks_in_time_is_kept(hasty: int) -> None:
    with httpx.Client(trust_env=False) as client:
        for _ in range(6):  # more than the limit in all
            assert client.get(f"http://127.0.0.1:{hasty}/").text == "ok"
            time.sleep(0.5)


def test_the_bound_leaves_files_for_the_rest(many_files: None) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert room_for(500) == 500
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 800
    assert room_for(10**9) < limits[1]


def test_the_log_gets_a_few_lines_of_a_kind_a_minute() -> None:
    sparse = Sparse(lines=3)

    def passes(text: str, *args: object) -> bool:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, text, args, None)
        return sparse.filter(record)

    assert sum(passes("Invalid HTTP request received.") for _ in range(1000)) == 3
    assert sum(passes("%s is odd", i) for i in range(1000)) == 3
