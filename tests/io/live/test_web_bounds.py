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

    route = web.Route(answer, methods=("GET", "POST"))
    server = web.add("127.0.0.1", 0, "/cam", route)
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


@pytest.mark.parametrize("path", ["/cam", "/cam?x", "/", "/nothing"])
def test_head_is_get_without_a_body(port: int, path: str) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        got, head, again = client.get(path), client.head(path), client.get(path)
    assert (got.status_code, got.content) == (again.status_code, again.content)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["Content-Length"] == str(len(got.content)) != "0"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_told_which_there_are(port: int, method: str) -> None:
    base = f"http://127.0.0.1:{port}"
    answer = httpx.request(method, f"{base}/cam", timeout=20, trust_env=False)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST, HEAD")
    front = httpx.request(method, base, timeout=20, trust_env=False)
    assert (front.status_code, front.headers["Allow"]) == (405, "GET, HEAD")


def test_a_body_that_nobody_reads_is_no_second_request(port: int) -> None:
    inner = b"GET /cam HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"GET /cam HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(inner)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode() + inner)
        came = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1000):
                came += part
    assert came.count(b"HTTP/1.1 200") == 1
