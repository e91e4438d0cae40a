"""The options of posenet in a plain list of words, as the Python API takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose import PoseNet, videoSource
from edgepose.errors import UsageError
from edgepose.options import Field, Posenet, fields_of, parse_argv

FIELDS = [f for f in fields_of(Posenet) if not f.option.argument]


def values(field: Field) -> st.SearchStrategy[object]:
    least, most = field.option.least, field.option.most
    if field.kind is int:
        return st.integers(int(least or 0), int(most or 10**6))
    if field.kind is float:
        return st.floats(least, most, allow_nan=False)
    if field.kind is Path:
        return st.text("abc./", min_size=1).map(Path)
    return st.text("abcXYZ:/=-_ 0", min_size=1)


def read(options: Posenet, name: str) -> object:
    parts = [*vars(options).values(), options.source.camera, options]
    return next(vars(part)[name] for part in parts if name in getattr(part, "__dict__", {}))


@given(st.data())
def test_a_flag_and_its_value_are_one_word_or_two(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([f for f in FIELDS if f.kind is not bool]))
    value, name = data.draw(values(field)), data.draw(st.sampled_from(field.names))
    text = str(value)
    expected = (value,) if field.many else value
    assert read(parse_argv([f"{name}={text}"]), field.name) == expected
    if text.startswith("-"):  # looks like an option of its own
        return
    assert read(parse_argv(["script.py", name, text, "x.jpg"]), field.name) == expected


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.key)
def test_spellings_with_underscores_and_capitals_are_known(field: Field) -> None:
    name = "--" + field.key.upper()
    words = [name] if field.kind is bool else [f"{name}={field.default or 1}"]
    assert isinstance(parse_argv(words), Posenet)


def test_what_is_not_given_is_as_declared() -> None:
    assert parse_argv([]) == Posenet()
    assert parse_argv(["a.py", "x.jpg", "out.jpg"]) == Posenet(inputs=("a.py", "x.jpg", "out.jpg"))
    assert not parse_argv(["--no-reconnect"]).source.reconnect
    assert parse_argv(["-i", "a", "--input=b"]).source.source == ("a", "b")
    assert parse_argv(["--", "--network=x"]).inputs == ("--network=x",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--netwrok", "x"], "Did you mean --network"),
        (["--zzzzqqq"], "See posenet --help"),
        (["--threshold=x"], "not a number"),
        (["--threshold=nan"], "out of bounds"),
        (["--threshold=2"], "at most 1"),
        (["--input-width=1.5"], "whole number"),
        (["--network"], "needs a value"),
        (["--headless=1"], "takes no value"),
        (["--resize=cut"], "stretch"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PoseNet("edgepose-lite-body", words)


def test_every_option_of_the_estimator_reaches_it_from_argv() -> None:
    words = ["--network", "edgepose-lite-body", "--min-keypoints", "17", "--alpha", "9"]
    with PoseNet("resnet18-body", words) as net:
        assert net.network == "edgepose-lite-body"
        assert net._options.min_keypoints == 17
        assert net._style.alpha == 9
        assert net.process(np.zeros((64, 64, 3), np.uint8)) == []


def test_a_source_takes_its_options_as_two_words() -> None:
    source = videoSource("test://people?frames=2", argv=["--input-width", "320", "--threshold=.2"])
    assert source.GetOptions()["width"] == 320
    source.Close()
