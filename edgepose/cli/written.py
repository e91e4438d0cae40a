"""No command writes into a file that the same command reads: its zones, its network, its configuration."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from edgepose.errors import UsageError
from edgepose.files import identity, refuse_input
from edgepose.io.uri import parse
from edgepose.options import Option
from edgepose.settings import files


def refuse_what_is_read(
    asked: Any, outputs: Sequence[str] = (), inputs: Sequence[str] = ()
) -> None:
    """Refuse to write over what another option of the command names, or over a configuration file.

    Files are compared, not names, so links of both kinds are seen through.

    Args:
        asked: the options of a command. outputs: more of what it writes, as files or addresses. inputs: more
            of what it reads.

    Raises:
        UsageError: a file is written and read.
    """
    given = list(_given(asked))
    written = [*outputs, *(word for option, word in given if option.writes)]
    found = {who: path for path in map(_file, written) if path and (who := identity(path))}
    if not found:
        return
    for path in found.values():
        refuse_input(path, map(_file, inputs))
    read = [
        part for option, word in given if not option.writes for part in _parts(option, word) if part
    ]
    for path in map(_file, (*read, *map(os.fspath, files()))):
        if path and identity(path) in found:
            raise UsageError(
                f"The output {found[identity(path)]} is a file that this command reads ({path}). Give it another name."
            )


def _given(asked: Any) -> Iterator[tuple[Option, str]]:
    """Every word that options hold, with its declaration."""
    for field in dataclasses.fields(asked):
        value = getattr(asked, field.name)
        if dataclasses.is_dataclass(value):
            yield from _given(value)
            continue
        option = typing.get_args(field.type)[1]
        if not option.mixed:
            words = value if isinstance(value, tuple) else (value,)
            yield from ((option, str(w)) for w in words if isinstance(w, (str, os.PathLike)) and w)


def _parts(option: Option, word: str) -> tuple[str, ...]:
    """What may be the name of a file in a word: a list has several, NAME=SOURCE one behind the name."""
    return (word, word.partition("=")[2]) if option.argument else (word, *word.split(","))


def _file(word: str) -> str:
    """The file that is there behind a word, else ""."""
    try:
        address = parse(word)
    except UsageError:  # said by whoever takes the word
        return ""
    path = os.path.expanduser(address.path)
    return path if address.scheme == "file" and os.path.isfile(path) else ""
