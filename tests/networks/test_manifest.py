"""Manifests: what they mean, and one error that names the field for whatever is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.errors import NetworkFileError
from edgepose.networks.manifest import InputSpec, Manifest, load_manifest, parse_manifest

FULL: dict[str, Any] = {
    "name": "mine",
    "family": "bottom-up",
    "description": "one line",
    "aliases": ["my-net"],
    "license": "MIT",
    "homepage": "https://example.com",
    "input": {
        "name": "x",
        "width": 64,
        "height": 32,
        "color": "bgr",
        "scale": 1,
        "mean": [1, 2.5, 3],
        "std": [1, 1, 1],
        "resize": "letterbox",
        "align": "top-left",
        "pad": 114,
        "layout": "nhwc",
        "multiple": 32,
    },
    "outputs": {"cmap": "a", "paf": "a"},
    "decoder": {"type": "paf", "cmap_channels": [0, 18], "paf_channels": [19, 57]},
    "topology": "human_pose",
    "colors": [[1, 2, 3], [1, 2, 3, 4]],
    "weights": {
        "FP32": {
            "model": "FP32/net.onnx",
            "downloads": [
                {
                    "file": "net.zip",
                    "urls": ["https://example.com/net.zip"],
                    "bytes": 12,
                    "sha256": "AB" * 32,
                    "sha384": "cd" * 48,
                    "archive": "zip",
                    "members": ["net.onnx"],
                }
            ],
        },
        "own": {"model": "net.onnx", "shipped": True, "sha256": "0" * 64},
    },
    "detector": "",
    "metrics": {"coco_ap": 0.5},
    "notes": "none",
}


def test_every_field() -> None:
    m = parse_manifest(FULL, "here")
    assert m.input == InputSpec(
        "x",
        64,
        32,
        "bgr",
        1.0,
        (1.0, 2.5, 3.0),
        (1.0, 1.0, 1.0),
        "letterbox",
        "top-left",
        114,
        "nhwc",
        32,
    )
    assert m.colors == ((1, 2, 3, 255), (1, 2, 3, 4))
    assert m.default_variant == "FP32"
    download = m.weights["FP32"].downloads[0]
    assert download.sha256 == "ab" * 32  # as hashlib writes it
    assert download.members == ("net.onnx",)
    assert m.weights["own"].shipped
    assert m.metrics == {"coco_ap": 0.5}
    assert m.path is None


def test_the_least_that_is_a_manifest() -> None:
    data = {"name": "a", "family": "detector", "weights": {"v": {"model": "m.onnx"}}}
    m = parse_manifest(data, "here")
    assert m.input == InputSpec()
    assert m.weights["v"].downloads == ()


def test_a_copy_with_another_input() -> None:
    m = parse_manifest(FULL, "here")
    assert m.with_input(width=96).input.width == 96
    assert m.input.width == 64


def test_the_file_it_came_from_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(FULL))
    assert load_manifest(path).path == path
    assert load_manifest(path) == parse_manifest(FULL, "elsewhere")


def changed(where: str, value: Any) -> dict[str, Any]:
    """FULL with one field, by its dotted path, set to another value (or removed: ...)."""
    data: Any = copy.deepcopy(FULL)
    at: Any = data
    *path, last = [int(p) if p.isdecimal() else p for p in where.split("/")]
    for step in path:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    result: dict[str, Any] = data
    return result


D = "weights/FP32/downloads/0/"


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("name", ..., "name"),
        ("name", "", "name"),
        ("name", "..", "name"),
        ("name", ".hidden", "name"),
        ("name", "a/b", "name"),
        ("name", "Big", "name"),
        ("name", "a" * 65, "name"),
        ("family", "sideways", "bottom-up, top-down, one-stage, detector"),
        ("family", ["bottom-up"], "family"),
        ("aliases", ["a b"], "aliases[0]"),
        ("surprise", 1, "unknown field 'surprise'"),
        ("path", "x", "unknown field 'path'"),
        ("input/surprise", 1, "unknown field 'surprise'"),
        ("input/width", -1, "input.width"),
        ("input/width", 9000, "larger than 8192"),
        ("input/width", 65, "multiples of 32"),
        ("input/width", True, "input.width"),
        ("input/width", 64.0, "input.width"),
        ("input/color", "grey", "rgb, bgr"),
        ("input/std", [1, 0, 1], "above zero"),
        ("input/scale", 0, "above zero"),
        ("input/scale", 10**400, "finite"),
        ("input/scale", float("nan"), "finite"),
        ("input/mean", [1, 2], "three numbers"),
        ("input/pad", 256, "input.pad"),
        ("input", None, "input is None, not an object"),
        ("outputs", {"cmap": 1}, "outputs.cmap"),
        ("decoder", {"type": 1}, "decoder.type"),
        ("decoder", {"window": 5}, "decoder.type"),
        ("decoder/cmap_channels", [5, 5], "decoder.cmap_channels"),
        ("decoder/paf_channels", [1], "decoder.paf_channels"),
        ("decoder/paf_channels", "all", "decoder.paf_channels"),
        ("decoder", {"type": "paf", "window": "5"}, "decoder.window"),
        ("decoder", {"type": "paf", "window": 0}, "decoder.window"),
        ("decoder", {"type": "paf", "score": None}, "decoder.score"),
        ("decoder", {"type": "paf", "new": {"a": 1}}, "decoder.new"),
        ("decoder", {"type": "paf", "new": [1, "a"]}, "decoder.new"),
        ("decoder", {"type": "paf", "treshold": 0.5}, "decoder.treshold is no field of a decoder"),
        ("decoder", {"type": "simcc", "softmax": "false"}, "decoder.softmax"),
        ("decoder", {"type": "heatmap", "refine": "Dark"}, "none, quarter, quarter-axis, dark"),
        ("decoder", {"type": "movenet", "boxes": "keypoint"}, "decoder.boxes"),
        ("decoder", {"type": "heatmap", "kernel": 0}, "decoder.kernel"),
        ("decoder", {"type": "ssd", "label": -1}, "decoder.label"),
        ("topology", "", "family 'bottom-up' needs one"),
        ("colors", [[1, 2]], "colors[0]"),
        ("colors", [[]], "colors[0]"),
        ("colors", [[1, 2, 256]], "colors[0]"),
        ("weights", {}, "no variant"),
        ("weights", {"../x": {"model": "m"}}, "weights"),
        ("weights/FP32/model", "../net.onnx", "weights.FP32.model"),
        ("weights/FP32/model", "/net.onnx", "weights.FP32.model"),
        ("weights/FP32/model", "a//b", "weights.FP32.model"),
        ("weights/FP32/model", "a\\b", "weights.FP32.model"),
        ("weights/FP32/model", "a\0b", "weights.FP32.model"),
        ("weights/FP32/model", "a b", "weights.FP32.model"),
        ("weights/FP32/model", ".hidden", "weights.FP32.model"),
        ("weights/FP32/model", "", "weights.FP32.model"),
        ("weights/FP32/model", ..., "weights.FP32.model"),
        ("weights/own/shipped", 1, "weights.own.shipped"),
        ("weights/own/sha256", "short", "64 hex digits"),
        (D + "urls", [], "urls"),
        (D + "urls", ["file:///etc/passwd"], "urls"),
        (D + "urls", ["ftp://x/y"], "urls"),
        (D + "urls", "https://x", "urls"),
        (D + "bytes", -1, "bytes"),
        (D + "sha256", "zz" * 32, "64 hex digits"),
        (D + "sha384", "ab" * 32, "96 hex digits"),
        (D + "archive", "rar", "archive"),
        (D + "file", "../x", "file"),
        (D + "members", ["../x"], "members"),
        (D + "surprise", 1, "surprise"),
        ("metrics", {"coco_ap": "high"}, "metrics.coco_ap"),
        ("notes", ["x" * 10_000], "notes"),
    ],
)
def test_what_is_wrong_is_named(where: str, value: Any, says: str) -> None:
    with pytest.raises(NetworkFileError) as e:
        parse_manifest(changed(where, value), "mine.json")
    assert says in str(e.value)
    assert "mine.json" in str(e.value)
    assert len(str(e.value)) < 300
    assert "\n" not in str(e.value)


JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["..", "a/../b", "paf", "https://x/y", 10**400, "rgb", [0, 0, 0], "-", "."]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(data: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a decoded JSON file."""
    found = [prefix] if prefix else []
    steps = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in steps:
        found += paths(value, (*prefix, key))
    return found


