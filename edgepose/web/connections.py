"""Bounded connections: who says nothing loses the place, and the log cannot be flooded.

uvicorn answers 503 beyond its limit but keeps the sockets, and waits for ever for a header. Here a request's
header and body have a time limit; where there are as many connections as may be, the one that has been
waiting longest for its request is closed for the new one. So any number of idle connections leaves room for
who really asks, and for the files of cameras and of the database.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 500
RESERVE = (
    300  # files that are kept for cameras, pictures, the database and what was accepted at once
)
BACKLOG = 64  # connections accepted at once
REQUEST_SECONDS = 15.0  # for a header; of a body that is on its way, between two looks at its rate
SLOWEST = 4096  # bytes a second of such a body
LINES = 5  # of the same kind in the log...
NOT_UTF8 = "send_receive_event_to_app"  # where uvicorn logs that a WebSocket's text is none
MINUTE = 60.0  # ...in so many seconds


def room_for(wanted: int = MAX_CONNECTIONS) -> int:
    """How many connections there may be: raises the limit of open files where it is too low for `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted + RESERVE:
        soft = wanted + RESERVE if hard == resource.RLIM_INFINITY else min(hard, wanted + RESERVE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(8, min(wanted, soft - RESERVE))


class Gate:
    """The open connections, in the order in which they came.

    Args:
        most: that may be open. an_address: of them, from one address.
        seconds: for a header, and for a body; a longer body must go on coming, `SLOWEST` or faster.
    """

    def __init__(self, most: int, an_address: int, seconds: float = REQUEST_SECONDS) -> None:
        self.most, self.an_address, self.seconds = most, an_address, seconds
        self._open: dict[asyncio.Transport, Connection] = {}

    def admit(self, connection: Connection) -> bool:
        """Take a connection in; False where there is no room even when the idle have gone."""
        here = connection.address
        if len(self._open) >= self.most and not self._make_room(""):
            return False
        mine = sum(c.address == here for c in self._open.values())
        if mine >= self.an_address and not self._make_room(here):
            return False
        self._open[connection.transport] = connection
        return True

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.pop(connection.transport, None)

    def _make_room(self, address: str) -> bool:
        """Close what has ended as a WebSocket, else the oldest that waits for its request."""
        gone = [t for t in self._open if t.is_closing()]
        for transport in gone:
            del self._open[transport]
        if gone:
            return True
        for transport, connection in self._open.items():
            if connection.waits and (not address or connection.address == address):
                del self._open[transport]
                transport.abort()
                return True
        return False


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 behind a gate, with a time limit for each request."""

    gate: Gate

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._timed, self._came = "", 0
        self.address = ""

    @property
    def waits(self) -> bool:
        """True while it has no whole request that is being answered."""
        return bool(self._timed)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or close it without a word."""
        super().connection_made(transport)
        self.address = str(self.client[0]) if self.client else ""
        if self.gate.admit(self):
            self._watch()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._time("")
        self.gate.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        super().data_received(data)
        self._came += len(data)
        self._watch()

    def on_response_complete(self) -> None:
        """A request was answered; the next one may come."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read is answered where no answer has begun; one that is being made goes nowhere."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """From now on another protocol has the transport; it sends pings to who is silent."""
        super().handle_websocket_upgrade(event)
        self._time("")

    def _watch(self) -> None:
        """Time what is waited for: a header, a body, or nothing while an answer is on its way."""
        if self.transport.get_protocol() is not self or self.transport.is_closing():
            self._time("")
        elif self.cycle is None or self.cycle.response_complete:
            self._time("header")
        else:
            self._time("body" if self.cycle.more_body else "")

    def _time(self, what: str) -> None:
        if what == self._timed:
            return
        self._timed, self._came = what, 0
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.gate.seconds, self._too_slow) if what else None

    def _too_slow(self) -> None:
        if self._timed == "body" and self._came >= self.gate.seconds * SLOWEST:
            self._came = 0  # a large file: it may go on
            self._timer = self.loop.call_later(self.gate.seconds, self._too_slow)
        else:
            self.transport.abort()


def protocol(gate: Gate) -> type[Connection]:
    """The class of the connections behind a gate, for uvicorn's `http`."""
    return type("GatedConnection", (Connection,), {"gate": gate})


class Sparse(logging.Filter):
    """Lets a few lines of a kind pass each minute, so that no client can fill a disk with the log."""

    def __init__(self, lines: int = LINES, seconds: float = MINUTE) -> None:
        super().__init__()
        self._lines, self._seconds = lines, seconds
        self._since = 0.0
        self._counts: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """True where a record may pass."""
        if record.funcName == NOT_UTF8:
            record.exc_info = record.exc_text = None  # a client's fault: a line will do
        now = time.monotonic()
        if now - self._since > self._seconds:
            self._since = now
            self._counts.clear()
        kind = f"{record.name} {record.msg}"[:200]
        self._counts[kind] += 1
        if self._counts[kind] == self._lines:
            record.msg = f"{record.getMessage()} (more of these are left out for a minute)"
            record.args = ()
        return self._counts[kind] <= self._lines and len(self._counts) < 1000


def quieten() -> None:
    """Put the filter before what uvicorn and asyncio log."""
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        if not any(isinstance(f, Sparse) for f in logger.filters):
            logger.addFilter(Sparse())
