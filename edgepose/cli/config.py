"""`edgepose config`: which defaults the environment and the configuration files set."""

from __future__ import annotations

import json
import re
from typing import Any

from edgepose import settings
from edgepose.cli.common import options_of
from edgepose.cli.options import ConfigShow
from edgepose.errors import UsageError
from edgepose.io.uri import parse


def shown(value: Any) -> Any:
    """A value without the passwords that addresses hold."""
    if isinstance(value, list):
        return [shown(v) for v in value]
    if not isinstance(value, str):
        return value
    try:
        return parse(value).display
    except UsageError:  # no address that can be read: hide all that may be a password
        return re.sub(r"//.*@", "//***@", value)


def show_config(asked: ConfigShow) -> None:
    """Print every setting, and where it comes from."""
    found = settings.load(options_of())
    if asked.json:
        rows = [
            {"command": s.command, "option": s.name, "value": shown(s.value), "origin": s.origin}
            for s in found
        ]
        print(json.dumps(rows, indent=1, default=str))
        return
    for s in found:
        print(f"{s.command} --{s.name.replace('_', '-')} = {shown(s.value)}    ({s.origin})")
    if not found:
        print("Nothing is set outside the command line.")
    for path in settings.files():
        print(f"file: {path}")
