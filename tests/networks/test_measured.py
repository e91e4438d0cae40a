"""Times that `edgepose bench` leaves for the table of networks."""

from __future__ import annotations

import pytest

from edgepose.machine import cpu_name
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


WAYS = [
    measured.Timed("INT8", "n-int8.onnx", 3, "openvino", "fp32", 5.9),
    measured.Timed("FP16", "n.onnx", 4, "onnxruntime", "fp32", 13.6),
]


def test_ways_are_kept_beside_the_times_in_their_order() -> None:
    measured.store("n", 7, "x")
    measured.store_ways("n", WAYS)
    measured.store("n", 8, "y")
    assert measured.ways("n") == measured.ways() == WAYS
    assert measured.ways("m") == []
    row = measured.load()["n"]
    assert (row["ms"], row["engine"]) == (8, "y")


def test_ways_of_another_processor_say_nothing_about_this_one() -> None:
    measured.store_ways("n", WAYS)
    file = home() / "measured.json"
    file.write_text(file.read_text().replace(f'"cpu": "{cpu_name()}"', '"cpu": "another"'))
    assert measured.load()["n"]["cpu"] == "another"
    assert measured.ways() == []


@pytest.mark.parametrize("ways", ["3", "[3]", '[{"variant": 1}]', '{"a": 1}'])
def test_damaged_ways_are_none(ways: str) -> None:
    measured.store_ways("n", [])
    file = home() / "measured.json"
    file.write_text(file.read_text().replace('"ways": []', f'"ways": {ways}'))
    assert measured.ways("n") == []
