"""`edgepose config`: which defaults the environment and the configuration files set."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer


def show(
    json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
) -> None:
    """Show every option that is set outside the command line, and where.

    Order: flag, environment (EDGEPOSE_NETWORK=..., EDGEPOSE_SERVE_PORT=...), ./edgepose.toml, the
    user's edgepose.toml, built-in default. EDGEPOSE_CONFIG names another file.
    """
    from edgepose import settings
    from edgepose.cli.common import options_of
    from edgepose.cli.main import make_app

    found = settings.load(options_of(make_app()))
    if json:
        rows = [
            {"command": s.command, "option": s.name, "value": s.value, "origin": s.origin}
            for s in found
        ]
        print(jsonlib.dumps(rows, indent=1, default=str))
        return
    for s in found:
        print(f"{s.command} --{s.name.replace('_', '-')} = {s.value}    ({s.origin})")
    if not found:
        print("Nothing is set outside the command line.")
    for path in settings.files():
        print(f"file: {path}")


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        help="Defaults from the environment and from configuration files.", no_args_is_help=True
    )
    group.command("show")(show)
    app.add_typer(group, name="config")
