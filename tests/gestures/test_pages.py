"""The page of gestures names every rule; a real broker's subscribers hear what begins and ends, and the lamp listens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import Broker, Subscriber, wait_for

from edgepose.cli.main import run_words
from edgepose.gestures.builtin import BODY, HAND
from edgepose.io.sinks import open_sink
from edgepose.types import Gesture, Result
from tests.gestures.people import SIGNS, pose

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_names_every_rule() -> None:
    page = (ROOT / "docs" / "gestures.md").read_text()
    assert [rule.name for rule in (*BODY, *HAND) if f"`{rule.name}`" not in page] == []


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path).start()
    yield made
    made.kill()


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    made = Subscriber(broker.port)
    yield made
    made.close()


def test_a_subscriber_hears_each_begin_and_end(broker: Broker, subscriber: Subscriber) -> None:
    """Of people that a network finds in a film, from the command; at the end of the film all has ended."""
    url = broker.url("camera/door") + "?qos=1"
    words = ["--network", "movenet-multipose", "--gestures", "builtin", "--headless", "--mqtt", url]
    assert run_words(["posenet", "test://people?frames=45&rate=0", *words]) == 0
    wait_for(lambda: subscriber.texts("camera/door/status") == ["online", "offline"], "the goodbye")
    heard = [json.loads(text) for text in subscriber.texts("camera/door/gestures")]
    going: dict[tuple[int, str], float] = {}
    for row in heard:
        key, kind = (row["track"], row["gesture"]), row.pop("event")
        assert set(row) == {"gesture", "track", "score", "seconds", "source", "frame", "pts"}
        assert row["source"].startswith("test://people")
        assert kind == ("end" if key in going else "begin")
        if kind == "begin":
            going[key] = row["pts"] - row["seconds"]
        else:
            assert going.pop(key) <= row["pts"]
    assert "standing" in {row["gesture"] for row in heard}
    assert going == {}


def test_a_lamp_by_hand_sign(broker: Broker, subscriber: Subscriber) -> None:
    lamp = [str(ROOT / "examples" / "lamp.py"), "127.0.0.1", "camera", "lamp/set", str(broker.port)]
    switch = subprocess.Popen([sys.executable, *lamp], stdout=subprocess.PIPE, text=True)
    try:
        assert switch.stdout is not None
        assert "open hand" in switch.stdout.readline()
        hand = pose(SIGNS["fist"], "mediapipe_hand", track=1)
        with open_sink("mqtt", broker.url("camera") + "?qos=1") as sink:
            for frame, name in enumerate(("open_hand", "open_hand", "pinch", "fist")):
                one = hand.with_(gestures=(Gesture(name, 0.9, 0.4),))
                sink.write(Result(frame, 640, 480, (one,), source="cam"))
            wait_for(lambda: len(subscriber.texts("lamp/set")) == 2, "the lamp's switch")
    finally:
        switch.kill()
        switch.communicate()
    assert subscriber.texts("lamp/set") == ["ON", "OFF"]
