"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served, make_film

for package in ("starlette", "uvicorn", "websockets"):
    pytest.importorskip(package, reason="the serve extra is not installed")


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of walking figures."""
    return make_film(tmp_path_factory.mktemp("film") / "figures.mp4")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Served]:
    """A server with a camera and an example film; events in a database."""
    home = tmp_path_factory.mktemp("served")
    words = ("test://people?size=320x240&rate=15", "--example", str(film))
    served = Served(home, *words, "--db", str(home / "events.db"), "--snapshots")
    yield served
    assert served.end() == 0, "".join(served.said)
