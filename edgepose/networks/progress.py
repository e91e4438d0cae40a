"""How long work on networks tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told about transfers; the command line draws it, the Python API may ignore it."""

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """A transfer starts (or starts again) with `done` of `total` bytes; None = unknown."""

    def advance(self, count: int) -> None:
        """`count` more bytes have arrived."""

    def end(self) -> None:
        """The transfer is over, well or badly."""


class Silent:
    """A `Progress` that says nothing."""

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """Ignored."""

    def advance(self, count: int) -> None:
        """Ignored."""

    def end(self) -> None:
        """Ignored."""
