"""What the commands share: errors to exit codes, flag spellings, --version, signals."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import typer

from edgepose.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, EdgeposeError
from edgepose.flags import normalise_flags

# Typer brings its own copy of Click in some versions and uses the package in others
_CLICK_ERROR: type[Any] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)


def _print_version(value: bool) -> None:
    if value:
        from edgepose.version import __version__

        print(f"edgepose {__version__}")
        raise typer.Exit


def version_option() -> Any:
    """The eager `--version` option, for an `Annotated[bool, ...]`."""
    return typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version."
    )


def terminate_as_interrupt() -> None:
    """Let SIGTERM end the program as Ctrl-C does, so that outputs are finished."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handler)


def fail(message: str, code: int = EXIT_FAILED) -> int:
    """Print an error for people and return its exit code."""
    print(f"edgepose: {message}", file=sys.stderr)
    return code


def options_of(app: typer.Typer) -> dict[str, list[str]]:
    """Names of the options of every command of an application."""
    found: dict[str, list[str]] = {}
    for command in app.registered_commands:
        if command.callback is not None:
            name = command.name or command.callback.__name__.replace("_", "-")
            found[name] = list(inspect.signature(command.callback).parameters)
    return found


def _defaults(app: typer.Typer, name: str, args: Sequence[str]) -> dict[str, Any]:
    """Values from the environment and configuration files, where they matter to these arguments."""
    from edgepose import settings

    command = name if name == "posenet" else next((a for a in args if not a.startswith("-")), "")
    options = {c: o for c, o in options_of(app).items() if c == command}
    if not options or {"-h", "--help"} & set(args):
        return {}
    found = settings.default_map(s for s in settings.load(options) if s.command == command)
    return found.get(command, {}) if name == "posenet" else found


def _open_closed_streams() -> None:
    """Give the null device to standard streams that the caller has closed (`2>&-`).

    Else the first file that is opened would get their number, and what is printed would go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # the lowest free number, so the stream's own
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def run_app(app: typer.Typer, argv: Sequence[str], name: str) -> int:
    """Run a Typer application and return the exit code; errors end in one or two lines on stderr.

    `--debug` anywhere in the arguments shows the traceback of an unexpected error.
    """
    _open_closed_streams()
    args = normalise_flags(argv)
    debug = "--debug" in args or bool(os.environ.get("EDGEPOSE_DEBUG"))
    args = [a for a in args if a != "--debug"]
    try:
        defaults = _defaults(app, name, args)
        code = app(args=args, prog_name=name, standalone_mode=False, default_map=defaults)
        return code if isinstance(code, int) else EXIT_DONE
    except typer.Exit as e:
        return e.exit_code
    except typer.Abort:
        return fail("interrupted", EXIT_INTERRUPTED)
    except _CLICK_ERROR as e:
        command = e.ctx.command_path if getattr(e, "ctx", None) else name
        message = e.format_message().strip()
        if not message:  # a group without a command: its help was shown
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
    except Exception as e:
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
