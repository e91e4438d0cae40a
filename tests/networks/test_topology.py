"""Topologies and colours: what is read, what is derived, and one error for everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.errors import NetworkFileError
from edgepose.networks.topology import Topology, load_colors, load_topology, parse_topology

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
LIMB = {"keypoints": ["a", "left_b", "right_b"], "skeleton": [[1, 2], [1, 3]]}


def test_the_tables_of_trt_pose(shared: Path) -> None:
    """Names of links and PAF channels are those trt_pose's own code derives from its file."""
    wanted = np.load(shared / "oracle/trt_pose_parse/topology.npy")
    assert np.array_equal(load_topology("human_pose").table, wanted)


def test_trt_pose_order_is_y_then_x() -> None:
    t = parse_topology(LIMB, "here")
    assert t.links == ((0, 1), (0, 2))
    assert t.table.tolist() == [[0, 1, 0, 1], [2, 3, 0, 2]]
    assert t.table.dtype == np.int32


def test_own_paf_channels() -> None:
    t = parse_topology({**LIMB, "paf_channels": [[6, 7], [2, 3]]}, "here")
    assert t.table.tolist() == [[7, 6, 0, 1], [3, 2, 0, 2]]


def test_openpose_paf_channels() -> None:
    """The order given for the tf-pose network, x before y, and the one OpenPose's networks share."""
    first = [12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26]
    assert load_topology("openpose_18").paf_channels == tuple((c, c + 1) for c in first)


def test_mirror_images() -> None:
    assert parse_topology(LIMB, "here").flip_pairs == (0, 2, 1)
    body = load_topology("human_pose")
    assert all(body.flip_pairs[m] == i for i, m in enumerate(body.flip_pairs))
    assert load_topology("hand_pose").flip_pairs == tuple(range(21))


def test_colors_with_and_without_alpha() -> None:
    t = parse_topology({**LIMB, "colors": [[1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]}, "here")
    assert t.colors == ((1, 2, 3, 255), (4, 5, 6, 7), (8, 9, 10, 255))
    assert t.color(1) == (4, 5, 6, 7)
    assert Topology("x", ("a",), ()).color(0) == (0, 255, 0, 255)


def test_a_file_or_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(LIMB))
    assert load_topology(path).keypoints == ("a", "left_b", "right_b")
    assert load_topology(str(path)) == load_topology(path)
    assert load_topology("human_pose").name == "person"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "not an object"),
        ({}, "'keypoints'"),
        ({"keypoints": []}, "'keypoints'"),
        ({"keypoints": ["a", 3]}, "'keypoints'"),
        ({"keypoints": ["a", "a"], "skeleton": []}, "twice"),
        ({"keypoints": ["a"]}, "'skeleton'"),
        ({"keypoints": ["a", "b"], "skeleton": [[0, 1]]}, "0, not a whole number from 1 to 2"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 3]]}, "3, not a whole number from 1 to 2"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 2, 1]]}, "not a pair"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, True]]}, "True"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 1]]}, "itself"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 2]] * 100}, "100 links"),
        ({**LIMB, "paf_channels": [[0, 1]]}, "differ in length"),
        ({**LIMB, "paf_channels": [[0, 0], [1, 2]]}, "twice"),
        ({**LIMB, "colors": [[1, 2]]}, "'colors'"),
        ({**LIMB, "colors": [[1, 2, 256]]}, "'colors'"),
        ({**LIMB, "colors": [[1, 2, 3]]}, "1 rows for 3 keypoints"),
        ({**LIMB, "name": 3}, "'name'"),
    ],
)
def test_what_is_wrong_is_named(data: Any, says: str) -> None:
    with pytest.raises(NetworkFileError) as e:
        parse_topology(data, "mine.json")
    assert says in str(e.value)
    assert "mine.json" in str(e.value)
    assert len(str(e.value)) < 400


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000, b'{"a": NaN}', b"null"]
)
def test_files_that_are_no_topology(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(NetworkFileError, match=r"t\.json"):
        load_topology(path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match="does not exist"):
        load_topology(tmp_path / "no.json")
    with pytest.raises(NetworkFileError, match="human_pose"):  # the names that exist are listed
        load_topology("humanpose")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(NetworkFileError, match="cannot be read"):
        load_topology(tmp_path / "d.json")


def check_topology(t: Topology) -> None:
    assert t.table.shape == (len(t.links), 4)
    assert all(0 <= a < len(t.keypoints) and 0 <= b < len(t.keypoints) for a, b in t.links)
    assert all(t.flip_pairs[m] == i for i, m in enumerate(t.flip_pairs))
    assert all(len(t.color(k)) == 4 for k in range(len(t.keypoints)))


@settings(max_examples=200, deadline=None)
@given(
    base=st.sampled_from(["limb", "none"]),
    changes=st.dictionaries(
        st.sampled_from(
            ["keypoints", "skeleton", "paf_channels", "colors", "name", "supercategory"]
        ),
        ANY_JSON | st.lists(st.lists(st.integers(-1, 4), max_size=3), max_size=4),
        max_size=3,
    ),
)
def test_any_topology_is_read_or_refused(base: str, changes: dict[str, Any]) -> None:
    data = {**(LIMB if base == "limb" else {}), **changes}
    try:
        t = parse_topology(data, "here")
    except NetworkFileError:
        return
    check_topology(t)


@settings(max_examples=100, deadline=None)
@given(ANY_JSON)
def test_any_json_is_read_or_refused(data: Any) -> None:
    with pytest.raises(NetworkFileError):
        parse_topology(data, "here")


# colours ----------------------------------------------------------------------------------------
def test_colours_as_jetson_inference_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "colors.txt"
    path.write_text("255 0 0\n\n0, 255, 0, 128\n# a remark\n  0 0 255  # blue\n")
    assert load_colors(path) == ((255, 0, 0, 255), (0, 255, 0, 128), (0, 0, 255, 255))


@pytest.mark.parametrize(
    "text", ["255 0", "1 2 3 4 5", "a b c", "256 0 0", "-1 0 0", "1.5 2 3", "٣ 0 0 x", "#1 2\n7"]
)
def test_bad_colours_name_their_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "colors.txt"
    path.write_text("1 2 3\n" + text)
    with pytest.raises(NetworkFileError, match=r"colors\.txt, line [23]"):
        load_colors(path)


def test_colours_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bin").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_text("\n# nothing\n")
    for name in ("bin", "none", "empty", "."):
        with pytest.raises(NetworkFileError, match="Colours"):
            load_colors(tmp_path / name)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=60) | st.text("0123456789 ,#\n\t.-²٣x", max_size=60).map(str.encode))
def test_any_colours_are_read_or_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "colors.txt"
    path.write_bytes(data)
    try:
        rows = load_colors(path)
    except NetworkFileError:
        return
    assert rows
    assert all(len(row) == 4 and all(0 <= v <= 255 for v in row) for row in rows)
