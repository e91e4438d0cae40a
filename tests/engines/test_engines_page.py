"""docs/engines.md says what is so."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from edgepose.cli.common import run_app
from edgepose.cli.main import make_app
from edgepose.engines.cache import PlanKey
from edgepose.engines.table import BACKENDS
from tests.engines.conftest import Maker

PAGE = (Path(__file__).resolve().parents[2] / "docs/engines.md").read_text()


def test_every_engine_is_in_the_table_in_its_order() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (?:ONNX|OpenVINO)", PAGE, re.MULTILINE)
    assert rows == [b.name for b in BACKENDS]


def test_every_field_of_the_key_is_explained() -> None:
    told = PAGE.split("a JSON file with its key:")[1].split(" A plan is used")[0]
    assert set(re.findall(r"`(\w+)`", told)) == {f.name for f in fields(PlanKey)}


@pytest.mark.parametrize("command", ["build-engine", "engines"])
def test_commands_and_options_exist(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(rf"^    edgepose {command} (.*)$", PAGE, re.MULTILINE)
    assert len(shown) >= 5
    for line in shown:
        words = line.split("#")[0].split()
        sub = words[:1] if command == "engines" else []
        assert run_app(make_app(), [command, *sub, "--help"], "edgepose") == 0
        text = capfd.readouterr().out
        for option in re.findall(r"--[\w-]+", line):
            assert option in text, (line, option)


def test_options_in_the_text_exist(capfd: pytest.CaptureFixture[str]) -> None:
    run_app(make_app(), ["build-engine", "--help"], "edgepose")
    text = capfd.readouterr().out
    sentence = PAGE.split("Further options:")[1].split("see `--help`")[0]
    options = re.findall(r"--[\w-]+", sentence)
    assert len(options) == 6
    assert all(o in text for o in options)


def test_the_example_runs(onnx_file: Maker, capfd: pytest.CaptureFixture[str]) -> None:
    code = PAGE.split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/engines.md", "exec"), {"model": onnx_file()})
    out = capfd.readouterr().out
    assert "onnxruntime" in out
    assert "cmap (1, 4, 16, 24) float32" in out
