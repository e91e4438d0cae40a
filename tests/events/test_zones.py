"""Zones and lines: geometry, and the file they come from."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgepose.errors import UsageError
from edgepose.events.zones import (
    Line,
    Zone,
    load_zones,
    parse_zones,
    reference_point,
    zone_row,
)
from edgepose.types import Pose

SQUARE = Zone("s", ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)))
# a U: the middle of its top is outside
CUP = Zone("u", ((0, 0), (0.3, 0), (0.3, 0.7), (0.7, 0.7), (0.7, 0), (1, 0), (1, 1), (0, 1)))
part = st.floats(0, 1)


@pytest.mark.parametrize(
    ("point", "inside"),
    [((0.15, 0.5), True), ((0.5, 0.3), False), ((0.5, 0.9), True), ((2, 2), False)],
)
def test_a_concave_zone(point: tuple[float, float], inside: bool) -> None:
    assert CUP.holds(point) is inside


@given(part, part)
def test_a_square_holds_what_lies_between_its_sides(x: float, y: float) -> None:
    assert SQUARE.holds((x, y)) == (0.2 <= x < 0.8 and 0.2 <= y < 0.8)


@given(st.lists(st.tuples(part, part), min_size=3, max_size=8, unique=True), part, part)
def test_the_direction_and_start_of_a_polygon_do_not_matter(
    points: list[tuple[float, float]], x: float, y: float
) -> None:
    there = Zone("a", tuple(points)).holds((x, y))
    assert Zone("b", tuple(points[1:] + points[:1])).holds((x, y)) == there
    assert Zone("c", tuple(reversed(points))).holds((x, y)) == there


def test_right_and_left_are_those_of_someone_who_walks_the_line() -> None:
    # walking up in the picture, right is right
    up = Line("l", ((0.5, 0.9), (0.5, 0.1)))
    assert up.crossing((0.4, 0.5), (0.6, 0.5)) == "right"
    assert up.crossing((0.6, 0.5), (0.4, 0.5)) == "left"
    assert up.crossing((0.4, 0.5), (0.45, 0.5)) == ""
    assert up.crossing((0.4, 0.95), (0.6, 0.95)) == ""
    down = Line("l", ((0.5, 0.1), (0.5, 0.9)), right="out", left="in")
    assert down.crossing((0.4, 0.5), (0.6, 0.5)) == "in"


@given(part | st.just(0.5), part, part | st.just(0.4), part | st.just(1.0))
@example(0.0, 0.1, 0.6, 0.1)  # right through the first end of the line
@example(0.1, 0.9, 0.7, 0.9)
@example(0.3, 0.0, 0.3, 1.0)
def test_crossing_there_is_the_opposite_of_crossing_back(
    ax: float, ay: float, bx: float, by: float
) -> None:
    line = Line("l", ((0.3, 0.1), (0.5, 0.5), (0.4, 0.9)))
    opposite = {"right": "left", "left": "right", "": ""}
    assert line.crossing((ax, ay), (bx, by)) == opposite[line.crossing((bx, by), (ax, ay))]


def test_crossing_a_bent_line_twice_is_no_crossing() -> None:
    bent = Line("l", ((0.2, 0.5), (0.5, 0.2), (0.8, 0.5)))
    assert bent.crossing((0.1, 0.4), (0.9, 0.4)) == ""
    assert bent.crossing((0.1, 0.4), (0.5, 0.4)) != ""


def test_distance_is_to_the_nearest_part() -> None:
    line = Line("l", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
    assert line.distance((0.5, 0.2)) == pytest.approx(0.2)
    assert line.distance((0.9, 0.5)) == pytest.approx(0.1)
    assert line.distance((-0.3, 0.4)) == pytest.approx(0.5)


def test_reference_points() -> None:
    names = ("nose", "left_hip", "right_hip")
    points = np.array([[100, 20, 0.9], [90, 200, 0.9], [130, 220, 0.8]], np.float32)
    pose = Pose(0, points, names, box=(80.0, 10.0, 160.0, 400.0))
    assert reference_point(pose, "bottom", 200, 400) == (0.6, 1.0)
    assert reference_point(pose, "centre", 200, 400) == (0.6, 205 / 400)
    assert reference_point(pose, "hips", 200, 400) == (0.55, 0.525)
    points[1:, 2] = 0
    hidden = Pose(0, points, names, box=pose.box)
    assert reference_point(hidden, "hips", 200, 400) == (0.6, 205 / 400)


# the file ----------------------------------------------------------------------------------------


def test_a_file_in_pixels(tmp_path: Path) -> None:
    file = tmp_path / "zones.json"
    file.write_text(
        json.dumps(
            {
                "size": [1000, 500],
                "reference": "hips",
                "zones": [
                    {
                        "name": "counter",
                        "polygon": [[100, 100], [500, 100], [500, 400]],
                        "enter_after": 1,
                    },
                    {
                        "name": "door",
                        "line": [[900, 50], [900, 450]],
                        "reference": "bottom",
                        "right": "in",
                    },
                ],
            }
        )
    )
    zones = load_zones(file)
    assert zones.zones == (
        Zone("counter", ((0.1, 0.2), (0.5, 0.2), (0.5, 0.8)), "hips", 1.0, None),
    )
    assert zones.lines == (Line("door", ((0.9, 0.1), (0.9, 0.9)), "bottom", "in", "left"),)


TRIANGLE = [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "found a JSON list"),
        ({}, "'zones' is not a list"),
        ({"zones": [3]}, "'zones' is not a list of objects"),
        ({"zones": [{"polygon": TRIANGLE}]}, "None is not a name"),
        ({"zones": [{"name": "a"}]}, "either a polygon or a line"),
        ({"zones": [{"name": "a", "polygon": TRIANGLE, "line": TRIANGLE}]}, "either a polygon or"),
        ({"zones": [{"name": "a", "polygon": TRIANGLE[:2]}]}, "at least 3 points"),
        ({"zones": [{"name": "a", "line": [[0, 0], [0, 0]]}]}, "same point twice"),
        ({"zones": [{"name": "a", "polygon": [[0, 0], [1, 0], [0, 0]]}]}, "same point twice"),
        ({"zones": [{"name": "a", "line": [[0, 0], [0, "x"]]}]}, "not a point"),
        ({"zones": [{"name": "a", "line": [[0, 0], [0, 640]]}]}, '"size": \\[width, height\\]'),
        ({"zones": [{"name": "a", "line": [[0, 0], [0, float("nan")]]}]}, "not a point"),
        ({"zones": [{"name": "a", "line": [[0, 0], [0, 10**400]]}]}, "a huge number|not a point"),
        ({"size": [10**5000, 4], "zones": []}, "not \\[width, height\\]"),
        ({"size": [5e-324, 1e9], "zones": [{"name": "a", "line": [[0, 0], [1, 0]]}]}, "outside"),
        ({"zones": [{"name": "a", "polygon": TRIANGLE, "exit_after": 1e300}]}, "number of seconds"),
        ({"zones": [{"name": "n" * 10**6, "polygon": TRIANGLE}]}, "is not a name"),
        ({"size": [0, 4], "zones": []}, "not \\[width, height\\]"),
        ({"zones": [{"name": "a", "polygon": TRIANGLE}] * 2}, "'a' is given twice"),
        ({"zones": [{"name": "a", "polygn": TRIANGLE}]}, "either a polygon"),
        ({"zones": [{"name": "a", "polygon": TRIANGLE, "enter": 1}]}, "Did you mean 'enter_after'"),
        ({"zones": [{"name": "a", "polygon": TRIANGLE, "enter_after": -1}]}, "number of seconds"),
        ({"zones": [], "reference": "hip"}, "Did you mean 'hips'"),
        ({"zones": [{"name": "a", "line": TRIANGLE, "right": "x", "left": "x"}]}, "two different"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_zones(data, "z.json")
    assert str(caught.value).startswith("Zones z.json: ")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_zones(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UsageError, match="not valid JSON"):
        load_zones(tmp_path / "bad.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid JSON"):
        load_zones(tmp_path / "binary.json")
    with pytest.raises(UsageError, match="cannot be read"):
        load_zones(tmp_path)
    for text in (
        '{"zones": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"size": [1e999, 1]}',
        '"\\ud800"',
    ):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(UsageError, match="not valid JSON"):
            load_zones(tmp_path / "odd.json")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.just(10**400)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["size", "zones", "name", "polygon", "line", "reference", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything)
def test_any_json_is_zones_or_an_error(data: Any) -> None:
    with contextlib.suppress(UsageError):
        zones = parse_zones(data, "f")
        assert len(zones.zones) + len(zones.lines) == len(data["zones"])


ROWS = [
    {"name": "a", "polygon": [[0.1, 0.2], [0.5, 0.2], [0.3, 0.9]], "reference": "hips"},
    {"name": "b", "polygon": [[0, 0], [1, 0], [1, 1]], "exit_after": 1.5, "fine": ["lying"]},
    {"name": "c", "line": [[0, 0.5], [0.7, 0.5]], "right": "in", "left": "out", "camera": "hall"},
]


def test_what_was_read_is_written_as_it_was() -> None:
    assert [zone_row(shape) for shape in parse_zones({"zones": ROWS}).shapes] == ROWS


def test_a_name_is_given_once_for_each_camera() -> None:
    a, b, everywhere = ({**ROWS[0], "camera": camera} for camera in ("hall", "yard", ""))
    assert len(parse_zones({"zones": [a, b]}).zones) == 2
    for rows in ([a, a], [a, everywhere], [everywhere, b]):
        with pytest.raises(UsageError, match="given twice"):
            parse_zones({"zones": rows})


def test_a_zone_for_a_camera_needs_named_inputs(tmp_path: Path) -> None:
    path = tmp_path / "z.json"
    path.write_text(json.dumps({"zones": ROWS}))
    assert len(load_zones(path, cameras=True).shapes) == 3
    with pytest.raises(UsageError, match="'c' is for the camera 'hall'"):
        load_zones(path)
