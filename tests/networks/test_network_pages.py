"""docs/networks.md and docs/download.md say what is so."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from edgepose.cli.main import make_app
from edgepose.cli.options import Download
from edgepose.networks import registry
from edgepose.networks.manifest import Manifest, parse_manifest
from edgepose.networks.resolve import own_topology
from edgepose.networks.topology import load_topology, parse_topology, shipped_topologies
from edgepose.options import TalkChoice, fields_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
NETWORKS = (DOCS / "networks.md").read_text()
DOWNLOAD = (DOCS / "download.md").read_text()
SHIPPED = registry.shipped_manifests()  # not what lies in EDGEPOSE_HOME
MANIFESTS = {m.name: m for m in SHIPPED}


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def listed() -> dict[str, list[str]]:
    return {r[0].strip("`"): r for r in rows(NETWORKS) if len(r) == 6}


def test_every_network_is_listed() -> None:
    assert sorted(listed()) == sorted(MANIFESTS)


@pytest.mark.parametrize("m", MANIFESTS.values(), ids=lambda m: m.name)
def test_the_table_says_what_the_manifest_says(m: Manifest) -> None:
    _, finds, how, size, ap, weights = listed()[m.name]
    assert how == m.family
    assert size == f"{m.input.width}x{m.input.height}"
    if m.topology:
        assert f"{len(own_topology(m).keypoints)} keypoints" in finds
    figure = m.metrics.get("coco_ap", m.metrics.get("box_ap"))
    shown = "" if figure is None else f"{100 * figure:.1f}"
    assert ap == shown + (" (box)" if shown and how == "detector" else "")
    w = m.weights[m.default_variant]
    if m.name == "edgepose-lite-body":  # whose weights hatch_build.py leaves out of the wheel
        assert weights == "bring the file, from the repository"
    elif w.shipped:
        assert weights == "in the package"
    else:
        assert weights.startswith("download") == bool(w.downloads)
    assert ("OpenVINO" in weights) == (w.model.endswith(".xml"))


def test_topologies_are_listed() -> None:
    row = next(r for r in rows(NETWORKS) if r[0] == "`--topology`")
    assert set(re.findall(r"`(\w+)`", row[1])) == set(shipped_topologies())


def test_the_examples_are_valid() -> None:
    topology, manifest = (json.loads(b) for b in re.findall(r"```json\n(.*?)```", NETWORKS, re.S))
    assert len(parse_topology(topology, "docs").keypoints) == 3
    m = parse_manifest(manifest, "docs")
    assert len(load_topology(m.topology).keypoints) == 18


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", NETWORKS, re.S):
        exec(compile(block, "docs/networks.md", "exec"), {})
    assert "nose" in capsys.readouterr().out


def commands(text: str) -> list[list[str]]:
    lines = re.findall(r"^    ((?:edgepose|posenet) .*)$", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("words", [*commands(NETWORKS), *commands(DOWNLOAD)], ids=" ".join)
def test_commands_have_the_options_they_show(words: list[str]) -> None:
    import typer.main

    command = typer.main.get_command(make_app())
    if words[0] == "edgepose":
        words = words[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{command.name} has no {word}"
    names = [w.partition(":")[0] for w in words if not w.startswith("-")]
    if command.name == "download":
        assert all(n in MANIFESTS or "/" in n or "." in n for n in names)


def test_every_option_of_download_is_described() -> None:
    for field in fields_of(Download):
        if not field.option.argument and field.panel != TalkChoice.PANEL:
            assert field.names[0] in DOWNLOAD, field.key
