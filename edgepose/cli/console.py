"""Talking to people: everything here goes to stderr; stdout is for data."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from edgepose.errors import UnknownNameError
from edgepose.options import TalkChoice

if TYPE_CHECKING:
    from rich.console import Console

LEVELS = ("silent", "error", "warning", "info", "verbose", "debug")
# jetson-inference's names for the same
ALIASES = {"success": "info", "disable": "silent", "disabled": "silent", "none": "silent"}


def parse_level(text: str) -> int:
    """Position in `LEVELS` of a level by name.

    Raises:
        UnknownNameError: no such level.
    """
    name = ALIASES.get(text.strip().lower(), text.strip().lower())
    if name not in LEVELS:
        raise UnknownNameError("log level", text, LEVELS)
    return LEVELS.index(name)


def say_line(text: str) -> None:
    """Write a line to stderr in one piece: print() writes its end apart, and threads come between.

    No run ends, and no exit code changes, of a full disk behind `2>log` or of a reader that left.
    """
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Talk:
    """Messages by level, and whether progress may be drawn.

    Args:
        level: one of `LEVELS`.
        progress: draw progress bars where stderr is a terminal.
    """

    def __init__(self, level: str = "info", *, progress: bool = True) -> None:
        self.level = parse_level(level)
        self.terminal = sys.stderr.isatty()
        self.bars = progress and self.terminal and self.level >= LEVELS.index("info")
        self._said: set[str] = set()
        self._console: Console | None = None
        _show_logs(self)

    @classmethod
    def of(cls, choice: TalkChoice) -> Talk:
        """As the options of a command ask for."""
        level = "error" if choice.quiet else "verbose" if choice.verbose else choice.log_level
        return cls(level, progress=not choice.no_progress)

    @property
    def console(self) -> Console:
        """The rich console on stderr; honours NO_COLOR and FORCE_COLOR."""
        if self._console is None:
            from rich.console import Console

            no_color = bool(os.environ.get("NO_COLOR"))
            self._console = Console(stderr=True, no_color=no_color or None, highlight=False)
        return self._console

    def _say(self, level: str, text: str) -> None:
        if self.level < LEVELS.index(level):
            return
        if not self.bars:
            say_line(text)
            return
        with suppress(OSError):  # as there
            self.console.print(text, markup=False, soft_wrap=True)

    def error(self, text: str) -> None:
        """What failed."""
        self._say("error", text)

    def warning(self, text: str) -> None:
        """What may surprise."""
        self._say("warning", text)

    def info(self, text: str) -> None:
        """What happens."""
        self._say("info", text)

    def verbose(self, text: str) -> None:
        """Details that `-v` asks for."""
        self._say("verbose", text)

    def once(self, text: str) -> None:
        """A warning that is said only once."""
        if text not in self._said:
            self._said.add(text)
            self.warning(text)


class _ToTalk(logging.Handler):
    """Sends what the library logs to people, at the level they asked for.

    WARNING is what may surprise (said once), INFO what happens, DEBUG what `-v` asks for.
    """

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self._talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record."""
        if record.levelno >= logging.ERROR:
            self._talk.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._talk.once(record.getMessage())
        elif record.levelno >= logging.INFO:
            self._talk.info(record.getMessage())
        else:
            self._talk.verbose(record.getMessage())


def _show_logs(talk: Talk) -> None:
    """Route the loggers `edgepose.*` to a talk, in place of an earlier one."""
    logger = logging.getLogger("edgepose")
    logger.handlers = [_ToTalk(talk)]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if talk.level >= LEVELS.index("verbose") else logging.INFO)


class Ticker:
    """Progress of a run: a bar on a terminal, otherwise a plain line every few seconds.

    Where no end is known the pause doubles up to an hour: a camera must not fill a journal.
    """

    def __init__(self, talk: Talk, total: int | None, every: float = 5.0) -> None:
        self._talk = talk
        self._total = total
        self._every = every
        self._next = time.monotonic() + every
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, summary: Any) -> None:
        """Show where the run is; `summary` is a `edgepose.pipeline.Summary`."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=summary.frames,
                poses=summary.poses,
                fps=f"{summary.rate:.1f}",
            )
        elif time.monotonic() >= self._next:
            if not self._total:
                self._every = min(3600.0, 2 * self._every)
            self._next = time.monotonic() + self._every
            of = f" of {self._total}" if self._total else ""
            self._talk.info(
                f"{summary.frames}{of} frames, {summary.poses} poses, {summary.rate:.1f} frames/s"
            )

    @contextmanager
    def shown(self) -> Iterator[Ticker]:
        """Draw the bar inside the block, where bars may be drawn."""
        if not self._talk.bars or self._total == 1:
            yield self
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("frames"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[poses]} poses  {task.fields[fps]} frames/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._talk.console, transient=True) as self._bar:
            self._task = self._bar.add_task("", total=self._total, poses=0, fps="0")
            yield self
        self._bar = None


def size_text(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
