"""The bounded reader of JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.json_file import parse_json, read_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_reads_what_json_writes(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 65 + "]" * 65, "nested deeper than 64"),
        ("[" * 100_000, "nested deeper than 64"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "nested deeper than 64"),
        ('{"a": ' + "9" * 5000 + "}", "5000 digits"),
        ("-" + "9" * 400, "digits"),
        ("1e999", "1e999"),
        ("0." + "1" * 5000, "no number"),
        ("NaN", "NaN is not JSON"),
        ("[Infinity]", "Infinity is not JSON"),
        (r'{"a\ud800": 1}', "half of a character"),
        (r'["\UD800", "\uD83d"]'.replace("U", "u"), "half of a character"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "names 'c' twice"),
        ("{", "line 1"),
        ("", "Expecting value"),
    ],
)
def test_what_is_out_of_bounds_is_a_value_error(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_json(text)


def test_a_character_in_two_halves_is_one() -> None:
    assert parse_json(r'"\ud83d\ude00"') == "\U0001f600"


def test_deepest_and_longest_that_pass() -> None:
    assert parse_json("[" * 64 + "]" * 64)
    assert float(parse_json("9" * 25)) == 1e25


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        json.dumps(parse_json(data), ensure_ascii=False).encode()


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5]}')
    assert read_json(path) == {"a": [1, 2.5]}
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        read_json(path, 5)
    path.write_bytes(b'"\xff"')
    with pytest.raises(ValueError, match="utf-8"):
        read_json(path)
    with pytest.raises(IsADirectoryError):
        read_json(tmp_path)
