"""Progress of downloads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgepose.cli.console import Talk, size_text

if TYPE_CHECKING:
    from edgepose.networks.progress import Progress


def progress_for(talk: Talk) -> Progress:
    """Progress of downloads: a bar on a terminal, otherwise plain lines."""
    return Bars(talk) if talk.bars else Lines(talk)


class Bars:
    """A bar with bytes, rate and time left, gone when the transfer is over."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._bar: Any = None
        self._task: Any = None

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """Draw a bar; see `Progress`."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._talk.console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task(label, total=total, completed=done)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Lines:
    """A line when a transfer starts, every few seconds, and when it is over."""

    def __init__(self, talk: Talk, every: float = 5.0) -> None:
        self._talk = talk
        self._every = every
        self._label = ""
        self._total: int | None = None
        self._first = self._done = 0
        self._start = self._said = 0.0

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """Say what starts; see `Progress`."""
        self._label, self._total, self._first, self._done = label, total, done, done
        self._start = self._said = time.monotonic()
        size = size_text(total) if total else "of unknown size"
        again = f", going on at {size_text(done)}" if done else ""
        self._talk.info(f"{label}: {size}{again}")

    def advance(self, count: int) -> None:
        """Say now and then how far it is."""
        self._done += count
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        rate = (self._done - self._first) / max(now - self._start, 1e-3)
        of = ""
        if self._total:
            left = (self._total - self._done) / max(rate, 1)
            of = f" of {size_text(self._total)}, {left:.0f} s left"
        self._talk.info(f"{self._label}: {size_text(self._done)}{of}, {size_text(rate)}/s")

    def end(self) -> None:
        """Say how it ended."""
        if self._label:
            seconds = max(time.monotonic() - self._start, 1e-3)
            rate = size_text((self._done - self._first) / seconds)
            self._talk.info(f"{self._label}: {size_text(self._done)} in {seconds:.1f} s ({rate}/s)")
