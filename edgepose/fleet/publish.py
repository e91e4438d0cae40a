"""`edgepose serve --mqtt`: people's events of each camera on a broker, its state, and Home Assistant's discovery.

| topic | content |
|---|---|
| TOPIC/CAMERA/people | an event, in order, from the recorded ones: after a restart it goes on where it stood |
| TOPIC/CAMERA/state | retained, when it changes: {"people": 2, "zones": {"counter": 1}, "up": true} |
| TOPIC/status | online or offline, retained |

The broker's acknowledgement moves the cursor: it is worth what is written in `edgepose/io/sinks/mqtt.py`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from edgepose.errors import OutputError
from edgepose.events.outbox import Outbox
from edgepose.fleet.delivery import Delivery
from edgepose.fleet.home_assistant import discovery
from edgepose.io.mqtt import (
    KEEPALIVE_SECONDS,
    broker_of,
    certificate_trouble,
    leave_word,
    make_client,
    number,
    publish_topic,
)
from edgepose.io.sinks.rows import to_json

log = logging.getLogger(__name__)
BATCH = 20  # events under way
LOOK = 0.25  # seconds between looks at the state
ANSWER = 30.0  # seconds for an acknowledgement
START = 5.0
States = Callable[[], Mapping[str, Mapping[str, Any]]]


class PeoplePublisher(Delivery):
    """Publishes; see the module's text.

    Args:
        target: `mqtt://user:password@host/TOPIC?ca=...&qos=1`
        database: the recorded events; None = only states are published.
        states: by camera its state.
        announce: have Home Assistant find the cameras and their zones.

    Raises:
        BackendUnavailable: no paho-mqtt. UsageError: the target. OutputError: the broker refuses us; one that is
            absent is waited for. StoreError: the events cannot be read.
    """

    def __init__(
        self,
        target: str,
        database: Path | None,
        states: States,
        *,
        announce: bool = False,
    ) -> None:
        broker = broker_of(target, ("qos",))
        self._topic, self._qos = publish_topic(broker, target), number(broker, "qos", 1, 0, 2)
        super().__init__(f"MQTT {broker.shown}")
        self._states, self._announce = states, announce
        self._found: dict[str, set[str]] = {}  # what Home Assistant was told of each camera
        self._connected = False
        self._refused, self._absent, self._started = "", False, False
        self._said: dict[str, Mapping[str, Any]] = {}
        where = f"mqtt {broker.host}:{broker.port}/{self._topic}"
        self._outbox = Outbox(database, where, from_start=False) if database else None
        try:
            self._client = make_client(broker)
            self._client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
            self._client.on_connect, self._client.on_disconnect = (
                self._on_connect,
                self._on_disconnect,
            )
            self._client.on_connect_fail = self._on_connect_fail
            self._client.connect_async(broker.host, broker.port, keepalive=KEEPALIVE_SECONDS)
            self._client.loop_start()
            self._wait_for_start()
        except BaseException:
            if self._outbox is not None:
                self._outbox.close()
            raise
        self._thread.start()

    def _wait_for_start(self) -> None:
        end = time.monotonic() + START
        while not (self._connected or self._refused or self._absent) and time.monotonic() < end:
            time.sleep(0.02)
        self._started = True
        if self._refused:
            self._client.disconnect()
            self._client.loop_stop()
            raise OutputError(f"{self.name}: {self._refused}.")
        if not self._connected:
            log.warning("%s: no broker answers; events wait.", self.name)

    # in paho's thread ------------------------------------------------------------------------------
    def _on_connect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refuse(f"the broker refuses us ({reason})")
            return
        client.publish(f"{self._topic}/status", "online", qos=1, retain=True)
        self._said.clear()  # a broker that has lost its memory is told again
        self._connected = True
        self._news.set()

    def _on_connect_fail(self, client: Any, _: Any) -> None:
        trouble = certificate_trouble(sys.exc_info()[1])
        if trouble:
            self._refuse(f"no secure connection ({trouble})")
        self._absent = True

    def _refuse(self, text: str) -> None:
        if self._started:
            self._trouble(f"{text}; events wait")
        self._refused = text

    def _on_disconnect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._connected and not self._stop.is_set():
            log.warning("%s: the broker is gone; events wait.", self.name)
        self._connected = False

    # in our own thread ------------------------------------------------------------------------------
    def _work(self) -> float:
        if self._connected:
            self._tell_states()
            if self._outbox is not None:
                self._send(self._outbox)
        return LOOK

    def _tell_states(self) -> None:
        for camera, state in self._states().items():
            if self._said.get(camera) == state:
                continue
            topic = f"{self._topic}/{camera}"
            said = self._said.get(camera)
            if self._announce and (said is None or said["zones"].keys() != state["zones"].keys()):
                self._announce_camera(topic, camera, state["zones"])
            self._said[camera] = state
            self._client.publish(f"{topic}/state", to_json(dict(state)), qos=1, retain=True)

    def _announce_camera(self, topic: str, camera: str, zones: Iterable[str]) -> None:
        """Tell Home Assistant what there is, and take back what there is no more."""
        found = discovery(topic, f"{self._topic}/status", camera, zones)
        for where, message in found.items():
            self._client.publish(where, to_json(message), qos=1, retain=True)
        for where in self._found.get(camera, set()) - found.keys():
            self._client.publish(where, "", qos=1, retain=True)
        self._found[camera] = set(found)

    def _send(self, outbox: Outbox) -> None:
        """Publish what waits, and move the cursor when the broker has it."""
        outbox.renew()
        outbox.touch()
        while not self._stop.is_set() and (events := outbox.after(outbox.upto, BATCH)):
            sent = [
                self._client.publish(
                    f"{self._topic}/{e.camera or 'camera'}/people",
                    to_json(e.sent()),
                    self._qos,
                )
                for e in events
            ]
            end = time.monotonic() + ANSWER
            while not all(s.is_published() for s in sent):
                # paho keeps what is under way and sends it when the broker is there again
                if self._stop.wait(0.01) or (not self._connected and time.monotonic() > end):
                    return
            outbox.confirm(events[-1].id or 0, len(events))

    def close(self) -> None:
        """Say goodbye; what waits is sent at the next start."""
        if self._stop.is_set():
            return
        super().close()
        if self._connected:
            leave_word(self._client, f"{self._topic}/status", "offline", 0.5)
        self._client.disconnect()
        self._client.loop_stop()
        if self._outbox is not None:
            self._outbox.close()
