"""A child process of the whole session for libraries that could end the process they run in."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

_stack = None  # where the child writes its stack when it crashes; open for life


def _begin(path: str) -> None:
    global _stack
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the session's
    _stack = open(path, "w", encoding="utf-8")  # noqa: SIM115
    faulthandler.enable(_stack)


def _call(environment: dict[str, str], function: Callable[..., Any], args: Any, named: Any) -> Any:
    os.environ.clear()
    os.environ.update(environment)
    return function(*args, **named)


class Apart:
    """Calls functions of modules in a child process; a child that crashes fails the test that asked.

    The child has the caller's environment at each call. It starts with the first call and serves all
    that follow; after a crash the next call gets a new one.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._stack = ""

    def __call__(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        pool = self._pool or self._start()
        try:
            return pool.submit(_call, dict(os.environ), function, args, named).result(timeout=280)
        except BrokenProcessPool:
            self.close()
            with open(self._stack, encoding="utf-8") as file:
                stack = file.read() or "no stack: ended from outside?"
            pytest.fail(f"The process of {function.__qualname__} crashed:\n{stack}", pytrace=False)

    def _start(self) -> ProcessPoolExecutor:
        handle, self._stack = tempfile.mkstemp(prefix="stack-")
        os.close(handle)
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, spawn, _begin, (self._stack,))
        return self._pool

    def close(self) -> None:
        """End the child."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
