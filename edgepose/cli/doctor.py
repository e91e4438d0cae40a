"""`edgepose doctor`: what this machine has, what it means, how to mend it."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

import typer

from edgepose.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from edgepose.doctor import Check

MARKS = {"ok": "ok  ", "note": "-   ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not try to reach the servers of the networks.")
    ] = False,
) -> None:
    """Check board, drivers, engines, cameras, display, folders and networks, with the exact fix for each.

    Ends with 0 where nothing has to be mended, with 1 where something failed.
    """
    from edgepose.doctor import run_checks

    rows = run_checks(network=not offline)
    if json:
        print(jsonlib.dumps([row.as_dict() for row in rows], indent=1))
    else:
        print("\n".join(lines(rows)))
    raise typer.Exit(EXIT_FAILED if any(r.state == "fail" for r in rows) else EXIT_DONE)


def lines(rows: list[Check]) -> list[str]:
    """One line a row, and below it what it means and what to type."""
    width = max(len(r.name) for r in rows)
    out = []
    for row in rows:
        out.append(f"{MARKS[row.state]}  {row.name:<{width}}  {row.found}")
        indent = " " * (width + 8)
        if row.means and row.state != "ok":
            out.append(f"{indent}{row.means}")
        if row.fix and row.state in ("warn", "fail"):
            out.append(f"{indent}fix: {row.fix}")
    worst = sum(r.state == "fail" for r in rows), sum(r.state == "warn" for r in rows)
    out.append(f"{worst[0]} to mend, {worst[1]} to know about")
    return out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)
