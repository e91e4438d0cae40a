"""`posenet`: the door. Its options stand in `edgepose/options.py`, what it does in `posenet_start.py`."""

from __future__ import annotations

import gc
import sys

gc.disable()  # what is loaded to start is no garbage, and looking takes a tenth; the work enables it

from edgepose.cli.door import hear  # noqa: E402, I001 - what it does comes first
from edgepose.cli.commands import COMMANDS  # noqa: E402
from edgepose.cli.common import leave  # noqa: E402
from edgepose.cli.main import run_command  # noqa: E402


def main() -> None:
    """Entry point of `posenet`."""
    hear()
    leave(run_command(COMMANDS[0], sys.argv[1:], "posenet"))
