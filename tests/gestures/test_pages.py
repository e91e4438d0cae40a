"""The page of gestures names every rule; the tutorial's lamp listens."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgepose.gestures.builtin import BODY, HAND
from edgepose.io.sinks import open_sink
from edgepose.types import Gesture, Result
from tests.gestures.people import SIGNS, pose

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_names_every_rule() -> None:
    page = (ROOT / "docs" / "gestures.md").read_text()
    assert [rule.name for rule in (*BODY, *HAND) if f"`{rule.name}`" not in page] == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_lamp_by_hand_sign(tmp_path: Path) -> None:
    paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed (extra mqtt)")
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    port, lamp, switched = free_port(), [], threading.Event()
    (tmp_path / "m.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = subprocess.Popen([program, "-c", str(tmp_path / "m.conf")], stderr=subprocess.DEVNULL)
    programs = [broker]
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        words = [
            sys.executable,
            str(ROOT / "examples" / "lamp.py"),
            "127.0.0.1",
            "camera",
            "lamp/set",
            str(port),
        ]
        switch = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        programs.append(switch)
        assert switch.stdout is not None
        assert "open hand" in switch.stdout.readline()

        def heard(client: Any, _: Any, message: Any) -> None:
            lamp.append(message.payload.decode())
            if len(lamp) == 2:
                switched.set()

        watcher = paho.Client(paho.CallbackAPIVersion.VERSION2)
        watcher.on_message, watcher.on_connect = heard, lambda c, *_: c.subscribe("lamp/set")
        watcher.connect("127.0.0.1", port)
        watcher.loop_start()
        hand = pose(SIGNS["fist"], "mediapipe_hand", track=1)
        with open_sink("mqtt", f"mqtt://127.0.0.1:{port}/camera?qos=1") as sink:
            for frame, name in enumerate(("open_hand", "open_hand", "pinch", "fist")):
                one = hand.with_(gestures=(Gesture(name, 0.9, 0.4),))
                sink.write(Result(frame, 640, 480, (one,), source="cam"))
            assert switched.wait(20)
        watcher.loop_stop()
    finally:
        for one in reversed(programs):
            one.kill()
            one.wait()
    assert lamp == ["ON", "OFF"]
