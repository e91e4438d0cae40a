"""How many heaps the threads of this process have."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

HEAPS = 2  # of all threads
M_ARENA_MAX = -8  # of glibc's mallopt


def share_heaps() -> None:
    """Let the threads of this process share two heaps, unless MALLOC_ARENA_MAX says how many.

    glibc gives nearly every thread a heap of its own and keeps in each what was freed there: 10 to 70 MB
    for nothing in a program whose few threads hand large arrays on to each other.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # another library of C has no such heaps
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)
