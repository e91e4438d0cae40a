"""What a command reads, it does not write over: every pair of options that name files, and every name of a file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from edgepose.cli.commands import COMMANDS, Command
from edgepose.cli.serve_options import Serve
from edgepose.cli.written import refuse_what_is_read
from edgepose.errors import UsageError
from edgepose.options import Field, Posenet, build, fields_of

WRITERS = [c for c in COMMANDS if any(f.option.writes for f in fields_of(c.options))]


def names_a_file(field: Field) -> bool:
    return field.kind in (str, Path) and not field.option.mixed


def needed(fields: tuple[Field, ...]) -> dict[str, Any]:
    """Values of what must be given, none of them the file."""
    return {
        f.name: (f.kind("elsewhere"),)
        if f.many
        else f.kind("elsewhere" if f.kind in (str, Path) else 1)
        for f in fields
        if f.default is dataclasses.MISSING
    }


@pytest.mark.parametrize("command", WRITERS, ids=lambda c: c.path)
def test_no_option_writes_into_what_another_one_reads(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("{}")
    group = command.options
    fields = fields_of(group)
    for writes in (f for f in fields if f.option.writes):
        for reads in (f for f in fields if names_a_file(f) and not f.option.writes):
            values = needed(fields)
            for field in (writes, reads):
                values[field.name] = (str(file),) if field.many else field.kind(file)
            with pytest.raises(UsageError, match="is a file that this command reads"):
                refuse_what_is_read(build(group, values))


@pytest.mark.parametrize("command", WRITERS, ids=lambda c: c.path)
def test_files_of_their_own_are_written(command: Command, tmp_path: Path) -> None:
    group = command.options
    fields = fields_of(group)
    values = needed(fields)
    for field in filter(names_a_file, fields):
        path = tmp_path / field.name
        path.write_text("")
        values[field.name] = (str(path),) if field.many else field.kind(path)
    refuse_what_is_read(build(group, values))


def posenet_options(**values: Any) -> Any:
    return build(Posenet, values)


@pytest.mark.parametrize(
    "name", ["file.json", "./file.json", "hard.json", "soft.json", "dir/file.json"]
)
def test_every_name_of_a_file_is_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.json").write_text("{}")
    os.link("file.json", "hard.json")
    Path("soft.json").symlink_to("file.json")
    Path("dir").symlink_to(".")
    with pytest.raises(UsageError, match="is a file that this command reads"):
        refuse_what_is_read(posenet_options(zones=Path(name), json="file.json"))
    with pytest.raises(UsageError, match="is a file that this command reads"):
        refuse_what_is_read(posenet_options(gestures=f"builtin,{name}"), ["file.json"])


def test_inputs_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("film.mp4").write_text("")
    with pytest.raises(UsageError, match="is the input itself"):
        refuse_what_is_read(posenet_options(input_save="film.mp4"), (), ["film.mp4"])
    with pytest.raises(UsageError, match="is a file that this command reads"):
        refuse_what_is_read(build(Serve, {"sources": ("door=./film.mp4",), "db": "film.mp4"}))


def test_configuration_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edgepose.toml").write_text("[posenet]\n")
    with pytest.raises(UsageError, match=r"edgepose\.toml is a file that this command reads"):
        refuse_what_is_read(posenet_options(csv="edgepose.toml"))
