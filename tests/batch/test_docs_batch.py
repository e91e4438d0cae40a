"""The three ways to read the rows that docs/batch.md shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "batch.md"
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


@pytest.mark.parametrize("library", ["pandas", "duckdb", "polars"])
def test_the_rows_are_read_by(
    library: str, make_film: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "pandas":
        pytest.importorskip("pyarrow")
    run(tmp_path / "poses", [make_film("mp4", 24)])
    monkeypatch.chdir(tmp_path)
    (line,) = [line for line in CODE.splitlines() if f"{library}." in line]
    known = {library: module}
    exec(line, known)
    found = next(value for name, value in known.items() if line.startswith(f"{name} ="))
    if library == "duckdb":
        assert sorted(found.fetchall()) == [(frame, 2) for frame in range(24)]
    else:
        assert set(found["frame"]) == set(range(24))
        assert len(found) == 48
