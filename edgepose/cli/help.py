"""Help as plain text in groups: fast to print, narrow, and easy to grep."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterable

from edgepose.cli.commands import COMMANDS, GROUPS, ROOT
from edgepose.options import Field, fields_of

COLUMN = 32  # where the descriptions begin
HELP = ("-h, --help", "Show this message and exit.")


def help_of(options: type) -> str:
    """The help of a command: the docstring of its options."""
    text = inspect.cleandoc(options.__doc__ or "")
    first, gap, rest = text.partition("\n\n")
    if "\n  " not in text:  # commands alone, whose indentation was taken for that of the docstring
        rest = textwrap.indent(rest, "  ")
    return first + gap + rest


def first_sentence(text: str) -> str:
    """What a list of commands says of one."""
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _width() -> int:
    return min(110, shutil.get_terminal_size((100, 24)).columns)


def _entry(names: str, text: str) -> str:
    """One option: its names, then its description from `COLUMN` on."""
    lines = textwrap.wrap(" ".join(text.split()), max(20, _width() - COLUMN)) or [""]
    names = f"  {names}"
    first = (
        f"{names:<{COLUMN}}{lines[0]}"
        if len(names) < COLUMN
        else f"{names}\n{' ' * COLUMN}{lines[0]}"
    )
    return "\n".join([first, *(" " * COLUMN + line for line in lines[1:])])


def _panels(fields: Iterable[Field]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for field in fields:
        if not (field.option.hidden or field.option.argument):
            names = ", ".join((*field.names, *filter(None, [field.option.off])))
            groups.setdefault(field.panel, []).append(_entry(f"{names} {field.word}", field.help))
    groups.setdefault("Options", []).append(_entry(*HELP))
    return [line for title, entries in groups.items() for line in (f"{title}:", *entries, "")]


def command_help(options: type, name: str) -> str:
    """Usage, description and the options in their groups; `name` is how the command is typed."""
    fields = fields_of(options)
    words = [f.word for f in fields if f.option.argument]
    usage = f"Usage: {' '.join([name, '[OPTIONS]', *words])}"
    return "\n".join([usage, "", help_of(options), "", *_panels(fields)])


def group_help(group: str) -> str:
    """The same of a group of commands, which are listed with what each does; "" is the program."""
    own = next((c.options for c in COMMANDS if c.path == group), None)
    panels = _panels(fields_of(own) if own else ())
    if not group:
        panels.insert(1, _entry("--version", "Print the version."))
    listed = [_entry(name, first_sentence(text)) for name, text in commands_of(group).items()]
    usage = f"Usage: {f'edgepose {group}'.strip()} [OPTIONS] COMMAND [ARGS]..."
    text = (GROUPS[group] if group else ROOT).rstrip()
    return "\n".join([usage, "", text, "", "Commands:", *listed, "", *panels])


def commands_of(group: str) -> dict[str, str]:
    """The commands and groups in a group, in the order of the table, with the help of each."""
    found: dict[str, str] = {}
    for command in COMMANDS:
        name, _, rest = command.path.removeprefix(f"{group} ").partition(" ")
        if not group or command.path.startswith(f"{group} "):
            found[name] = GROUPS[name] if rest or name in GROUPS else help_of(command.options)
    return found
