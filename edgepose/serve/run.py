"""Serving a studio: the socket, uvicorn around the application, and an end without waiting for viewers."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgepose.errors import BackendUnavailable, OutputError, UsageError

if TYPE_CHECKING:
    from edgepose.serve.studio import Studio

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
            f"edgepose serve needs more packages ({e}). Run: pip install 'edgepose[serve]'"
        ) from None
    return uvicorn


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


def server_address(listening: socket.socket, host: str) -> str:
    """The address of the page; where all addresses are listened on, that of the way to other machines."""
    if host in ("", "0.0.0.0", "::"):
        host = _outward() or socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}/"


def make_server(studio: Studio, token: str) -> Any:
    """A uvicorn server; `run(sockets=[...])` serves until SIGINT or SIGTERM."""
    uvicorn = require()
    from edgepose.serve.app import make_app
    from edgepose.serve.connections import BACKLOG, Gate, protocol, quieten, room_for
    from edgepose.serve.security import MAX_BODY

    room = room_for()

    class Server(uvicorn.Server):  # type: ignore[misc,name-defined,unused-ignore]
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            studio.stop()  # pictures and messages end, so that nobody has to be waited for
            await super().shutdown(sockets)

    config = uvicorn.Config(
        make_app(studio, token),
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
    )
    quieten()
    return Server(config)
