"""`edgepose config`: which defaults the environment and the configuration files set."""

from __future__ import annotations

import json

from edgepose import settings
from edgepose.cli.common import options_of
from edgepose.cli.options import ConfigShow


def show(asked: ConfigShow) -> None:
    """Print every setting, and where it comes from."""
    found = settings.load(options_of())
    if asked.json:
        rows = [
            {"command": s.command, "option": s.name, "value": s.value, "origin": s.origin}
            for s in found
        ]
        print(json.dumps(rows, indent=1, default=str))
        return
    for s in found:
        print(f"{s.command} --{s.name.replace('_', '-')} = {s.value}    ({s.origin})")
    if not found:
        print("Nothing is set outside the command line.")
    for path in settings.files():
        print(f"file: {path}")
