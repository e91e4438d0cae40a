"""The commands and options of edgepose as plain data, for the scripts that write pages from them.

Read from the table of commands, so that it does not depend on how a version of Typer prints.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        names: as typed, the canonical one first; off: the names that switch it off.
        value: what stands behind it in the help, "" for a switch.
        kind: "switch", "path", "number" or "text".
        panel: heading in the help; help: description with its default.
        repeatable: may be given several times.
    """

    names: tuple[str, ...]
    off: tuple[str, ...]
    value: str
    kind: str
    panel: str
    help: str
    repeatable: bool

    @property
    def title(self) -> str:
        """All names and the value."""
        return f"{', '.join((*self.names, *self.off))} {self.value}".strip()


@dataclass(frozen=True)
class Command:
    """A command: `path` is how it is typed ("edgepose networks show")."""

    path: tuple[str, ...]
    arguments: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    commands: tuple[Command, ...] = field(default=())

    @property
    def name(self) -> str:
        """The last word."""
        return self.path[-1]

    @property
    def title(self) -> str:
        """How it is typed."""
        return " ".join(self.path)

    @property
    def usage(self) -> str:
        """One line."""
        if self.commands:
            return f"{self.title} [OPTIONS] COMMAND ..."
        return " ".join([self.title, "[OPTIONS]", *self.arguments])

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        first = " ".join(self.help.split("\n\n")[0].split())
        return re.split(r"(?<=[a-z)\]])\. ", first)[0].rstrip(".")

    def panels(self) -> dict[str, list[Option]]:
        """Options by heading, in their order."""
        out: dict[str, list[Option]] = {}
        for option in self.options:
            out.setdefault(option.panel, []).append(option)
        return out

    def walk(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()

    def paragraphs(self) -> Iterator[tuple[bool, str]]:
        """The help as (is code, text): lines that begin with two blanks are commands to type."""
        code: list[str] = []
        for block in self.help.strip().split("\n\n"):
            lines = block.splitlines()
            if all(line.startswith("  ") for line in lines):
                code += [line[2:] for line in lines]
                continue
            if code:
                yield True, "\n".join(code)
                code = []
            yield False, " ".join(line.strip() for line in lines)
        if code:
            yield True, "\n".join(code)


def edgepose() -> Command:
    """The tree of `edgepose`."""
    from edgepose.cli.commands import COMMANDS, GROUPS, ROOT

    found: dict[str, Command] = {}
    for entry in COMMANDS:
        if entry.path not in GROUPS:
            found[entry.path] = _command(entry.options, ("edgepose", *entry.path.split()))
    for name, text in GROUPS.items():
        below = tuple(c for path, c in sorted(found.items()) if path.startswith(f"{name} "))
        own = next((e.options for e in COMMANDS if e.path == name), None)
        options = _command(own, ()).options if own else ()
        found[name] = Command(("edgepose", name), (), text.strip(), options, below)
    top = tuple(c for path, c in sorted(found.items()) if " " not in path)
    return Command(("edgepose",), (), ROOT.strip(), (VERSION,), top)


def posenet() -> Command:
    """The command `posenet`, which is `edgepose posenet` by a shorter name."""
    command = next(c for c in edgepose().commands if c.name == "posenet")
    return Command(("posenet",), command.arguments, command.help, command.options)


def _command(options: type, path: tuple[str, ...]) -> Command:
    from edgepose.cli.help import help_of
    from edgepose.options import fields_of

    shown = [f for f in fields_of(options) if not f.option.hidden]
    return Command(
        path,
        tuple(f.word for f in shown if f.option.argument),
        help_of(options),
        tuple(_option(f) for f in shown if not f.option.argument),
    )


def _option(field: Any) -> Option:
    kinds = {bool: "switch", Path: "path", int: "number", float: "number"}
    return Option(
        tuple(sorted(field.names, key=lambda name: not name.startswith("--"))),
        tuple(filter(None, (field.option.off,))),
        field.word,
        kinds.get(field.kind, "text"),
        field.panel,
        field.help,
        field.many,
    )


VERSION = Option(("--version",), (), "", "switch", "Options", "Print the version.", False)


def write_or_check(files: dict[Path, str], argv: list[str], folders: tuple[Path, ...] = ()) -> int:
    """Write files; with --check only say which are not what they should be.

    Args:
        files: contents by path. folders: files in there that are not in `files` are removed.

    Returns:
        Exit code: 1 where --check found a difference.
    """
    stale = [p for p, text in files.items() if not p.is_file() or p.read_text() != text]
    extra = [p for folder in folders if folder.is_dir() for p in folder.iterdir() if p not in files]
    if "--check" in argv:
        for path in (*stale, *extra):
            print(f"{path.relative_to(ROOT)} is not up to date", file=sys.stderr)
        if stale or extra:
            print(f"run: python tools/{Path(sys.argv[0]).name}", file=sys.stderr)
        return int(bool(stale or extra))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
        print(path.relative_to(ROOT))
    for path in extra:
        path.unlink()
    return 0
