"""A real web server on loopback that misbehaves on demand, for tests of downloads."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        with self.server.mutex:
            script = self.server.scripts.get(self.path)
            behaviour = script[0] if script else status(404)
            if script and len(script) > 1:
                script.pop(0)
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def head(self, code: int, headers: dict[str, Any]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def slam(self) -> None:
        """End the connection with a reset, as a dying server does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tls: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts: dict[str, list[Behaviour]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.mutex = threading.Lock()
        self.closing = threading.Event()
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # resets are what the tests are about


class Web:
    """`with Web() as web: web.on("/a", file(data)); web.url("/a")`.

    Each request of a path takes the next behaviour of its script; the last one stays.
    """

    def __init__(self, tls: Path | None = None) -> None:
        self._server = Server(tls)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def requests(self) -> list[tuple[str, dict[str, str]]]:
        return self._server.requests

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]

    def url(self, path: str = "") -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    def on(self, path: str, *behaviours: Behaviour) -> str:
        self._server.scripts[path] = list(behaviours)
        return self.url(path)


def etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'


def _range(handler: Handler, data: bytes, tag: str) -> int:
    """First byte asked for; 0 where the condition does not hold."""
    asked = handler.headers.get("Range", "")
    condition = handler.headers.get("If-Range")
    if not asked.startswith("bytes=") or (condition is not None and condition != tag):
        return 0
    return int(asked[6:].split("-")[0])


def file(
    data: bytes,
    *,
    tag: str | None = None,
    resume: bool = True,
    stop: int | None = None,
    then: str = "end",
    kind: str = "application/octet-stream",
    length: int | None = None,
    modified: str = "",
) -> Behaviour:
    """The file, as a good server sends it, or only its first `stop` bytes and then trouble.

    Args:
        tag: ETag, "" = none.
        resume: honour Range.
        stop: number of the byte of the file behind which it stops.
        then: "end" (close), "reset", or "stall" (until the server goes).
        length: a Content-Length that lies; -1 = none.
    """
    tag = etag(data) if tag is None else tag

    def act(handler: Handler) -> None:
        start = _range(handler, data, tag) if resume else 0
        headers: dict[str, Any] = {"Content-Type": kind}
        if tag:
            headers["ETag"] = tag
        if modified:
            headers["Last-Modified"] = modified
        if start >= len(data) > 0:
            handler.head(416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": 0})
            return
        if length != -1:
            headers["Content-Length"] = len(data) - start if length is None else length
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        handler.head(206 if start else 200, headers)
        handler.wfile.write(data[start:stop])
        handler.wfile.flush()
        if stop is not None and then == "reset":
            handler.slam()
        if stop is not None and then == "stall":
            handler.server.closing.wait(30)

    return act


def status(code: int, **headers: Any) -> Behaviour:
    def act(handler: Handler) -> None:
        fields = {k.replace("_", "-"): v for k, v in headers.items()}
        handler.head(code, {"Content-Length": 0, **fields})

    return act


def redirect(to: str, code: int = 302) -> Behaviour:
    return status(code, Location=to)


def chunked(data: bytes, *, broken: bool = False) -> Behaviour:
    """Without a length; a broken one lacks its last chunk."""

    def act(handler: Handler) -> None:
        handler.head(200, {"Transfer-Encoding": "chunked"})
        for at in range(0, len(data), 1000):
            block = data[at : at + 1000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        if broken:
            handler.slam()
        else:
            handler.wfile.write(b"0\r\n\r\n")

    return act


def drip(data: bytes, every: float) -> Behaviour:
    """A byte now and then, so that no time-out strikes."""

    def act(handler: Handler) -> None:
        handler.head(200, {"Content-Length": len(data)})
        for at in range(len(data)):
            handler.wfile.write(data[at : at + 1])
            handler.wfile.flush()
            if handler.server.closing.wait(every):
                return

    return act


def nonsense(handler: Handler) -> None:
    """Something that is not HTTP."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    handler.close_connection = True


def other_range(data: bytes) -> Behaviour:
    """Answers a range with another one than was asked for."""

    def act(handler: Handler) -> None:
        headers = {"Content-Length": len(data), "ETag": etag(data)}
        if handler.headers.get("Range"):
            headers["Content-Range"] = f"bytes 0-{len(data) - 1}/{len(data)}"
        handler.head(206 if handler.headers.get("Range") else 200, headers)
        handler.wfile.write(data)

    return act
