"""compose.yaml and the systemd unit start commands that exist, with options that they have."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from edgepose.cli.main import make_app
from edgepose.cli.serve_options import WebChoice

FOLDER = Path(__file__).resolve().parents[2] / "docker"
COMPOSE = (FOLDER / "compose.yaml").read_text()
UNIT = (FOLDER / "edgepose.service").read_text()


def started() -> list[list[str]]:
    """Words behind `edgepose`, of each service."""
    lists = [json.loads(text) for text in re.findall(r"command: (\[.*\])", COMPOSE)]
    found = [words for words in lists if words[0] != "mosquitto"]
    line = re.search(r"^ExecStart=\S+/edgepose (.*)$", UNIT, re.M)
    assert line is not None
    return [*found, shlex.split(line[1])]


@pytest.mark.parametrize("words", started(), ids=" ".join)
def test_commands_exist_and_have_their_options(words: list[str]) -> None:
    root: Any = typer.main.get_command(make_app())
    command = root.commands[words[0]]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    options = {word for word in words if word.startswith("--")}
    assert options
    assert options <= known


def test_the_page_is_asked_where_it_listens() -> None:
    port = re.search(r'"(\d+):\1"', COMPOSE)
    assert port is not None
    assert f"http://127.0.0.1:{port[1]}/healthz" in COMPOSE
    assert str(WebChoice().port) == port[1]


@pytest.mark.parametrize("name", ["edgepose.service", "Dockerfile.jetson"])
def test_the_driver_keeps_its_kernels_where_it_may_write(name: str) -> None:
    """By default in ~/.nv, which a service has not: every start would compile the PTX."""
    text = (FOLDER / name).read_text()
    found = dict(re.findall(r"(EDGEPOSE_CACHE|CUDA_CACHE_PATH)=(\S+)", text))
    assert found["CUDA_CACHE_PATH"].startswith(found["EDGEPOSE_CACHE"] + "/")
    if name.endswith(".service"):
        assert "SupplementaryGroups=video render" in text
        assert f"CacheDirectory={Path(found['EDGEPOSE_CACHE']).name}" in text


def test_services_start_again_and_stop_in_order() -> None:
    assert COMPOSE.count("restart: unless-stopped") == 2  # ours by the anchor, and the broker
    assert COMPOSE.count("<<: *edgepose") == 2
    assert "Restart=always" in UNIT
    assert "EDGEPOSE_TOKEN:?" in COMPOSE  # never open by mistake
