"""What the commands share: errors to exit codes, flag spellings, settings, --version, signals."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import typer

from edgepose import settings
from edgepose.cli.commands import COMMANDS
from edgepose.cli.console import Talk, say_line
from edgepose.cli.title import hide_passwords
from edgepose.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    EdgeposeError,
    UsageError,
    nearest,
)
from edgepose.flags import normalise_flags
from edgepose.options import Field, fields_of, parse_argv
from edgepose.version import __version__

log = logging.getLogger(__name__)
# Typer brings its own copy of Click in some versions and uses the package in others
_CLICK_ERROR: type[Any] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)


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


@contextmanager
def finishing() -> Iterator[None]:
    """The first Ctrl-C (or its like) in the block is heard behind it; the second one at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDS)}
    came: list[int] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hold(number: int, frame: FrameType | None) -> None:
        came.append(number)
        restore()

    for number, handler in before.items():
        if callable(handler):  # neither ignored nor left to the system
            signal.signal(number, hold)
    try:
        yield
    finally:
        restore()
    if came:
        raise KeyboardInterrupt


def fail(message: str, code: int = EXIT_FAILED) -> int:
    """Print an error for people and return its exit code."""
    say_line(f"edgepose: {message}")
    return code


def options_of() -> dict[str, dict[str, Field]]:
    """The options of every command that files and the environment may set, by their names."""
    return {
        command.path: {f.key: f for f in fields_of(command.options) if not f.option.argument}
        for command in COMMANDS
        if " " not in command.path
    }


def _defaults(name: str, args: Sequence[str]) -> dict[str, Any]:
    """Values from the environment and configuration files, where they matter to these arguments."""
    alone = name.removeprefix("edgepose ")  # where it is run without the others
    whole = alone == "edgepose"
    command = next((a for a in args if not a.startswith("-")), "") if whole else alone
    if {"-h", "--help"} & set(args) or not settings.are_there():
        return {}
    options = options_of()
    if command not in options:
        return {}
    fields = options[command]
    found = {
        fields[s.name].name: settings.as_typed(s, fields[s.name])
        for s in settings.load(options)
        if s.command == command
    }
    if command == "posenet":
        _yield_to_words(found, args)
    return {command: found} if whole else found


def _yield_to_words(found: dict[str, Any], args: Sequence[str]) -> None:
    """Names on the command line are stronger than inputs and outputs that are set elsewhere."""
    with suppress(UsageError):  # Typer says what is wrong with it
        words = [w for w in parse_argv(args).inputs if w != "posenet"]
        if words:
            found.pop("source", None)
        if len(words) > 1:
            found.pop("output", None)


def _open_closed_streams() -> None:
    """Give the null device to standard streams that the caller has closed (`2>&-`).

    Else the first file that is opened would get their number, and what is printed would go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # the lowest free number, so the stream's own
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def run_app(app: typer.Typer, argv: Sequence[str], name: str, taking: Container[str] = ()) -> int:
    """Run a Typer application and return the exit code; errors end in one or two lines on stderr.

    `taking` has the names of the options behind which a value stands, dash or not.
    `--debug` anywhere in the arguments shows the traceback of an unexpected error.
    """
    _open_closed_streams()
    # threads of their own for a resize or a small product take the cores of the network and the encoder,
    # which run meanwhile; those of the second spin for 20 ms when they are made
    for variable in ("OPENCV_FOR_THREADS_NUM", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    hide_passwords()
    Talk()  # what is logged is shown from here on
    args = normalise_flags(argv, taking)
    debug = "--debug" in args or bool(os.environ.get("EDGEPOSE_DEBUG"))
    args = [a for a in args if a != "--debug"]
    if args[:1] == ["--version"]:  # here, as Typer would load pydantic for it
        print(f"edgepose {__version__}")
        return EXIT_DONE
    try:
        defaults = _defaults(name, args)
        code = app(args=args, prog_name=name, standalone_mode=False, default_map=defaults)
        return code if isinstance(code, int) else EXIT_DONE
    except typer.Exit as e:
        return e.exit_code
    except typer.Abort:
        return fail("interrupted", EXIT_INTERRUPTED)
    except _CLICK_ERROR as e:
        command = e.ctx.command_path if getattr(e, "ctx", None) else name
        message = e.format_message().strip()
        option = getattr(e, "option_name", "")
        if option and message.startswith("No such option"):
            near = nearest(option, getattr(e, "possibilities", None) or ())
            message = f"No such option: {option}." + (f" Did you mean {near}?" if near else "")
        if type(e).__name__ == "NoArgsIsHelpError":  # a group without a command: its help
            say_line(message)
            return EXIT_USAGE
        if not message:  # the same of older versions, which have shown it
            return EXIT_USAGE
        stop = "" if message[-1] in ".?!" else "."
        return fail(f"{message}{stop} See {command} --help.", EXIT_USAGE)
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
    except MemoryError:
        if debug:
            raise
        return fail(
            "there is not enough memory. Close other programs, or allow this one more (ulimit -v)."
        )
    except OSError as e:  # of a file or folder that nobody has given a better message
        if debug:
            raise
        return fail(_of_the_system(e))
    except Exception as e:  # what is left is ours to mend
        if debug:
            raise
        return fail(
            f"unexpected {type(e).__name__}: {e}. This is a defect; run again with --debug and "
            "report what it prints."
        )


def _of_the_system(error: OSError) -> str:
    """An error of a file or folder in words; where the folder that we are in is gone, no path means anything."""
    if isinstance(error, FileNotFoundError) and not error.filename:
        try:
            os.getcwd()
        except FileNotFoundError:
            return "The folder that this was started in is gone. Go into another one (cd), then run it again."
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}."


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    At once where native code still works that nobody waits for: after Ctrl-C FFmpeg in a thread that opens or
    reads a stream, after a cancelled build threads of TensorRT. What it calls in an interpreter that is being
    torn down would crash the process.
    """
    build = sys.modules.get("edgepose.engines.tensorrt_build")
    others = any(thread.daemon for thread in threading.enumerate())
    if others or (build is not None and build.was_cancelled()):
        with suppress(OSError, ValueError):  # whoever read what we wrote is gone
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
