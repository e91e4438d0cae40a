"""Simulated devices of a fleet for benchmarks/fleet.py: connections of one asyncio loop.

They speak as much MQTT as they need, and keep every event until it is acknowledged, as `edgepose serve --fleet` does
with its database.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import time
import uuid
from dataclasses import replace
from typing import Any

from edgepose.collect.line import CONNECT, PUBLISH, QOS, SUBACK, SUBSCRIBE, Packets, packet, text
from edgepose.events.event import Event, iso_time
from edgepose.fleet.messages import ACK, EVENTS, STATE, Batch, dump, dump_batch, fitting, topic_of

RESEND, IN_FLIGHT, KEEPALIVE = 8.0, 4, 120
OFFLINE = '{"v":1,"state":"offline"}'
HAPPENS = Event("enter", 0.0, 1, frame=1, box=(1.5, 2.5, 300.0, 400.5), source="cam")


class Device(asyncio.Protocol):
    """One connection, and the events that are not acknowledged.

    Attributes:
        made, done: events. latencies: seconds from an event to its acknowledgement. resent: batches.
        connects: how often it has connected. up: it is heard.
    """

    def __init__(self, number: int, port: int, gate: asyncio.Semaphore) -> None:
        self.name, self.run, self._port = f"sim-{number:05}", uuid.uuid4().hex, port
        self.made = self.done = self.resent = self.connects = 0
        self.events: dict[int, tuple[Event, float]] = {}
        self.flying: dict[int, tuple[Batch, float]] = {}
        self.latencies: list[float] = []
        self.up = False
        self._gate, self._packets = gate, Packets()
        self._upto, self._number, self._mid = 0, int(time.time() * 1000), 0
        self._transport: Any = None

    # the connection -----------------------------------------------------------------------------------
    async def live(self) -> None:
        """Connect, and come back after 1 to 3 s where the broker is away."""
        while True:
            if self._transport is None:
                try:
                    async with self._gate:
                        loop = asyncio.get_running_loop()
                        await loop.create_connection(lambda: self, "127.0.0.1", self._port)
                except OSError:
                    pass
            await asyncio.sleep(random.uniform(1, 3))

    def connection_made(self, transport: Any) -> None:
        """Say who we are, and subscribe."""
        self._transport, self._packets = transport, Packets()
        self.connects += 1
        will = text(topic_of(self.name, STATE)) + text(OFFLINE)
        head = text("MQTT") + bytes([4, 0x2E]) + struct.pack(">H", KEEPALIVE)
        transport.write(packet(CONNECT, head + text(self.name) + will))
        transport.write(packet(SUBSCRIBE, b"\0\1" + text(topic_of(self.name, ACK)) + b"\1"))

    def connection_lost(self, error: Exception | None) -> None:
        """`live` comes back."""
        self._transport, self.up = None, False

    def data_received(self, data: bytes) -> None:
        """Hear acknowledgements."""
        for first, body in self._packets.feed(data):
            if first >> 4 == SUBACK:
                self.up = True
                self.flying = {n: (b, 0.0) for n, (b, _) in self.flying.items()}
                self.send()
            elif first >> 4 == PUBLISH:
                size = 2 + struct.unpack(">H", body[:2])[0]
                if first & QOS:
                    self._transport.write(b"\x40\2" + body[size : size + 2])
                self._acknowledged(body[size + (2 if first & QOS else 0) :])

    # events -------------------------------------------------------------------------------------------
    def make(self) -> None:
        """Something happens in front of the camera."""
        self.made += 1
        event = replace(HAPPENS, time=time.time(), id=self.made)
        self.events[self.made] = (event, time.monotonic())
        self.send()

    def send(self) -> None:
        """What is due: new batches while there is room, old ones again after 8 s."""
        if not self.up:
            return
        now = time.monotonic()
        for number, (batch, sent) in list(self.flying.items()):
            if now - sent > RESEND:
                self.resent += 1
                self._publish(number, batch)
        while len(self.flying) < IN_FLIGHT and self._upto < self.made:
            waiting = [self.events[n][0] for n in range(self._upto + 1, self.made + 1)[:200]]
            events = tuple(waiting[: len(fitting(waiting))])
            self._number += 1
            last = events[-1].id or 0
            self._publish(self._number, Batch(self.run, self._number, self._upto + 1, last, events))
            self._upto = last

    def _publish(self, number: int, batch: Batch) -> None:
        self.flying[number] = (batch, time.monotonic())
        self._put(EVENTS, dump_batch(batch, fitting(batch.events), iso_time(time.time())))

    def _put(self, what: str, payload: bytes, retain: int = 0) -> None:
        self._mid = self._mid % 65535 + 1
        body = text(topic_of(self.name, what)) + struct.pack(">H", self._mid) + payload
        self._transport.write(packet(0x32 | retain, body))

    def _acknowledged(self, payload: bytes) -> None:
        batch, _ = self.flying.pop(json.loads(payload)["batch"], (None, 0.0))
        if batch is None:
            return
        now = time.monotonic()
        self.latencies += [now - self.events.pop(e.id or 0)[1] for e in batch.events]
        self.done += len(batch.events)
        self.send()

    # states ---------------------------------------------------------------------------------------------
    def state(self) -> None:
        """Say how it is, and keep the connection."""
        if not self.up:
            return
        outbox = {"events": len(self.events), "delivered": self.done, "dropped": 0}
        told = {"v": 1, "state": "online", "run": self.run, "time": iso_time(time.time())}
        source = {"name": "cam", "up": True, "fps": 15.0}
        self._put(STATE, dump({**told, "outbox": outbox, "version": "0", "sources": [source]}), 1)
