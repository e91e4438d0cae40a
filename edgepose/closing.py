"""What is opened is closed, and not while somebody uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from edgepose.errors import UsageError

S = TypeVar("S")


class Closing:
    """Base of sources, outputs, sinks and everything else that holds something open."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish and release; safe to call twice."""


class Worker(threading.Thread):
    """A daemon thread whose end is known for sure, also where Ctrl-C comes while somebody waits for it.

    Up to Python 3.12 `Thread.join` that `KeyboardInterrupt` leaves marks a thread as ended that still works.

    Attributes:
        begun: it was started.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self.begun, self._over = False, threading.Event()

    def start(self) -> None:
        self.begun = True  # Ctrl-C may come while this waits for the thread to begin
        super().start()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._over.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most so many seconds."""
        self._over.wait(timeout)

    def is_alive(self) -> bool:
        """It was started and has not ended."""
        return self.begun and not self._over.is_set()


class Gate:
    """Any number of threads use a thing at once; who changes or closes it waits until nobody does.

    Args:
        what: its name, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._free = threading.Condition()
        self._users: list[int] = []  # thread numbers
        self._changing = False
        self.closed = False

    @contextmanager
    def use(self) -> Iterator[None]:
        """Use it; waits for a change that is under way or wanted.

        Raises:
            UsageError: it is closed.
        """
        me = threading.get_ident()
        with self._free:
            self._free.wait_for(lambda: not self._changing)
            self._check_open()
            self._users.append(me)
        try:
            yield
        finally:
            with self._free:
                self._users.remove(me)
                self._free.notify_all()

    @contextmanager
    def change(self, close: bool = False) -> Iterator[None]:
        """Have it alone, when all who use it are done; with `close` nobody uses it afterwards.

        Raises:
            UsageError: it is closed, or this very thread uses it.
        """
        with self._free:
            if threading.get_ident() in self._users:
                raise UsageError(f"{self._what} cannot be changed from within a call to it.")
            self._free.wait_for(lambda: not self._changing)
            self._check_open()
            self._changing = True
            try:
                self._free.wait_for(lambda: not self._users)
            except BaseException:
                self._changing = False
                self._free.notify_all()
                raise
        try:
            yield
        finally:
            with self._free:
                self._changing = False
                self.closed = close
                self._free.notify_all()

    def _check_open(self) -> None:
        if self.closed:
            raise UsageError(f"{self._what} is closed.")