def check_manifest(m: Manifest) -> None:
    """What the rest of edgepose relies on."""
    assert m.name == Path(m.name).name
    assert m.weights
    for variant, weights in m.weights.items():
        assert variant == Path(variant).name
        for file in (weights.model, *(d.file for d in weights.downloads)):
            root = Path("/root/here")
            assert root in (root / file).parents
            assert ".." not in Path(file).parts
        for d in weights.downloads:
            assert d.urls
            assert all(u.startswith("http") for u in d.urls)
    assert min(m.input.std) > 0
    assert m.input.scale > 0
    assert 0 <= m.input.pad <= 255
    assert all(len(c) == 4 for c in m.colors)


@settings(max_examples=400, deadline=None)
@given(place=st.sampled_from(paths(FULL)), value=JSON_VALUE, second=JSON_VALUE)
def test_any_changed_field_is_read_or_refused(
    place: tuple[Any, ...], value: Any, second: Any
) -> None:
    data = copy.deepcopy(FULL)
    at: Any = data
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    if isinstance(at, dict) and isinstance(second, str):
        at[second] = value
    try:
        m = parse_manifest(data, "here")
    except NetworkFileError:
        return
    check_manifest(m)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=80) | JSON_VALUE.map(lambda v: json.dumps(v).encode()))
def test_any_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(data)
    with pytest.raises(NetworkFileError):
        load_manifest(path)


@pytest.mark.parametrize(
    "data", [b"[" * 200_000, b'{"a":' * 100_000, b"9" * 5000, b"\xef\xbb\xbf{}"]
)
def test_files_made_to_break_a_reader(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(data)
    with pytest.raises(NetworkFileError, match=r"m\.json"):
        load_manifest(path)
