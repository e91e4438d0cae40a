"""Progress of building TensorRT engines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgepose.cli.console import Talk

if TYPE_CHECKING:
    from edgepose.engines.options import BuildProgress


def progress_for(talk: Talk) -> BuildProgress:
    """Progress of builds: bars on a terminal, otherwise a plain line now and then."""
    return Bar(talk) if talk.bars else Lines(talk)


_TITLES = {
    "parse": "reading the network",
    "build": "building",
    "convert": "converting to fp16",
    "calibrate": "measuring int8 ranges",
}


class Bar:
    """One line: the outermost phase whose length is known, what happens inside it, and the time."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._open: list[tuple[str, int]] = []
        self._bar: Any = None
        self._task: Any = None

    def phase(self, name: str, steps: int = 0) -> None:
        """See `Progress.phase`."""
        self._open.append((name, steps))
        if self._bar is None:
            self._start()
        self._show()

    def step(self, name: str, done: int) -> None:
        """See `Progress.step`."""
        if self._bar is not None and name == self._counted():
            self._bar.update(self._task, completed=done)

    def end(self, name: str) -> None:
        """See `Progress.end`."""
        if any(n == name for n, _ in self._open):
            while self._open and self._open.pop()[0] != name:
                continue
        if self._open:
            self._show()
        else:
            self.close()

    def cancelled(self) -> bool:
        """Ctrl-C comes as an exception."""
        return False

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._open.clear()

    def _start(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self._talk.console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task("", total=None)

    def _counted(self) -> str:
        return next((name for name, steps in self._open if steps), "")

    def _show(self) -> None:
        name = self._open[-1][0]
        total = next((steps for _, steps in self._open if steps), None)
        text = _TITLES.get(name, name)
        # long names of layers would push the bar out of the line
        self._bar.update(self._task, total=total, description=f"{text[:40]:40}")


class Lines:
    """A line for each phase of our own, and every few seconds how far the builder is."""

    def __init__(self, talk: Talk, every: float = 10.0) -> None:
        self._talk = talk
        self._every = every
        self._start = self._said = time.monotonic()
        self._steps: dict[str, int] = {}

    def phase(self, name: str, steps: int = 0) -> None:
        """See `Progress.phase`."""
        if steps:
            self._steps.setdefault(name, steps)
        elif name in _TITLES:
            self._talk.info(_TITLES[name])
            self._said = time.monotonic()

    def step(self, name: str, done: int) -> None:
        """See `Progress.step`."""
        now = time.monotonic()
        if now - self._said >= self._every and name == next(iter(self._steps), ""):
            self._said = now
            elapsed = now - self._start
            self._talk.info(f"building: {done} of {self._steps[name]} steps, {elapsed:.0f} s")

    def end(self, name: str) -> None:
        """See `Progress.end`."""

    def cancelled(self) -> bool:
        """Ctrl-C comes as an exception."""
        return False
