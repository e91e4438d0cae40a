"""The `edgepose` command: a table of commands, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from edgepose.cli.commands import COMMANDS, GROUPS, ROOT, Command
from edgepose.cli.common import run_app
from edgepose.cli.help import PlainCommand, PlainGroup, help_of
from edgepose.cli.typed import callback_of
from edgepose.options import fields_of, names_with_values

SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def make_app() -> typer.Typer:
    """The Typer application with every command."""
    app = typer.Typer(
        name="edgepose", help=ROOT.strip(), cls=PlainGroup, no_args_is_help=True, **SETTINGS
    )

    @app.callback()
    def root() -> None:  # without it, Typer has no group where there is one command
        pass

    groups: dict[str, typer.Typer] = {}
    for command in COMMANDS:
        group, _, _ = command.path.rpartition(" ")
        if command.path in GROUPS or (group and group not in groups):
            name = group or command.path
            groups[name] = _group(name, None if group else command)
            app.add_typer(groups[name], name=name)
        if command.path not in GROUPS:
            _add(groups.get(group, app), command)
    return app


def _group(name: str, own: Command | None) -> typer.Typer:
    group = typer.Typer(
        help=GROUPS[name],
        cls=PlainGroup,
        no_args_is_help=own is None,
        invoke_without_command=own is not None,
        **SETTINGS,
    )
    if own is not None:
        group.callback()(callback_of(own))
    return group


def _add(app: typer.Typer, command: Command, *, bare: bool = False) -> None:
    work = callback_of(command, bare=bare)
    app.command(command.name, help=help_of(command.options), cls=PlainCommand)(work)


def make_command(command: Command, *, bare: bool = False) -> typer.Typer:
    """The Typer application of one command alone; `bare` is one that can only print its help."""
    app = typer.Typer(**SETTINGS)
    _add(app, command, bare=bare)
    return app


def find_command(words: Sequence[str]) -> Command | None:
    """The command that the first words name; None where that takes a closer look."""
    named = {c.path: c for c in COMMANDS}
    found = named.get(" ".join(words[:2])) or named.get(" ".join(words[:1]))
    # a group that takes words of its own (`batch films/`) is a command where no other of it is named
    return found if found and (found.path not in GROUPS or _takes_words(found)) else None


def _takes_words(command: Command) -> bool:
    return any(field.option.argument for field in fields_of(command.options))


def run_command(command: Command, words: Sequence[str], name: str) -> int:
    """What the words behind a command's name make it do; its exit code."""
    taking = names_with_values(fields_of(command.options))
    bare = len(words) == 1 and words[0] in ("-h", "--help")
    return run_app(make_command(command, bare=bare), words, name, taking)


def run_words(words: Sequence[str]) -> int:
    """What `edgepose WORDS` does: one command alone where they name one; its exit code."""
    command = find_command(words)
    if command is None:
        return run_app(make_app(), words, "edgepose")
    rest = words[len(command.path.split()) :]
    return run_command(command, rest, f"edgepose {command.path}")
