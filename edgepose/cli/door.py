"""The door of `edgepose`: until the command stands, Ctrl-C is the system's, and no traceback of imports."""

from __future__ import annotations

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell ignores it
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from edgepose.cli.common import leave
from edgepose.cli.main import run_words


def hear() -> None:
    """From here on Ctrl-C is an exception, which whoever works can finish at."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Entry point of `edgepose` and `python -m edgepose`."""
    hear()
    leave(run_words(sys.argv[1:]))
