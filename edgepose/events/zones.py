"""Zones and lines in the picture, read from a JSON file.

    {
      "size": [1280, 720],
      "reference": "bottom",
      "zones": [
        {"name": "counter", "polygon": [[100, 400], [500, 400], [520, 700], [80, 700]], "enter_after": 1},
        {"name": "bed", "polygon": [[600, 300], [900, 300], [900, 500], [600, 500]], "fine": ["lying", "fallen"]},
        {"name": "door", "line": [[900, 300], [900, 700]], "right": "in", "left": "out", "camera": "hall"}
      ]
    }

`size` is the picture that the coordinates are measured in, and they scale with the picture; without it
they are parts of the picture, 0..1. A person is where the reference point is: "bottom" (middle of the
lower edge of the box, the default), "hips" (middle of the hips, else of the box) or "centre" of the box.
`fine` names gestures that are no event while the person is in the zone. `camera` is for `edgepose serve`
with several inputs: the zone is for that one only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgepose.errors import UnknownNameError, UsageError
from edgepose.json_file import read_named
from edgepose.types import Pose

Point = tuple[float, float]
REFERENCES = ("bottom", "hips", "centre")
MAX_ZONES = 100
MAX_POINTS = 1000
MAX_BYTES = 10_000_000
LARGEST = 1e9  # of any number in the file


@dataclass(frozen=True)
class Zone:
    """A polygon.

    Attributes:
        name: of the zone, unique in its file.
        points: at least 3 corners, as parts of the picture.
        reference: which point of a person counts.
        enter_after, exit_after: seconds inside or outside until it counts; None = as for the picture.
        fine: gestures that are no event in it.
        camera: the input that it is for, "" = all.
    """

    name: str
    points: tuple[Point, ...]
    reference: str = "bottom"
    enter_after: float | None = None
    exit_after: float | None = None
    fine: tuple[str, ...] = ()
    camera: str = ""

    def holds(self, point: Point) -> bool:
        """True where the point (as a part of the picture) lies inside, by the even-odd rule.

        Each side is looked at from its upper end, so that rounding answers the same whichever way
        round the corners are given.
        """
        x, y = point
        inside = False
        for a, b in zip(self.points, (*self.points[1:], self.points[0]), strict=True):
            (ax, ay), (bx, by) = (a, b) if (a[1], a[0]) < (b[1], b[0]) else (b, a)
            if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
                inside = not inside
        return inside


@dataclass(frozen=True)
class Line:
    """A line of two or more points; people who cross it do so to its right or left.

    Right and left are those of someone who walks in the picture from the first point to the last.

    Attributes:
        name, points, reference, camera: as of a `Zone`, at least 2 points.
        right, left: what the two directions are called.
    """

    name: str
    points: tuple[Point, ...]
    reference: str = "bottom"
    right: str = "right"
    left: str = "left"
    camera: str = ""

    def crossing(self, start: Point, end: Point) -> str:
        """The name of the direction in which the way from `start` to `end` crosses, or ""."""
        sides = 0
        for a, b in pairwise(self.points):
            if _intersect(a, b, start, end):
                # y points down: positive is to the right of a -> b
                sides += 1 if _turn(a, b, end) > 0 else -1
        return self.right if sides > 0 else self.left if sides < 0 else ""

    def distance(self, point: Point) -> float:
        """Distance of a point from the line."""
        parts = pairwise(self.points)
        return min(_distance(a, b, point) for a, b in parts)


@dataclass(frozen=True)
class Zones:
    """The polygons and lines of a picture, in the order of their file."""

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()

    @property
    def shapes(self) -> tuple[Zone | Line, ...]:
        """All of them."""
        return (*self.zones, *self.lines)


def reference_point(pose: Pose, reference: str, width: int, height: int) -> Point:
    """Where a person is, as a part of the picture; may lie outside 0..1."""
    left, top, right, bottom = pose.box
    x, y = (left + right) / 2, bottom
    if reference != "bottom":
        y = (top + bottom) / 2
    if reference == "hips":
        hips = [k for k in pose.keypoints if k.name.endswith("hip")]
        if hips:
            x, y = sum(k.x for k in hips) / len(hips), sum(k.y for k in hips) / len(hips)
    return (x / width, y / height)


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _intersect(a: Point, b: Point, c: Point, d: Point) -> bool:
    """True where the segments a-b and c-d cross; an end that just touches counts for one side only.

    The way c-d is looked at in one direction only, so that rounding answers the same for the way back.
    """
    c, d = min(c, d), max(c, d)
    crosses = (_turn(a, b, c) > 0) != (_turn(a, b, d) > 0)
    return crosses and (_turn(c, d, a) > 0) != (_turn(c, d, b) > 0)


def _distance(a: Point, b: Point, p: Point) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    # points that are not the same may be so close that the squares vanish
    t = ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / ((dx * dx + dy * dy) or 1.0)
    t = max(0.0, min(1.0, t))
    return math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy)


# the file --------------------------------------------------------------------------------------


def load_zones(path: str | Path, *, cameras: bool = False) -> Zones:
    """Zones and lines of a JSON file.

    Args:
        cameras: whether the inputs have names here, so that a zone can be for one of them.

    Raises:
        UsageError: the file is missing, unreadable or does not follow the format; says where.
    """
    path = Path(path)
    data = read_named(path, "Zones file", UsageError, MAX_BYTES)
    zones = parse_zones(data, str(path))
    for shape in zones.shapes:
        if shape.camera and not cameras:
            raise UsageError(
                f"Zones {path}: {shape.name!r} is for the camera {shape.camera!r}, and inputs have no names "
                'here. Leave "camera" out, or use edgepose serve NAME=SOURCE.'
            )
    return zones


def parse_zones(data: Any, where: str = "") -> Zones:
    """Zones and lines of decoded JSON; `where` names the file in messages.

    Raises:
        UsageError: the data do not follow the format.
    """
    prefix = f"Zones {where}: ".replace(" :", ":")
    try:
        return _zones(data)
    except UnknownNameError as e:
        raise UsageError(prefix + str(e)) from None
    except _Malformed as e:
        raise UsageError(
            f"{prefix}{e}. A zone is "
            '{"name": ..., "polygon": [[x, y], ...]} or {"name": ..., "line": [[x, y], ...]}.'
        ) from None


def zone_row(shape: Zone | Line) -> dict[str, Any]:
    """A zone or line as it stands in a file without "size": parts of the picture, nothing that goes without saying."""
    kind = "line" if isinstance(shape, Line) else "polygon"
    row: dict[str, Any] = {"name": shape.name, kind: [list(point) for point in shape.points]}
    plain = type(shape)("", ())
    keys = _LINE_KEYS if kind == "line" else _POLYGON_KEYS
    for key in keys[2:]:
        value = getattr(shape, key)
        if value != getattr(plain, key):
            row[key] = list(value) if isinstance(value, tuple) else value
    return row


class _Malformed(Exception):
    """What is wrong, as the middle of a sentence."""


_KEYS = ("size", "reference", "zones")
_POLYGON_KEYS = ("name", "polygon", "reference", "enter_after", "exit_after", "fine", "camera")
_LINE_KEYS = ("name", "line", "reference", "right", "left", "camera")


def _zones(data: Any) -> Zones:
    if not isinstance(data, dict):
        raise _Malformed(f"found a JSON {type(data).__name__}, not an object")
    _known_fields(data, _KEYS)
    size = _size(data.get("size", [1, 1]))
    reference = _reference(data.get("reference", "bottom"))
    rows = data.get("zones")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _Malformed("'zones' is not a list of objects")
    if len(rows) > MAX_ZONES:
        raise _Malformed(f"'zones' holds {len(rows)}, more than {MAX_ZONES}")
    shapes = [_shape(row, size, reference) for row in rows]
    _check_names(shapes)
    return Zones(
        tuple(s for s in shapes if isinstance(s, Zone)),
        tuple(s for s in shapes if isinstance(s, Line)),
    )


def _check_names(shapes: list[Zone | Line]) -> None:
    cameras: dict[str, set[str]] = {}
    for shape in shapes:
        others = cameras.setdefault(shape.name, set())
        if others and (not shape.camera or "" in others or shape.camera in others):
            raise _Malformed(f"the name {shape.name!r} is given twice")
        others.add(shape.camera)


def _shape(row: dict[str, Any], size: Point, reference: str) -> Zone | Line:
    name = row.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        raise _Malformed(f"{_shown(name)} is not a name")
    if ("polygon" in row) == ("line" in row):
        raise _Malformed(f"{name!r} needs either a polygon or a line")
    reference = _reference(row.get("reference", reference))
    camera = row.get("camera", "")
    if not isinstance(camera, str) or len(camera) > 100:
        raise _Malformed(f"{name!r} is for the camera {_shown(camera)}, which is no name")
    if "polygon" in row:
        _known_fields(row, _POLYGON_KEYS)
        points = _points(row["polygon"], size, 3, name)
        after = (_seconds(row, "enter_after"), _seconds(row, "exit_after"))
        return Zone(name, points, reference, *after, fine=_fine(row), camera=camera)
    _known_fields(row, _LINE_KEYS)
    words = [row.get(side, side) for side in ("right", "left")]
    if not all(isinstance(w, str) and w for w in words) or words[0] == words[1]:
        raise _Malformed(f"{name!r} has the directions {_shown(words)}, not two different words")
    points = _points(row["line"], size, 2, name)
    return Line(name, points, reference, words[0], words[1], camera)


def _known_fields(row: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in row:
        if key not in keys:
            raise UnknownNameError("field", key, keys)


def _reference(value: Any) -> str:
    if value not in REFERENCES:
        raise UnknownNameError("reference point", _shown(value), REFERENCES)
    return str(value)


def _shown(value: Any) -> str:
    """A value for a message of one line, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # of thousands of digits
        return "a huge number"
    return text if len(text) < 80 else text[:77] + "..."


