"""The command line that other users of the machine see (`ps`), without passwords.

Anybody may read /proc/PID/cmdline. The kernel takes it from the memory where the program's words stand,
so that writing there changes it. Between the start and this module's work the words are seen as they are:
who cannot bear that gives them by the environment (EDGEPOSE_SOURCE) or by edgepose.toml.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from edgepose.io.uri import hide

_ARG_START = 45  # among the fields of /proc/self/stat behind the name; its end follows


def hide_passwords() -> None:
    """Overwrite what may be a password in this process's command line; does nothing where that cannot be."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().removesuffix(b"\0").split(b"\0")
        shown = shown_words([os.fsdecode(word) for word in words])
        if shown != [os.fsdecode(word) for word in words]:
            _overwrite(b"\0".join(os.fsencode(word) for word in shown) + b"\0")


def shown_words(words: Sequence[str]) -> list[str]:
    """The words as others may see them; none is longer than it was."""
    shown = []
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        shown.append((name + equals + hide(value))[: len(word)])
    return shown


def _overwrite(line: bytes) -> None:
    with open("/proc/self/stat", "rb") as file:
        # the program's name, in brackets, may hold anything
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    if not 0 < start < end:
        return
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(line[: end - start - 1].ljust(end - start, b"\0"))
