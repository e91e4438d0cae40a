"""The `edgepose` command: a table of sub-commands, each in its own file."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from edgepose.cli.common import leave, run_app, version_option
from edgepose.cli.help import PlainHelp

# command name -> module in edgepose.cli that has `register(app)`; the order is that of --help
COMMANDS = (
    "posenet",
    "download",
    "networks",
    "build_engine",
    "engines",
    "serve",
    "events",
    "export",
    "eval",
    "bench",
    "doctor",
    "devices",
    "config",
)


def make_app() -> typer.Typer:
    """The Typer application with every command registered."""
    app = typer.Typer(
        name="edgepose",
        help="Find the poses of people and hands in images, videos, cameras and streams.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root(version: Annotated[bool, version_option()] = False) -> None:
        pass

    for name in COMMANDS:
        try:
            module = importlib.import_module(f"edgepose.cli.{name}")
        except ModuleNotFoundError as e:
            if e.name != f"edgepose.cli.{name}":
                raise
            continue
        module.register(app)
    _plain_help(app)
    return app


def _plain_help(app: typer.Typer) -> None:
    """Let every command print its help as plain grouped text."""
    for command in app.registered_commands:
        command.cls = PlainHelp
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _plain_help(group.typer_instance)


def main() -> None:
    """Entry point of `edgepose` and `python -m edgepose`."""
    leave(run_app(make_app(), sys.argv[1:], "edgepose"))
