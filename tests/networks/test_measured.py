"""Times that `edgepose bench` leaves for the table of networks."""

from __future__ import annotations

import pytest

from edgepose.networks import measured
from edgepose.paths import home


def test_what_was_stored_is_loaded_and_replaced() -> None:
    assert measured.load() == {}
    measured.store("a", 12.345, "x")
    measured.store("b", 1, "y")
    measured.store("a", 10, "z")
    assert measured.load() == {"a": {"ms": 10, "engine": "z"}, "b": {"ms": 1, "engine": "y"}}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 3}', '{"a": {"ms": "fast"}}', "\0"])
def test_a_damaged_file_is_as_good_as_none(text: str) -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "measured.json").write_text(text)
    assert measured.load() == {}
