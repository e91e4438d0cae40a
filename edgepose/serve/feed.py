"""From producing threads to any number of asynchronous listeners, each at its own speed.

A listener that is slower than the producer skips: of pictures and poses it gets the newest, and nobody waits
for it. Items of the kinds that must not be skipped (events, states) wait for it in a bounded queue.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
WAITING = 256  # items of kept kinds that wait for a listener; older ones are given up


class FeedClosed(Exception):
    """No item will come any more."""


class Listener(Generic[T]):
    """One who listens; made by `Feed.listen` in the event loop that will wait."""

    def __init__(self, feed: Feed[T], kinds: Collection[str] | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.kinds = kinds
        self._feed = feed
        self._kept: deque[T] = deque(maxlen=WAITING)
        self._newest: dict[str, T] = {}
        self._bell: asyncio.Future[None] | None = None

    def put(self, item: T, kind: str, kept: bool) -> None:
        """Called by the feed, with its lock held."""
        if kept:
            self._kept.append(item)
        else:
            self._newest[kind] = item

    def ring(self) -> None:
        """Wake who waits in `get`; called in the loop."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def get(self, idle: float) -> list[T]:
        """What came since the last call: kept items in order, then the newest of the other kinds.

        Waits for something; an empty list where nothing came for `idle` seconds.

        Raises:
            FeedClosed: all was given out and nothing will come.
        """
        until = self.loop.time() + idle
        while True:
            closed = self._feed.closed  # asked first: what came before the end is given out
            items = self._feed.take(self._kept, self._newest)
            if items or (self.loop.time() >= until and not closed):
                return items
            if closed:
                raise FeedClosed
            # `put` is followed by `ring` in this loop, so nothing can be missed between here and the wait; but a
            # ring may be late, and its item taken already: then the wait goes on
            self._bell = self.loop.create_future()
            timer = self.loop.call_at(until, self.ring)
            try:
                await self._bell
            finally:
                timer.cancel()
                self._bell = None

    def __enter__(self) -> Listener[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._feed.leave(self)


class Feed(Generic[T]):
    """Broadcast; `publish` from any thread.

    Args:
        kept: kinds whose items all reach every listener; of other kinds only the newest does.
        replay: a new listener first gets the newest item there was.
    """

    def __init__(self, kept: Collection[str] = (), *, replay: bool = False) -> None:
        self._kept, self._replay = frozenset(kept), replay
        self._guard = threading.Lock()
        self._listeners: set[Listener[T]] = set()
        self._latest: dict[str, T] = {}
        self.closed = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def wants(self, kind: str) -> bool:
        """True where somebody listens to that kind."""
        with self._guard:
            return any(x.kinds is None or kind in x.kinds for x in self._listeners)

    def listen(self, kinds: Collection[str] | None = None, *, replay: bool = True) -> Listener[T]:
        """A listener to some kinds, None = all; to be used as a context manager.

        Args:
            replay: False = what is old is not wanted, also where the feed replays.
        """
        listener = Listener(self, kinds)
        with self._guard:
            if self._replay and replay:
                for kind, item in self._latest.items():
                    listener.put(item, kind, False)
            self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener[T]) -> None:
        """The listener hears no more."""
        with self._guard:
            self._listeners.discard(listener)

    def publish(self, item: T, kind: str = "") -> None:
        """Give an item to all who listen to its kind."""
        with self._guard:
            if self._replay:
                self._latest[kind] = item
            listeners = [x for x in self._listeners if x.kinds is None or kind in x.kinds]
            for listener in listeners:
                listener.put(item, kind, kind in self._kept)
        _wake(listeners)

    def forget(self) -> None:
        """The newest item is out of date: who comes next waits for another one."""
        with self._guard:
            self._latest.clear()

    def take(self, kept: deque[T], newest: dict[str, T]) -> list[T]:
        """Empty a listener's two boxes."""
        with self._guard:
            items = [*kept, *newest.values()]
            kept.clear()
            newest.clear()
        return items

    def close(self) -> None:
        """Nothing more will come; safe to call twice."""
        with self._guard:
            self.closed = True
            listeners = list(self._listeners)
        _wake(listeners)


def _wake(listeners: Iterable[Listener[T]]) -> None:
    """Ring all listeners, with one call into each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Listener[T]]] = {}
    for listener in listeners:
        by_loop.setdefault(listener.loop, []).append(listener)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_ring_all, group)
        except RuntimeError:  # that loop is closed, and with it whoever listened
            continue


def _ring_all(listeners: Iterable[Listener[T]]) -> None:
    for listener in listeners:
        listener.ring()
