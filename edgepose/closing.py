"""What is opened is closed, and not while somebody uses it."""

from __future__ import annotations

import atexit
import os
import threading
import time
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

    Args:
        stop: makes the work end soon. With it the interpreter, before it is torn down, stops the work and waits
            for its end: native code that calls into an interpreter which is gone crashes the process.

    Attributes:
        begun: it was started.
        stopped: it shall end soon; `goes_on` tells the work so.
    """

    def __init__(
        self, work: Callable[[], object], name: str, stop: Callable[[], object] | None = None
    ) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self.begun, self._over = False, threading.Event()
        self.stopped, self._stop_work = threading.Event(), stop

    def start(self) -> None:
        self.begun = True  # Ctrl-C may come while this waits for the thread to begin
        super().start()

    def run(self) -> None:
        _working[threading.get_ident()] = self
        try:
            super().run()
        finally:
            self._over.set()
            del _working[threading.get_ident()]

    def stop(self) -> None:
        """Make the work end soon."""
        self.stopped.set()
        if self._stop_work is not None:
            self._stop_work()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most so many seconds."""
        self._over.wait(timeout)

    def is_alive(self) -> bool:
        """It was started and has not ended."""
        return self.begun and not self._over.is_set()

    @property
    def held(self) -> bool:
        """The interpreter waits for it before it is torn down."""
        return self._stop_work is not None


_working: dict[int, Worker] = {}  # by thread number
AT_EXIT_SECONDS = 10.0  # longer than what was stopped works on, unless a driver is stuck


def goes_on() -> bool:
    """False where the work of this very thread was stopped."""
    worker = _working.get(threading.get_ident())
    return worker is None or not worker.stopped.is_set()


@atexit.register
def _stop_all() -> None:
    held = [worker for worker in list(_working.values()) if worker.held]
    for worker in held:
        worker.stop()
    end = time.monotonic() + AT_EXIT_SECONDS
    for worker in held:
        worker.join(max(0.0, end - time.monotonic()))


os.register_at_fork(after_in_child=_working.clear)  # threads stay with the parent


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
