"""From a producing thread to any number of asynchronous viewers, each at its own speed.

A viewer that is slower than the producer skips: it always gets the newest item, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """Newest-item broadcast; `publish` from any thread, `items` in any event loop."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._latest: T | None = None
        self._number = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._closed = False

    @property
    def viewers(self) -> int:
        """How many are listening."""
        return len(self._waiting)

    @property
    def latest(self) -> T | None:
        """The newest item, None before the first."""
        return self._latest

    def publish(self, item: T) -> None:
        """Make an item the newest and wake everybody."""
        with self._guard:
            self._latest = item
            self._number += 1
            waiting = list(self._waiting)
        self._wake(waiting)

    def close(self) -> None:
        """End all iterations."""
        with self._guard:
            self._closed = True
            waiting = list(self._waiting)
        self._wake(waiting)

    @staticmethod
    def _wake(waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        for loop, event in waiting:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # that loop is closed; its iteration is over
                continue

    async def items(self, *, idle: float = 0.0) -> AsyncIterator[T | None]:
        """New items from now on, the newest one first where there is one.

        Args:
            idle: seconds after which None is given where nothing came, 0 = wait for ever.
        """
        event = asyncio.Event()
        me = (asyncio.get_running_loop(), event)
        with self._guard:
            self._waiting.add(me)
        seen = 0
        try:
            while not self._closed:
                if self._number != seen:
                    seen = self._number
                    yield self._latest
                    continue
                event.clear()
                if self._number != seen or self._closed:
                    continue
                try:
                    await asyncio.wait_for(event.wait(), idle or None)
                except asyncio.TimeoutError:
                    yield None
        finally:
            with self._guard:
                self._waiting.discard(me)
