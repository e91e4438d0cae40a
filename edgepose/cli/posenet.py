"""`posenet`: the door. Its options stand in `edgepose/options.py`, what it does in `posenet_job.py`."""

from __future__ import annotations

import sys

from edgepose.cli.commands import COMMANDS
from edgepose.cli.common import leave
from edgepose.cli.main import run_command


def main() -> None:
    """Entry point of `posenet`."""
    leave(run_command(COMMANDS[0], sys.argv[1:], "posenet"))
