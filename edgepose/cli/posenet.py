"""`posenet`: the door. Its options stand in `edgepose/options.py`, what it does in `posenet_job.py`."""

from __future__ import annotations

import sys

from edgepose.cli.commands import COMMANDS
from edgepose.cli.common import leave, run_app
from edgepose.cli.main import make_command


def main() -> None:
    """Entry point of `posenet`."""
    leave(run_app(make_command(COMMANDS[0]), sys.argv[1:], "posenet"))
