"""`posenet --mqtt` with tracks: beside each result, who enters, leaves and crosses, and how many there are.

| topic | content |
|---|---|
| TOPIC/people | an event, as docs/events.md, without what is empty |
| TOPIC/state | retained, when it changes: {"people": 2, "zones": {"counter": 1}, "up": true} |
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgepose.events.detector import EventDetector
from edgepose.events.event import Event
from edgepose.events.zones import Zone, Zones
from edgepose.fleet.home_assistant import discovery
from edgepose.io.base import Output, Sink, Source
from edgepose.io.sinks.mqtt import MqttSink
from edgepose.types import Result

UP = {"connected": True, "back": True, "lost": False, "waiting": False, "ended": False}


def state_of(inside: Mapping[str, int], up: bool) -> dict[str, Any]:
    """What `TOPIC/state` says: people in view, people in each zone, and whether the camera delivers."""
    zones = {name: count for name, count in inside.items() if name}
    return {"people": inside.get("", 0), "zones": zones, "up": up}


class PeopleSink(Sink):
    """An MQTT sink that also tells events of people.

    Args:
        target: see `edgepose/io/sinks/mqtt.py`. zones: polygons and lines beside the whole picture.
        announce: have Home Assistant find it.

    Raises:
        BackendUnavailable, UsageError, OutputError: as the MQTT sink.
    """

    def __init__(self, target: str, zones: Zones | None = None, *, announce: bool = False) -> None:
        self._zones, self._announce = zones, announce
        self._detectors: dict[str, EventDetector] = {}
        self._up: dict[str, bool] = {}
        self._said: dict[str, Any] = {}
        self._live = False
        self._started = time.time()
        self._inner = MqttSink(target)

    def attach(self, source: Source, outputs: Sequence[Output]) -> None:
        """Learn whether frames are live: their events have the clock's time, those of films the film's."""
        self._live = source.live
        if self._announce:
            topic = self._inner.topic
            names = (
                [z.name for z in self._zones.zones if isinstance(z, Zone)] if self._zones else []
            )
            self._inner.announce(discovery(topic, f"{topic}/status", zones=names))

    def write(self, result: Result) -> None:
        """Publish one result, and what it means."""
        self._inner.write(result)
        if result.source not in self._detectors:
            self._detectors[result.source] = EventDetector(self._zones, source=result.source)
        detector = self._detectors[result.source]
        self._up[result.source] = True
        now = result.pts if result.pts is not None else float(result.frame)
        detector.epoch = self._started
        if self._live:
            now = time.monotonic()
            detector.epoch = time.time() - now
        self._tell(detector.update(result.poses, now, result.width, result.height, result.frame))

    def event(self, event: dict[str, Any]) -> None:
        """Pass a status event on; a camera that is away is not up."""
        self._inner.event(event)
        up = UP.get(str(event.get("event")))
        if up is not None and "source" in event:
            self._up[str(event["source"])] = up
            self._tell(())

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._inner.beside("people", event.sent())
        inside = {zone.name: 0 for zone in self._zones.zones} if self._zones else {}
        for detector in list(self._detectors.values()):
            for zone, tracks in detector.inside.items():
                inside[zone] = inside.get(zone, 0) + len(tracks)
        state = state_of(inside, all(self._up.values()) and bool(self._up))
        if state != self._said:
            self._said = state
            self._inner.beside("state", state)

    @property
    def counters(self) -> dict[str, int]:
        """Messages sent, waiting and dropped."""
        return self._inner.counters

    def close(self) -> None:
        """Everybody who is inside leaves; send what is queued."""
        self._up.clear()
        for detector in self._detectors.values():
            self._tell(detector.finish("end of stream"))
        self._tell(())
        self._inner.close()
