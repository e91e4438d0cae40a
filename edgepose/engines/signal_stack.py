"""The stack that a thread's signal handlers run on."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> Stack:
    """Where this thread's handlers run; a start of None = on its own stack."""
    stack = Stack()
    if sys.platform == "linux":
        ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Undo what a library does to it.

    OpenVINO's CPU plugin gives the thread that loads it one of the least size that the processor needs.
    Python's handlers run there, and there was not always room for them: Ctrl-C was a segmentation fault.
    """
    before = signal_stack()
    try:
        yield
    finally:
        if sys.platform == "linux" and signal_stack().start != before.start:
            ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
