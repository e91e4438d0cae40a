"""From a table entry to a Typer command: the signature comes from the class of options, the work is loaded when it runs."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import typer

from edgepose.cli.commands import Command
from edgepose.cli.written import refuse_what_is_read
from edgepose.options import Field, build, fields_of

Work = Callable[..., int]


def callback_of(command: Command, *, bare: bool = False) -> Work:
    """The function that Typer calls: words to one value of the options, which the work gets.

    Its attribute `options` is the class of options. Where the command is a group as well, it does
    nothing when a command of the group is asked for. `bare` leaves out the parameters: making
    Typer's of 90 options takes longer than printing the help, which needs none.
    """
    fields = () if bare else fields_of(command.options)

    def call(ctx: typer.Context, **words: Any) -> int:
        if ctx.invoked_subcommand is not None:
            return 0
        asked: Any = build(command.options, _values(fields, words))
        refuse_what_is_read(asked)
        return int(work_of(command.work)(asked) or 0)

    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    ]
    parameters += map(_parameter, fields)
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {}  # Typer would evaluate each twice; the signature has all there is
    call.options = command.options  # type: ignore[attr-defined]
    return call


def work_of(place: str) -> Any:
    """The function "module:function" of edgepose.cli; the only place where modules of work are imported.

    What is loaded here stays until the end: looking for garbage in it, then and in the run, takes a tenth
    of a start.
    """
    module, _, name = place.partition(":")
    gc.disable()
    try:
        loaded = importlib.import_module(f"edgepose.cli.{module}")
        gc.freeze()
    finally:
        gc.enable()
    return getattr(loaded, name)


def _values(fields: tuple[Field, ...], words: Mapping[str, Any]) -> dict[str, Any]:
    """Values by field name; those not given are left out."""
    found: dict[str, Any] = {}
    for field in fields:
        given, flag = words[field.name], field.names[0] if not field.option.argument else field.word
        if field.switch and given is not None:
            found[field.name] = given
        elif field.many and given:
            found[field.name] = tuple(field.value(flag, word) for word in given)
        elif given is not None and not field.many:
            found[field.name] = field.value(flag, given)
    return found


def _parameter(field: Field) -> inspect.Parameter:
    """A field as Typer wants it: words and switches; what they mean is ours to say."""
    kind: Any = bool if field.switch else list[str] if field.many else str
    # None where nothing is given, as Typer would look up a validator for every other default
    default: Any = None if field.default is not dataclasses.MISSING else ...
    if default is None:
        kind = kind | None
    if field.option.argument:
        info = typer.Argument(default, metavar=field.word, show_default=False)
    else:
        names = list(field.names)
        if field.option.off:
            names[0] += f"/{field.option.off}"
        info = typer.Option(default, *names, hidden=field.option.hidden, show_default=False)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=kind
    )
