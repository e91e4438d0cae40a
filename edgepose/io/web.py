"""A small web server that outputs and sinks share: one for each port, routes by path.

`SSL_CERT` and `SSL_KEY` (files) in the environment make it speak https, which browsers demand before
they hand out their own camera.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import logging
import math
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edgepose.errors import OutputError

log = logging.getLogger(__name__)

CLIENT_SECONDS = 10.0  # a client that takes nothing for so long is dropped
MAX_BODY = 1 << 20
MAX_CONNECTIONS = 200  # each is a thread and a file

_web_servers: dict[tuple[str, int], WebServer] = {}
_lock = threading.Lock()


class Request(BaseHTTPRequestHandler):
    """One request; routes answer with `reply`, or write to `wfile` themselves."""

    protocol_version = "HTTP/1.1"
    server_version = "edgepose"
    sys_version = ""
    timeout = CLIENT_SECONDS
    server: _Threaded

    def reply(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_one_request(self) -> None:
        """One request; its header has a time limit as a whole, however it drips."""
        self.server.wait_for(self.connection)
        super().handle_one_request()

    def finish(self) -> None:
        """The connection has ended."""
        self.server.no_longer_wait_for(self.connection)
        with suppress(OSError):
            super().finish()

    def body(self) -> bytes:
        """What was posted; empty where it is too long, or no length is named."""
        text = self.headers.get("Content-Length", "")
        length = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
        if not 0 < length <= MAX_BODY:
            return b""
        self.server.wait_for(self.connection)
        data = self.rfile.read(length)
        self.server.no_longer_wait_for(self.connection)
        return data

    def wants_page(self) -> bool:
        """A browser's navigation, rather than an <img> or a player."""
        return "text/html" in self.headers.get("Accept", "")

    def do_GET(self) -> None:
        self.server.no_longer_wait_for(self.connection)
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what nobody reads of a body is no further request
        self.server.owner.dispatch(self, "GET" if self.command == "HEAD" else self.command)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass  # stderr is for people


