"""Help as plain text in groups: fast to print, narrow, and easy to grep."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import Any

from typer.core import TyperCommand

COLUMN = 32  # where the descriptions begin
# ranges whose ends everyone would guess, and defaults that mean "not asked for"
_NOISE = (r"(; |\[)([\d.]+<=)?x[<>]=[\d.-]+(?=\])", r"\s*\[default: 0(\.0)?\]", r"\s*(?<!\w)\]")


class PlainHelp(TyperCommand):
    """A command whose options are listed by their `rich_help_panel`, without drawing boxes."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, description and the options in their groups."""
        width = min(110, shutil.get_terminal_size((100, 24)).columns)
        out = [f"Usage: {ctx.command_path} {' '.join(self.collect_usage_pieces(ctx))}", ""]
        out += [self.help.strip() if self.help else "", ""]
        groups: dict[str, list[str]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or getattr(param, "param_type_name", "") == "argument":
                continue
            title = getattr(param, "rich_help_panel", None) or "Options"
            groups.setdefault(str(title), []).append(_entry(*record, width))
        for title, entries in groups.items():
            out += [f"{title}:", *entries, ""]
        formatter.write("\n".join(out))


def _entry(names: str, text: str, width: int) -> str:
    """One option: its names, then its description from `COLUMN` on."""
    for pattern in _NOISE:
        text = re.sub(pattern, "", text)
    names = names.replace(" range>", ">").replace("<list[str]>", "<str>")
    lines = textwrap.wrap(" ".join(text.split()), max(20, width - COLUMN)) or [""]
    names = f"  {names}"
    first = (
        f"{names:<{COLUMN}}{lines[0]}"
        if len(names) < COLUMN
        else f"{names}\n{' ' * COLUMN}{lines[0]}"
    )
    return "\n".join([first, *(" " * COLUMN + line for line in lines[1:])])
