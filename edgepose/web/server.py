"""A web server: the socket, uvicorn around an application, and an end without waiting for viewers."""

from __future__ import annotations

import errno
import importlib
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgepose.errors import BackendUnavailable, OutputError, UsageError
from edgepose.web.access import MAX_BODY

if TYPE_CHECKING:
    from edgepose.web.security import App

GRACE = 1  # seconds that open requests have to end


def require() -> Any:
    """The uvicorn package.

    Raises:
        BackendUnavailable: the extra `serve` is not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
        import websockets  # noqa: F401
    except ImportError as e:
        raise BackendUnavailable(
            f"A web page needs more packages ({e}). Run: pip install 'edgepose[serve]'"
        ) from None
    return uvicorn


def load_app(maker: str, *words: Any) -> App:
    """The application that "module:function" makes; Starlette is imported only now.

    Raises:
        BackendUnavailable: the extra `serve` is not installed.
    """
    require()
    module, _, name = maker.partition(":")
    app: App = getattr(importlib.import_module(module), name)(*words)
    return app


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UsageError: the host is no address of this machine.
        OutputError: the port is in use, or may not be opened.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, server_address = found[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as e:
        raise UsageError(f"--host {host}: {e}. Give an address of this machine.") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(server_address)
        listening.listen(128)
    except OSError as e:
        listening.close()
        if e.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host} is no address of this machine.") from None
        raise OutputError(
            f"{host}:{port} cannot be opened: {e.strerror}. Give another --port, or 0 for a free one."
        ) from None
    return listening


def _outward() -> str:
    """The address by which this machine talks to others, "" where it has none; nothing is sent."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address for documentation
        return str(probe.getsockname()[0])
    return ""


def server_address(listening: socket.socket, host: str, scheme: str = "http") -> str:
    """The address of the page; where all addresses are listened on, that of the way to other machines."""
    if host in ("", "0.0.0.0", "::"):
        host = _outward() or socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listening.getsockname()[1]}/"


def make_server(app: App, stop: Callable[[], None], tls: tuple[str, str] | None = None) -> Any:
    """A uvicorn server; `run(sockets=[...])` serves until SIGINT or SIGTERM.

    Args:
        app: what answers. stop: called when the end begins, so that nobody has to be waited for.
        tls: files of the certificate and its key; None = no TLS.

    Raises:
        BackendUnavailable: the extra `serve` is not installed. OutputError: the files cannot be used.
    """
    uvicorn = require()
    from edgepose.web.connections import BACKLOG, Gate, protocol, quieten, room_for

    room = room_for()

    class Server(uvicorn.Server):  # type: ignore[misc,name-defined,unused-ignore]
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            stop()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        access_log=False,  # addresses may hold the token
        log_level="warning",
        server_header=False,
        http=protocol(Gate(room, room - room // 4)),
        loop="asyncio",
        backlog=BACKLOG,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=GRACE,
        ws_max_size=MAX_BODY,
        ws_max_queue=4,
        lifespan="off",
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    quieten()
    try:
        config.load()
    except (OSError, ValueError) as e:  # what the ssl module says of files that do not fit
        raise OutputError(f"TLS cannot be served with these files: {e}.") from None
    return Server(config)
