"""A thread that brings what was recorded to one target, for as long as the program lives; how it posts it."""

from __future__ import annotations

import http.client
import logging
import threading
import urllib.error
import urllib.request
from typing import Protocol
from urllib.parse import quote

from edgepose.closing import Closing
from edgepose.errors import StoreError, printable
from edgepose.networks.connection import Broken, Rejected

log = logging.getLogger(__name__)
RETRY = 5.0  # seconds after a round that failed


class Target(Protocol):
    """Where events go; nobody who records waits for it."""

    def wake(self) -> None:
        """There are new events."""
        ...

    def close(self) -> None:
        """Leave; what waits stays in the database."""
        ...


class Delivery(Closing):
    """The thread; who inherits from it does a round of work in `_work`.

    Args:
        name: of the target, for people.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._news, self._stop = threading.Event(), threading.Event()
        self._failing = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def wake(self) -> None:
        """There are new events, or a new state."""
        self._news.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            wait = RETRY
            try:
                wait = self._work()
                self._failing = ""
            except StoreError as e:
                self._trouble(str(e))
            except Exception as e:  # it must live as long as the program does
                self._trouble(f"{type(e).__name__}: {e}")
            self._news.wait(wait)
            self._news.clear()

    def _trouble(self, text: str) -> None:
        """Say what is new."""
        if text != self._failing:
            log.warning("%s: %s", self.name, text)
        self._failing = text

    def _work(self) -> float:
        """One round; seconds until the next is due, unless there are news."""
        raise NotImplementedError

    def close(self) -> None:
        """End the thread; safe to call twice."""
        self._stop.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(5)


def quoted(text: str) -> str:
    """Path and query of an address as they travel: what is no part of addresses is percent-encoded."""
    return quote(text, safe="%/:=&?~+!$,;'@()*[]")


def deliver(
    opener: urllib.request.OpenerDirector, request: urllib.request.Request, timeout: float
) -> tuple[str, int]:
    """Send a request that wants no content back.

    Args:
        opener: see `connection.opener`. timeout: seconds without a sign of life.

    Returns:
        What went wrong, "" where it was taken; the code of the answer, 0 where there was none.
    """
    try:
        with opener.open(request, timeout=timeout) as answer:
            code = int(answer.status)
    except urllib.error.HTTPError as e:
        code = e.code
        e.close()
    except http.client.InvalidURL:  # its words have the whole address
        return "the address holds what no address may hold", 0
    except (Broken, Rejected, OSError, http.client.HTTPException, ValueError) as e:
        return printable(str(getattr(e, "reason", e)) or type(e).__name__), 0
    return ("" if 200 <= code < 300 else f"answered {code}"), code
