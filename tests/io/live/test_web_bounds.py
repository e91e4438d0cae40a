"""The picture server: connections that say nothing lose their place, no header is a defect."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from edgepose.io import web


@pytest.fixture
def port() -> Iterator[int]:
    def answer(request: web.Request, method: str) -> None:
        request.reply(200, "text/plain", request.body() if method == "POST" else b"picture")

    server = web.add("127.0.0.1", 0, "/cam", web.Route(answer))
    yield server.port
    web.remove(server, "/cam")


def test_idle_connections_give_way(port: int) -> None:
    beginnings = (
        b"",
        b"GET /cam HT",
        b"POST /cam HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    )
    with ExitStack() as stack:
        for i in range(web.MAX_CONNECTIONS + 50):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(OSError):
                connection.sendall(beginnings[i % 3])
        for _ in range(3):
            answer = httpx.get(f"http://127.0.0.1:{port}/cam", timeout=20, trust_env=False)
            assert answer.text == "picture"


@pytest.mark.parametrize("length", ["x", "-1", "\xb2", "9" * 5000, "1e3", ""])
def test_a_length_that_is_none_is_an_empty_body(
    port: int, length: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"POST /cam HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode("latin-1"))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert caplog.text == ""
