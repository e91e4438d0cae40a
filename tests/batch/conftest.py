"""Short films of walking figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from films import write_kind

from edgepose.io.sources.testsrc import Painter, TestPattern

pytest.importorskip("pyarrow", reason="the batch extra is not installed")

SIZE = (192, 144)


@pytest.fixture(scope="session")
def make_film(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A film of a kind with two walking figures, made once."""
    painter = Painter(TestPattern(width=SIZE[0], height=SIZE[1], people=2))
    folder = tmp_path_factory.mktemp("films")
    made: dict[tuple[str, int], Path] = {}

    def make(kind: str = "closed", count: int = 48) -> Path:
        if (kind, count) not in made:
            below = folder / str(count)
            below.mkdir(exist_ok=True)
            made[kind, count] = write_kind(
                below, kind, count, SIZE, picture=lambda i, size: painter.paint(i, i / 25)
            )
        return made[kind, count]

    return make
