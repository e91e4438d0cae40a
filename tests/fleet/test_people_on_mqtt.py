"""People's events on MQTT: enter, exit, zones and lines, the state that is kept, and Home Assistant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broker import Broker, Subscriber, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.cli.main import run_words
from edgepose.events.zones import Zones, parse_zones
from edgepose.fleet.home_assistant import discovery
from edgepose.fleet.people import PeopleSink
from edgepose.io.base import Source
from edgepose.types import Pose, Result

HALF = {"name": "left half", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
DOOR = {"name": "door", "line": [[0.5, 1], [0.5, 0]], "right": "in", "left": "out"}


class Film(Source):
    live, name = False, "film"


@pytest.fixture
def zones() -> Zones:
    return parse_zones({"zones": [HALF, DOOR]})


@pytest.fixture
def seen(broker: Broker) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker.port)
    yield subscriber
    subscriber.close()


def walking(frame: int) -> Result:
    x = 10 + 6 * frame
    points = np.array([[x, 100, 0.9]], np.float32)
    pose = Pose(0, points, ("nose",), box=(x - 20, 80, x + 20, 200), track=1)
    return Result(frame, 640, 360, (pose,), pts=frame / 10, source="film.mp4", name="film")


def test_who_walks_through_is_told(broker: Broker, seen: Subscriber, zones: Zones) -> None:
    with PeopleSink(broker.url("walk") + "?qos=1", zones, announce=True) as sink:
        sink.attach(Film(), ())
        for frame in range(100):
            sink.write(walking(frame))
    wait_for(lambda: seen.texts("walk/status")[-1:] == ["offline"], "the end")
    told = [json.loads(text) for text in seen.texts("walk/people")]
    what = [(e["event"], e.get("zone", ""), e.get("direction", "")) for e in told]
    assert what == [
        ("enter", "", ""),
        ("enter", "left half", ""),
        ("cross", "door", "in"),
        ("exit", "left half", ""),
        ("exit", "", ""),
    ]
    assert (told[0]["track"], told[0]["source"], told[3]["dwell"]) == (1, "film.mp4", 5.1)
    assert not {"id", "session", "snapshot"} & set(told[0])
    states = [json.loads(text) for text in seen.texts("walk/state")]
    assert {"people": 1, "zones": {"left half": 1}, "up": True} in states
    assert states[-1] == {"people": 0, "zones": {"left half": 0}, "up": False}
    assert len(seen.texts("walk")) == 100
    late = Subscriber(broker.port)  # what is retained reaches who comes later
    wait_for(lambda: late.texts("walk/state"), "the retained state")
    assert not late.texts("walk/people")
    late.close()


def test_a_camera_that_is_lost_is_not_up(broker: Broker, seen: Subscriber) -> None:
    with PeopleSink(broker.url("lost")) as sink:
        sink.write(walking(0))
        sink.event({"event": "lost", "source": "film.mp4"})
        wait_for(lambda: len(seen.texts("lost/state")) == 2, "two states")
    assert [json.loads(t)["up"] for t in seen.texts("lost/state")[:2]] == [True, False]


# Home Assistant ------------------------------------------------------------------------------------
# The published format (home-assistant.io: integrations/mqtt, sensor.mqtt, binary_sensor.mqtt): what a
# message of each component may hold, without what we do not use.
DEVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["identifiers"],
    "properties": {
        "identifiers": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        **{k: {"type": "string"} for k in ("name", "manufacturer", "model", "sw_version")},
    },
}
ORIGIN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "sw_version": {"type": "string"}},
}
SHARED = {
    **{k: {"type": "string"} for k in ("name", "unique_id", "state_topic", "availability_topic")},
    "value_template": {"type": "string"},
    "icon": {"type": "string", "pattern": "^mdi:"},
    "entity_category": {"enum": ["config", "diagnostic"]},
    "device": DEVICE,
    "origin": ORIGIN,
}
OWN: dict[str, dict[str, Any]] = {
    "sensor": {"state_class": {"enum": ["measurement", "total", "total_increasing"]}},
    "binary_sensor": {
        "device_class": {"enum": ["connectivity", "occupancy", "motion", "presence"]}
    },
}
TOPIC = re.compile(r"homeassistant/(sensor|binary_sensor)/([a-zA-Z0-9_-]+)/config")


def check_published(messages: dict[str, dict[str, Any]]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    ids = set()
    for topic, message in messages.items():
        match = TOPIC.fullmatch(topic)
        assert match, topic
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": ["state_topic", "unique_id", "device", "origin"],
            "properties": {**SHARED, **OWN[match[1]]},
        }
        jsonschema.validate(message, schema)
        ids.add(message["unique_id"])
    assert len(ids) == len(messages)


def render(template: str, state: dict[str, Any]) -> str:
    sandbox = pytest.importorskip("jinja2.sandbox", reason="jinja2 is not installed")
    return str(sandbox.SandboxedEnvironment().from_string(template).render(value_json=state))


@given(
    st.text(min_size=1, max_size=20),
    st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=1, max_size=3),
)
@settings(max_examples=40)
def test_messages_are_as_published_whatever_the_names(topic: str, zones: list[str]) -> None:
    messages = discovery(topic, "x/status", zones=zones)
    check_published(messages)
    assert len(messages) == 2 + len(zones)
    state = {"zones": {**dict.fromkeys(zones, 0), zones[0]: 1}}  # only the first is occupied
    occupied = [m for m in messages.values() if m.get("device_class") == "occupancy"]
    assert [m["name"] for m in occupied] == zones
    shown = [render(m["value_template"], state) for m in occupied]
    assert shown == ["ON", *["OFF"] * (len(zones) - 1)]


def test_the_sensors_show_the_state() -> None:
    messages = discovery("hall/door", "hall/door/status", zones=["counter"])
    state = {"people": 2, "zones": {"counter": 1}, "up": False}
    shown = {m["name"]: render(m["value_template"], state) for m in messages.values()}
    assert shown == {"People": "2", "Camera": "OFF", "counter": "ON"}


def test_home_assistant_is_told_when_it_comes_later(broker: Broker, zones: Zones) -> None:
    with PeopleSink(broker.url("found/here"), zones, announce=True) as sink:
        sink.attach(Film(), ())
        late = Subscriber(broker.port)

        def announced() -> dict[str, Any]:  # the broker keeps those of other tests too
            told = [(t, p) for t, p, _ in list(late.messages) if t.startswith("homeassistant/")]
            found = {t: json.loads(p) for t, p in told}
            return {t: m for t, m in found.items() if m["state_topic"] == "found/here/state"}

        wait_for(lambda: len(announced()) >= 3, "it")
        mine = announced()
        late.close()
    check_published(mine)
    assert {m["name"] for m in mine.values()} == {"People", "Camera", "left half"}
    assert all(m["availability_topic"] == "found/here/status" for m in mine.values())


def test_posenet_tells_people(broker: Broker, seen: Subscriber, tmp_path: Path) -> None:
    served = pytest.importorskip("served", reason="httpx is not installed")
    film = served.make_film(tmp_path / "film.mp4")
    file = tmp_path / "zones.json"
    file.write_text(json.dumps({"zones": [HALF]}))
    words = ["posenet", str(film), "--network", "edgepose-lite-body", "--headless", "--quiet"]
    words += ["--mqtt", broker.url("hall") + "?qos=1", "--zones", str(file)]
    assert run_words(words) == 0
    wait_for(lambda: seen.texts("hall/status")[-1:] == ["offline"], "the end")
    kinds = [json.loads(text)["event"] for text in seen.texts("hall/people")]
    assert kinds.count("enter") == kinds.count("exit") > 0, kinds


def test_zones_without_mqtt_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_words(["posenet", "test://people", "--headless", "--mqtt-discovery"]) == 2
    assert "name that, too" in capsys.readouterr().err
