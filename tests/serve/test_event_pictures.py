"""The pictures that are stored with events: who it was, and the zone or line that it was about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from served import wait_for

from edgepose.draw.overlay import track_color
from edgepose.events.event import Event
from edgepose.events.log import EventLog
from edgepose.events.snapshots import read
from edgepose.events.store import EventStore
from edgepose.events.zones import Line, Zone, Zones
from edgepose.serve.channel import Channel
from edgepose.serve.pictures import LINE_COLOR, ZONE_COLOR, of_event
from edgepose.types import Pixels

LEFT = Zone("left half", ((0.05, 0.05), (0.5, 0.05), (0.5, 0.95), (0.05, 0.95)))
DOOR = Line("door", ((0.75, 0.1), (0.75, 0.9)))
EVENT = Event("enter", 0.0, track=7, box=(40.0, 60.0, 120.0, 200.0))
NEAR = 60  # of 255: what JPEG and thin lines leave of a colour


def decoded(jpeg: bytes | None) -> Pixels:
    assert jpeg is not None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return picture


def is_like(pixel: Pixels, color: tuple[int, ...]) -> bool:
    return bool((abs(pixel.astype(int) - color[:3]) < NEAR).all())


@pytest.mark.parametrize("longest", [640, 320])
def test_it_shows_who_it_was_and_where(longest: int) -> None:
    black: Pixels = np.zeros((480, 640, 3), np.uint8)
    part = longest / 640
    for shape, at, color in (
        (LEFT, (320, 400), ZONE_COLOR),
        (DOOR, (480, 300), LINE_COLOR),
        (None, (), ()),
    ):
        seen = decoded(of_event(black, EVENT, shape, longest, 95))
        assert seen.shape == (480 * part, longest, 3)
        assert is_like(seen[round(130 * part), round(120 * part)], track_color(7))
        if shape is None:
            assert not seen[:, round(130 * part) :].any()  # beside the box there is nothing
        else:
            assert is_like(seen[round(at[1] * part), round(at[0] * part)], color)
    assert not black.any()


def test_an_event_of_nobody_is_the_bare_picture() -> None:
    grey: Pixels = np.full((48, 64, 3), 90, np.uint8)
    assert (
        abs(decoded(of_event(grey, Event("enter", 0.0), None, 64, 95)).astype(int) - 90).max() < 4
    )


def test_a_camera_stores_them(make: Callable[..., Channel], tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    store = EventStore(database)
    uri = "test://people?size=320x240&rate=15&people=1"
    all_of_it = Zone("hall", ((0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98)))
    channel = make(uri, store, snapshots=True, enter_after=0.1, zones=Zones((all_of_it,)))
    channel.always = True
    channel.look()
    wait_for(lambda: channel.inside.get("hall"), "somebody in the zone")
    channel.always = False
    wait_for(lambda: channel.state == "idle", "the end")
    store.close()
    with EventLog(database) as log:
        enters = {
            e.zone: decoded(read(database, e.snapshot)) for e in log.all() if e.event == "enter"
        }
    assert is_like(enters["hall"][120, round(0.98 * 320)], ZONE_COLOR)
    assert not is_like(enters[""][120, round(0.98 * 320)], ZONE_COLOR)
