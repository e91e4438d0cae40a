"""The commands and options of edgepose as plain data, for the scripts that write pages from them.

Read from the command line's own functions, so that it does not depend on how a version of Typer prints.
"""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Callable, Iterator
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
    import typer.main

    from edgepose.cli.main import make_app

    return _command(typer.main.get_command(make_app()), ("edgepose",))


def posenet() -> Command:
    """The command `posenet`, which is `edgepose posenet` by a shorter name."""
    command = next(c for c in edgepose().commands if c.name == "posenet")
    return Command(("posenet",), command.arguments, command.help, command.options)


def _command(command: Any, path: tuple[str, ...]) -> Command:
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    hints = _hints(command.callback)
    options = [_option(p, hints.get(p.name)) for p in shown if p.param_type_name != "argument"]
    return Command(
        path,
        tuple(_argument(p) for p in shown if p.param_type_name == "argument"),
        (command.help or "").strip(),
        tuple(o for o in options if not {"--install-completion", "--show-completion"} & {*o.names}),
        tuple(
            _command(sub, (*path, name))
            for name, sub in sorted(getattr(command, "commands", {}).items())
        ),
    )


def _hints(callback: Callable[..., Any] | None) -> dict[str, Any]:
    """Annotated types of a command's function by parameter."""
    if callback is None:
        return {}
    function = getattr(callback, "__wrapped__", callback)
    try:
        return typing.get_type_hints(function)
    except NameError:  # a name that is imported for the type checker only
        return {}


def _argument(param: Any) -> str:
    text = param.metavar or param.name.upper()
    return text if param.required or text.startswith("[") else f"[{text}]"


def _option(param: Any, hint: Any) -> Option:
    words = {t.__name__ for t in _types(hint)}
    switch = bool(param.is_flag)
    kind = (
        "switch"
        if switch
        else "path"
        if "Path" in words
        else "number"
        if words & {"int", "float"}
        else "text"
    )
    word = {"path": "PATH", "number": "NUMBER", "text": "TEXT", "switch": ""}[kind]
    help_ = " ".join((param.help or "").split())
    if _worth_saying(param) and "[default" not in help_:
        help_ = f"{help_} [default: {param.default}]".strip()
    return Option(
        tuple(sorted(param.opts, key=lambda name: not name.startswith("--"))),
        tuple(param.secondary_opts),
        "" if switch else param.metavar or word,
        kind,
        getattr(param, "rich_help_panel", None) or "Options",
        help_,
        bool(param.multiple),
    )


def _types(hint: Any) -> list[type]:
    """The plain types in a hint."""
    inner = typing.get_args(hint)  # first: Python 3.10 takes list[int] for a type
    if inner:
        return [t for part in inner for t in _types(part)]
    return [hint] if isinstance(hint, type) else []


def _worth_saying(param: Any) -> bool:
    default = param.default
    return (
        isinstance(default, (str, int, float)) and not isinstance(default, bool) and bool(default)
    )


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
