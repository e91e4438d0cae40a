"""Zones by input: from a file, changed, and written back so that nothing of others is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgepose.errors import OutputError, UsageError
from edgepose.events.zones import load_zones
from edgepose.serve.zone_book import ZoneBook, ZonesHeld

HALF = {"name": "half", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
DOOR = {"name": "door", "line": [[0.2, 0.9], [0.8, 0.9]], "right": "in", "left": "out"}


def book(path: Path, cameras: list[str], rows: list[dict[str, Any]] | None = None) -> ZoneBook:
    if rows is not None:
        path.write_text(json.dumps({"zones": rows}))
    zones = load_zones(path, cameras=True) if path.exists() else None
    return ZoneBook(cameras, zones, path=path)


def rows(path: Path) -> Any:
    return json.loads(path.read_text())["zones"]


def test_one_camera_keeps_a_file_that_fits_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "zones.json"
    one = book(path, ["camera"])
    assert one.of("camera").shapes == ()
    one.change("camera", {"zones": [HALF, DOOR]})
    assert rows(path) == [HALF, DOOR]
    assert load_zones(path).shapes == one.of("camera").shapes
    one.change("camera", {"size": [200, 100], "zones": [{**DOOR, "line": [[0, 50], [100, 50]]}]})
    assert rows(path) == [{**DOOR, "line": [[0, 0.5], [0.5, 0.5]]}]


def test_what_is_shared_is_split_when_one_camera_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "zones.json"
    two = book(path, ["hall", "yard"], [HALF, {**DOOR, "camera": "cellar"}])
    assert two.of("hall") == two.of("yard") != two.of("cellar")
    assert two.of("example").shapes == ()
    two.change("yard", {"zones": [HALF, DOOR]})
    # DOOR may not be for all: the cellar, which is not served now, has one of that name
    assert rows(path) == [HALF, {**DOOR, "camera": "yard"}, {**DOOR, "camera": "cellar"}]
    two.change("hall", {"zones": []})
    two.change("example", {"zones": [HALF]})
    again = book(path, ["hall", "yard"])
    for name in ("hall", "yard", "cellar", "example"):
        assert again.of(name) == two.of(name)
    assert again.of("hall").shapes == ()
    assert again.inputs == ("hall", "yard", "cellar", "example")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "an object"),
        ([HALF], "an object"),
        ({"zones": [HALF], "colour": "red"}, "an object"),
        ({"zones": [HALF, HALF]}, "given twice"),
        ({"zones": [{**HALF, "polygon": [[0, 0], [1, 1]]}]}, "at least 3 points"),
        ({"zones": [{**HALF, "camera": "yard"}]}, "the zones of hall"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(tmp_path: Path, data: Any, message: str) -> None:
    path = tmp_path / "zones.json"
    two = book(path, ["hall", "yard"], [HALF])
    before = path.read_text()
    with pytest.raises(UsageError, match=message):
        two.change("hall", data)
    assert [s.name for s in two.of("hall").shapes] == ["half"]
    assert path.read_text() == before


def test_who_is_late_is_told(tmp_path: Path) -> None:
    one = book(tmp_path / "zones.json", ["camera"])
    seen = one.document("camera")["revision"]
    one.change("camera", {"zones": [HALF], "revision": seen})
    with pytest.raises(ZonesHeld, match="somebody else"):
        one.change("camera", {"zones": [], "revision": seen})
    one.change("camera", {"zones": [DOOR], "revision": one.document("camera")["revision"]})


def test_a_file_that_another_program_changed_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "zones.json"
    one = book(path, ["camera"], [HALF])
    path.write_text(json.dumps({"zones": [DOOR]}))
    with pytest.raises(ZonesHeld, match=r"zones\.json was changed"):
        one.change("camera", {"zones": []})
    assert rows(path) == [DOOR]
    assert [s.name for s in one.of("camera").shapes] == ["half"]


def test_what_cannot_be_written_is_not_taken(tmp_path: Path) -> None:
    one = ZoneBook(["camera"], path=tmp_path / "file" / "zones.json")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="cannot be written"):
        one.change("camera", {"zones": [HALF]})
    assert one.of("camera").shapes == ()


def test_zones_of_the_fleet_are_not_changed_here() -> None:
    held = ZoneBook(["camera"], held="They come from the fleet's settings.")
    assert held.document("camera")["held"]
    with pytest.raises(ZonesHeld, match="fleet"):
        held.change("camera", {"zones": []})
