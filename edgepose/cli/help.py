"""Typer's commands as ours are: their help is plain text in groups, and their words stay words."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

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


class PlainCommand(TyperCommand):
    """A command whose help is plain text, its options under their headings, and whose words stay words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Words into `ctx.params`, None where nothing is given.

        What words mean is said by the fields of the options. Typer would make text of them by pydantic, which
        takes a fifth of the time to the first pose; it gets what is left: help, switches in settings, what is missing.
        """
        words, rest, _ = self.make_parser(ctx).parse_args(args=args)
        switches = {f.name for f in fields_of(self.callback.options) if f.switch}  # type: ignore[union-attr]
        for param in sorted(self.get_params(ctx), key=lambda p: not p.is_eager):
            name = str(param.name)
            given = words.get(name)
            if not isinstance(given, str | bool | list | tuple):
                given = ctx.lookup_default(name)
            plain = (str, list, tuple) if name not in switches else bool
            if param.expose_value:
                ctx.params[name] = given
            if not isinstance(given, plain) and (given is not None or param.required):
                param.handle_parse_result(ctx, words, rest)
        if rest:
            ctx.fail(f"Got unexpected extra argument(s) ({' '.join(map(str, rest))})")
        ctx.args = rest
        return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, description and the options in their groups."""
        fields = fields_of(self.callback.options)  # type: ignore[union-attr]
        words = [f.word for f in fields if f.option.argument]
        out = [f"Usage: {' '.join([ctx.command_path, '[OPTIONS]', *words])}", ""]
        text = help_of(self.callback.options)  # type: ignore[union-attr]
        formatter.write("\n".join([*out, text, "", *_panels(fields)]))


class PlainGroup(TyperGroup):
    """A group of commands, listed with what each does."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, description, commands and options."""
        text = GROUPS.get(self.name or "", ROOT).rstrip()
        out = [f"Usage: {ctx.command_path} [OPTIONS] COMMAND [ARGS]...", "", text, "", "Commands:"]
        out += [_entry(name, _summary(self.commands[name])) for name in self.list_commands(ctx)]
        options = getattr(self.callback, "options", None)
        own = _panels(fields_of(options) if options else ())
        if self.name not in GROUPS:
            own.insert(1, _entry("--version", "Print the version."))
        formatter.write("\n".join([*out, "", *own]))

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        order = [c.path.split()[0] for c in COMMANDS] + [c.name for c in COMMANDS]
        return sorted(self.commands, key=order.index)


def _summary(command: Any) -> str:
    """The first sentence of a command's help."""
    return first_sentence(command.help or "")