class _Threaded(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    owner: WebServer

    def __init__(self, *args: Any) -> None:
        self._open: dict[socket.socket, float] = {}  # until when a request is waited for; inf = not
        self._guard = threading.Lock()
        super().__init__(*args)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for a connection; who waits longest for a request gives way."""
        with self._guard:
            if len(self._open) >= MAX_CONNECTIONS:
                oldest = min(self._open, key=self._open.__getitem__)
                if self._open[oldest] == math.inf:
                    return False
                self._drop(oldest)
            self._open[request] = time.monotonic() + CLIENT_SECONDS
        return True

    def service_actions(self) -> None:
        """Close who did not send a request in time; called several times a second."""
        now = time.monotonic()
        with self._guard:
            for connection in [c for c, until in self._open.items() if until < now]:
                self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        del self._open[connection]
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # its thread wakes up and ends

    def wait_for(self, connection: socket.socket) -> None:
        """A request, or its body, must come within the time limit from now on."""
        with self._guard:
            if connection in self._open:
                self._open[connection] = time.monotonic() + CLIENT_SECONDS

    def no_longer_wait_for(self, connection: socket.socket) -> None:
        """A request is there."""
        with self._guard:
            if connection in self._open:
                self._open[connection] = math.inf

    def shutdown_request(self, request: Any) -> None:
        """A connection has ended."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away is no news


@dataclass(frozen=True)
class Route:
    """What answers at a path, the "user:password" that it asks for ("" = nothing), and methods it takes.

    HEAD is answered as GET.
    """

    answer: Callable[[Request, str], None]
    credentials: str = ""
    methods: tuple[str, ...] = ("GET",)

    def admits(self, request: Request) -> bool:
        """Whether the request carries the credentials (HTTP Basic)."""
        if not self.credentials:
            return True
        given = request.headers.get("Authorization", "")
        expected = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        return hmac.compare_digest(given.encode(), expected.encode())


def is_own_name(host: str) -> bool:
    """Whether a Host header names us as no foreign page can: an address, localhost or this machine's name."""
    name = re.sub(r":[0-9]*$", "", host).strip("[]").lower().rstrip(".")
    own = socket.gethostname().lower()
    if name in ("", "localhost", own, own.partition(".")[0], f"{own.partition('.')[0]}.local"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(".localhost")
    return True


class WebServer:
    """The server of one port; made and ended by `add` and `remove`.

    Raises:
        OutputError: the port is taken or may not be opened.
    """

    def __init__(self, host: str, port: int) -> None:
        self.routes: dict[str, Route] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("_Server", (_Threaded,), {"address_family": family})
        try:
            self._server: _Threaded = server((host, port), Request)
        except OSError as e:
            raise OutputError(
                f"Port {port} on {host or 'all addresses'} cannot be opened: {e.strerror}. "
                "Choose another port."
            ) from None
        self._server.owner = self
        self.port = int(self._server.server_address[1])
        self.secure = self._wrap()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=f"web {self.port}", daemon=True
        )
        self._thread.start()

    def _wrap(self) -> bool:
        certificate, key = os.environ.get("SSL_CERT", ""), os.environ.get("SSL_KEY", "")
        if not certificate:
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(certificate, key or None)
        except (OSError, ssl.SSLError) as e:
            self._server.server_close()
            raise OutputError(f"SSL_CERT={certificate}, SSL_KEY={key}: {e}.") from None
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        return True

    def dispatch(self, request: Request, method: str) -> None:
        """Find the route of a request; the front page lists them."""
        path = request.path.partition("?")[0].rstrip("/") or "/"
        route = self.routes.get(path)
        methods = route.methods if route else ("GET",)
        if route is None and path != "/":
            request.reply(404, "text/html; charset=utf-8", self._front())
        elif route and not route.credentials and not is_own_name(request.headers.get("Host", "")):
            # a foreign name that leads here belongs to a page that wants to read what we show
            text = b"Open this by address or host name, or protect it: http://user:password@:port\n"
            request.reply(421, "text/plain", text)
        elif route and not route.admits(request):
            request.reply(401, "text/plain", b"", WWW_Authenticate='Basic realm="edgepose"')
        elif method not in methods:
            known = ", ".join((*methods, "HEAD"))
            request.reply(405, "text/plain", f"only {known}\n".encode(), Allow=known)
        elif route is None:
            request.reply(200, "text/html; charset=utf-8", self._front())
        else:
            self._guarded(route, request, method)

    def _front(self) -> bytes:
        known = "".join(f'<li><a href="{p}">{p}</a></li>' for p in sorted(self.routes))
        return f"<!doctype html><title>edgepose</title><ul>{known}</ul>".encode()

    @staticmethod
    def _guarded(route: Route, request: Request, method: str) -> None:
        try:
            route.answer(request, method)
        except OSError:
            request.close_connection = True  # the client went away
        except Exception:  # one answer must not end the server
            log.exception("the answer at %s failed", request.path)
            request.reply(500, "text/plain", b"internal error\n")

    def stop(self) -> None:
        """Close the port; answers that are under way end at their next look at their output."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(1)


def add(host: str, port: int, path: str, route: Route) -> WebServer:
    """Serve a route, on a server of its own or beside others of that port.

    Raises:
        OutputError: the port cannot be opened, or the path is taken.
    """
    with _lock:
        server = _web_servers.get((host, port))
        if server is None or port == 0:
            server = WebServer(host, port)
            _web_servers[(host, server.port)] = server
        path = path.rstrip("/") or "/"
        if path in server.routes:
            raise OutputError(f"{path} on port {port} is served already; choose another path.")
        server.routes[path] = route
        return server


def remove(server: WebServer, path: str) -> None:
    """Take a route away; the last one ends its server."""
    with _lock:
        server.routes.pop(path.rstrip("/") or "/", None)
        if server.routes:
            return
        for key in [k for k, s in _web_servers.items() if s is server]:
            del _web_servers[key]
    server.stop()