def _number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LARGEST  # also False for NaN


def _size(value: Any) -> Point:
    ok = isinstance(value, list) and len(value) == 2 and all(_number(v) and v > 0 for v in value)
    if not ok:
        raise _Malformed(f"'size' is {_shown(value)}, not [width, height]")
    return (float(value[0]), float(value[1]))


def _seconds(row: dict[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    if not _number(value) or value < 0:
        raise _Malformed(f"{key!r} is {_shown(value)}, not a number of seconds")
    return float(value)


def _fine(row: dict[str, Any]) -> tuple[str, ...]:
    value = row.get("fine", [])
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise _Malformed(f"'fine' is {_shown(value)}, not a list of gestures")
    return tuple(value)


def _points(value: Any, size: Point, least: int, name: str) -> tuple[Point, ...]:
    if not isinstance(value, list) or not least <= len(value) <= MAX_POINTS:
        raise _Malformed(f"{name!r} is not a list of at least {least} points")
    for p in value:
        if not isinstance(p, list) or len(p) != 2 or not all(map(_number, p)):
            raise _Malformed(f"{name!r} holds {_shown(p)}, not a point [x, y]")
        # a little outside is fine: a zone may be meant to reach over the edge
        if not all(-0.5 <= v / s <= 1.5 for v, s in zip(p, size, strict=True)):
            raise _Malformed(
                f"{name!r} holds {_shown(p)}, outside the picture; give pixels with "
                '"size": [width, height], or parts 0..1 of the picture without'
            )
    points = tuple((p[0] / size[0], p[1] / size[1]) for p in value)
    closed = (*points, points[0]) if least == 3 else points
    if any(a == b for a, b in pairwise(closed)):
        raise _Malformed(f"{name!r} has the same point twice in a row")
    return points
