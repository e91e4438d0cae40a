"""`posenet`: the door. Its options stand in `edgepose/options.py`, what it does in `posenet_job.py`."""

from __future__ import annotations

import sys

from edgepose.cli.common import answer, leave
from edgepose.cli.main import run_posenet


def main() -> None:
    """Entry point of `posenet`."""
    leave(answer(run_posenet, sys.argv[1:]))
