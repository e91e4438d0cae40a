"""A real mosquitto for the tests (without one a small broker of our own), and who listens to it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

paho = pytest.importorskip("paho.mqtt.client", reason="the mqtt extra is not installed")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
SMALL = Path(__file__).with_name("small_broker.py")


def need_mosquitto() -> None:
    """Skip where there is none: what mosquitto alone does, or has to be set up for."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (Debian: apt-get install mosquitto)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """The first true value of the condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.01)
    return value


class Broker:
    """A broker on a port of its own, without persistence.

    Args:
        lines: of mosquitto's configuration; the small broker knows listener, TLS, passwords and rights.
        small: ours even where there is a mosquitto.
    """

    def __init__(self, folder: Path, *lines: str, small: bool = MOSQUITTO is None) -> None:
        self.port, self.process = free_port(), None
        self._program = [sys.executable, str(SMALL)] if small else [str(MOSQUITTO), "-c"]
        self.config = folder / "mosquitto.conf"
        listener = [f"listener {self.port} 127.0.0.1", *lines, "user root"]
        if "allow_anonymous false" not in lines:
            listener.append("allow_anonymous true")
        self.config.write_text("\n".join(listener))

    def start(self) -> Broker:
        self.process = subprocess.Popen(
            [*self._program, str(self.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: listens(self.port), what="the start of mosquitto")
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def url(self, topic: str, credentials: str = "") -> str:
        return f"mqtt://{credentials}127.0.0.1:{self.port}/{topic}"


class Subscriber:
    """Keeps all messages of a broker; connects again by itself."""

    def __init__(self, port: int, client_id: str = "") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.ready = threading.Event()
        self.client: Any = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id, clean_session=not client_id
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda c, *_: c.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda c, u, m: self.messages.append(
            (m.topic, m.payload, bool(m.retain))
        )
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def frames(self, topic: str = "cam/door") -> list[int]:
        return [json.loads(p)["frame"] for t, p, _ in list(self.messages) if t == topic]

    def texts(self, topic: str) -> list[str]:
        return [p.decode() for t, p, _ in list(self.messages) if t == topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
