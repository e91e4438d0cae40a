"""docs/top-down.md says what the code does: its manifests are valid, its formats and options exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from edgepose.cli.main import make_app
from edgepose.decode import detections, one_stage
from edgepose.estimators.heads import HEADS
from edgepose.networks.manifest import parse_manifest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/top-down.md").read_text()
MEASURED = (ROOT / "benchmarks/README.md").read_text()
TABLE = re.findall(r"^\| (detector|top-down|one-stage) \| (.+?) \|", PAGE, re.MULTILINE)


def documented(family: str) -> set[str]:
    return {t for f, types in TABLE if f == family for t in re.findall(r"`([\w-]+)`", types)}


@pytest.mark.parametrize("text", re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL))
def test_manifests_of_the_page_are_valid_and_readable(text: str) -> None:
    manifest = parse_manifest(json.loads(text), "docs/top-down.md")
    assert manifest.decoder["type"] in documented(manifest.family)


def test_the_page_lists_every_format() -> None:
    assert documented("detector") == {*detections.FORMATS, "palm"}
    assert documented("one-stage") == set(one_stage.ONE_STAGE_FORMATS)
    assert documented("top-down") == set(HEADS)


def test_times_are_those_of_the_stored_benchmark() -> None:
    stored = json.loads((ROOT / "benchmarks/results/top_down.json").read_text())["figures"]
    rows = re.findall(
        r"^\| (\d+) \| ([\d.]+) ms \| ([\d.]+) ms \| ([\d.]+) \|$", MEASURED, re.MULTILINE
    )
    found = {f"{n} people": (float(a), float(b), float(r)) for n, a, b, r in rows}
    assert found.keys() == stored.keys()
    for name, (mine, other, ratio) in found.items():
        assert mine == pytest.approx(stored[name]["edgepose_ms"], abs=0.051)
        assert other == pytest.approx(stored[name]["rtmlib_ms"], abs=0.051)
        assert ratio == pytest.approx(stored[name]["ratio"], abs=0.0051)
        assert stored[name]["equal_keypoints"] == 1
        assert ratio <= 0.7


def test_options_exist() -> None:
    command = typer.main.get_command(make_app()).commands["posenet"]  # type: ignore[attr-defined]
    known = {name for option in command.params for name in option.opts}
    flags = set(re.findall(r"`(--[\w-]+)", PAGE))
    assert len(flags) > 8
    assert flags <= known
