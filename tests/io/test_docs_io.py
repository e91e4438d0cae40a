"""What docs/json.md and docs/inputs-outputs.md say is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from edgepose.io import memory, sinks, targets
from edgepose.io.outputs.formats import CONTAINERS
from edgepose.io.pixels import FLIPS
from edgepose.io.sinks.csv_rows import HEADER
from edgepose.io.sources import open_source

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", ["json.md", "inputs-outputs.md"])
def test_python_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(page, "python")
    assert found
    for block in found:
        exec(compile(block, page, "exec"), {})
    if page == "json.md":
        assert json.loads((tmp_path / "poses.jsonl").read_text())["poses"][0]["id"] == 0
    else:
        assert len(list(open_source("film.mp4"))) == 5


def test_json_examples_follow_the_schema() -> None:
    schema = json.loads((Path(sinks.__file__).parent / "result.schema.json").read_text())
    for block in blocks("json.md", "json")[:2]:
        jsonschema.validate(json.loads(block), schema)


def test_tables_are_complete() -> None:
    text = (DOCS / "inputs-outputs.md").read_text(encoding="utf-8")
    for flip in FLIPS:
        assert f"`{flip}`" in text
    for extension in (*CONTAINERS, *targets.IMAGES):
        assert f".{extension}" in text
    for container in CONTAINERS.values():
        assert ", ".join(container.codecs) in text
    assert f"{memory.MAX_PIXELS // 1_000_000} megapixels" in text
    assert set(targets.VIDEOS) == set(CONTAINERS)
    assert ",".join(HEADER) in (DOCS / "json.md").read_text(encoding="utf-8")
