"""What the commands share: errors to exit codes, flag spellings, settings, --version, signals."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from edgepose import settings
from edgepose.cli.commands import COMMANDS, Command
from edgepose.cli.console import Talk
from edgepose.cli.title import hide_passwords
from edgepose.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EdgeposeError,
)
from edgepose.options import Field, fields_of
from edgepose.version import __version__

log = logging.getLogger(__name__)
ENDS = (signal.SIGTERM, signal.SIGHUP)  # a closed ssh session sends the second


def terminate_as_interrupt() -> None:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does, so that outputs are finished.

    SIGHUP stays ignored where `nohup` made it so.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def interruptible(advice: str = "") -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does; `advice` says what becomes of the work."""
    before = [signal.getsignal(number) for number in ENDS]
    terminate_as_interrupt()
    try:
        yield
    except KeyboardInterrupt:
        if advice:
            log.error("edgepose: interrupted; %s", advice)
        raise
    finally:
        for number, handler in zip(ENDS, before, strict=True):
            signal.signal(number, handler)


def fail(message: str, code: int = EXIT_FAILED) -> int:
    """Print an error for people and return its exit code."""
    print(f"edgepose: {message}", file=sys.stderr)
    return code


def options_of() -> dict[str, dict[str, Field]]:
    """The options of every command that files and the environment may set, by their names."""
    return {
        command.path: {f.key: f for f in fields_of(command.options) if not f.option.argument}
        for command in COMMANDS
        if " " not in command.path
    }


def defaults_of(command: Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a command from the environment and configuration files, by field name.

    Args:
        given: values of the command line. Inputs and outputs that stand there are stronger.
    """
    if not settings.are_there():
        return {}
    options = options_of()
    fields = options.get(command.path, {})
    found = {
        fields[s.name].name: settings.as_typed(s, fields[s.name])
        for s in settings.load(options)
        if s.command == command.path
    }
    if command.path == "posenet" and given.get("inputs"):
        found.pop("source", None)
        if len(given["inputs"]) > 1:
            found.pop("output", None)
    return found


def _open_closed_streams() -> None:
    """Give the null device to standard streams that the caller has closed (`2>&-`).

    Else the first file that is opened would get their number, and what is printed would go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # the lowest free number, so the stream's own
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def answer(work: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run what words ask for and return the exit code; errors end in one or two lines on stderr.

    `--debug` anywhere in the arguments shows the traceback of an unexpected error.
    """
    _open_closed_streams()
    hide_passwords()
    Talk()  # what is logged is shown from here on
    args = list(argv)
    debug = "--debug" in args or bool(os.environ.get("EDGEPOSE_DEBUG"))
    args = [a for a in args if a != "--debug"]
    if args[:1] == ["--version"]:
        print(f"edgepose {__version__}")
        return EXIT_DONE
    try:
        return work(args)
    except KeyboardInterrupt:
        return fail("interrupted", EXIT_INTERRUPTED)
    except EdgeposeError as e:
        if debug:
            raise
        return fail(str(e), e.exit_code)
    except BrokenPipeError:
        # the reader of stdout went away (`| head`): nothing more to say, and Python must not try
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as e:  # of a file or folder that nobody has given a better message
        if debug:
            raise
        return fail(f"{e.strerror or e}{f': {e.filename}' if e.filename else ''}.")
    except Exception as e:  # what is left is ours to mend
        if debug:
            raise
        return fail(
            f"unexpected {type(e).__name__}: {e}. This is a defect; run again with --debug and "
            "report what it prints."
        )


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    After a cancelled TensorRT build at once: threads of the builder may still call its logger, and in
    an interpreter that is being torn down that aborts the process.
    """
    build = sys.modules.get("edgepose.engines.tensorrt_build")
    if build is not None and build.was_cancelled():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
