"""No command writes into a file that the same command reads: its zones, its network, its configuration."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from edgepose.errors import UsageError
from edgepose.files import identity
from edgepose.io.uri import parse
from edgepose.options import Option
from edgepose.settings import files


def refuse_what_is_read(asked: Any, outputs: Sequence[str] = ()) -> None:
    """Refuse to write over what another option of the command names, or over a configuration file.

    Files are compared, not names, so links of both kinds are seen through. Words by their place are
    left out where there may be several: which of them are inputs is not known here.

    Args:
        asked: the options of a command. outputs: more of what it writes, as files or addresses.

    Raises:
        UsageError: a file is written and read.
    """
    given = list(_given(asked))
    written = [*outputs, *(word for option, word in given if option.writes)]
    found = {who: path for path in map(_file, written) if path and (who := identity(path))}
    if not found:
        return
    read = [
        part for option, word in given if not option.writes for part in (word, *word.split(","))
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
        option, many = typing.get_args(field.type)[1], isinstance(value, tuple)
        if not (many and option.argument):
            words = value if many else (value,)
            yield from ((option, str(w)) for w in words if isinstance(w, (str, os.PathLike)) and w)


def _file(word: str) -> str:
    """The file that is there behind a word, else ""."""
    try:
        address = parse(word)
    except UsageError:  # said by whoever takes the word
        return ""
    path = os.path.expanduser(address.path)
    return path if address.scheme == "file" and os.path.isfile(path) else ""
