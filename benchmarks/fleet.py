"""A fleet on one machine: N simulated devices, a real mosquitto, the real collector; what is lost, and what an event costs.

usage: python benchmarks/fleet.py [--devices N] [--events N] [--rate N] [--kill] [--idle SECONDS] [--json FILE]

Devices are connections of one asyncio process, which speaks as much MQTT as they need and keeps every event until it is
acknowledged, as `edgepose serve --fleet` does with its database. With --kill collector and broker are killed with
SIGKILL a third and two thirds through, and are away for 3 s. Times are wall time, CPU is that of the collector.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgepose.collect.store_sqlite import SqliteStore
from edgepose.events.event import Event, iso_time
from edgepose.fleet.messages import ACK, EVENTS, STATE, Batch, dump, dump_batch, fitting, topic_of

RESEND, IN_FLIGHT, AWAY = 8.0, 4, 3.0
COLLECT = """
import sys
from edgepose.cli.main import run_words
sys.exit(run_words(["collect", sys.argv[1], "--store", sys.argv[2], "--listen", "none", "--log-level", "error"]))
"""


def text(word: str) -> bytes:
    """A word as MQTT writes it."""
    data = word.encode()
    return struct.pack(">H", len(data)) + data


def packet(kind: int, body: bytes) -> bytes:
    """A packet with its length."""
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (128 if size else 0)])
        if not size:
            return bytes([kind]) + length + body


class Device:
    """One connection, and the events that are not acknowledged."""

    def __init__(self, number: int, port: int) -> None:
        self.name, self.run, self._port = f"sim-{number:05}", uuid.uuid4().hex, port
        self.made = self.done = 0
        self.events: list[tuple[Event, float]] = []
        self.flying: dict[int, tuple[Batch, float]] = {}
        self.latencies: list[float] = []
        self.resent = self.connects = 0
        self._upto, self._number, self._mid = 0, int(time.time() * 1000), 0
        self._writer: asyncio.StreamWriter | None = None

    def make(self) -> None:
        """Something happens in front of the camera."""
        self.made += 1
        event = Event(
            "enter",
            time.time(),
            self.made,
            frame=self.made,
            box=(1.5, 2.5, 300.0, 400.5),
            source="cam",
        )
        self.events.append((Event(**{**event.__dict__, "id": self.made}), time.monotonic()))
        self.send()

    def send(self) -> None:
        """What is due: new batches while there is room, old ones again after 8 s."""
        if self._writer is None:
            return
        now = time.monotonic()
        for number, (batch, sent) in list(self.flying.items()):
            if now - sent > RESEND:
                self.resent += 1
                self._publish(number, batch)
        while len(self.flying) < IN_FLIGHT:
            waiting = [e for e, _ in self.events if (e.id or 0) > self._upto][:200]
            if not waiting:
                return
            texts = fitting(waiting)
            self._number += 1
            last = waiting[len(texts) - 1].id or 0
            self._publish(
                self._number,
                Batch(self.run, self._number, self._upto + 1, last, tuple(waiting[: len(texts)])),
            )
            self._upto = last

    def _publish(self, number: int, batch: Batch) -> None:
        self.flying[number] = (batch, time.monotonic())
        self.put(EVENTS, dump_batch(batch, fitting(batch.events), iso_time(time.time())))

    def put(self, what: str, payload: bytes, retain: int = 0) -> None:
        """Publish with qos 1."""
        self._mid = self._mid % 65535 + 1
        if self._writer is not None:
            body = text(topic_of(self.name, what)) + struct.pack(">H", self._mid) + payload
            self._writer.write(packet(0x32 | retain, body))

    def acknowledged(self, payload: bytes) -> None:
        """The collector has a batch."""
        batch, _ = self.flying.pop(json.loads(payload)["batch"], (None, 0.0))
        if batch is None:
            return
        now = time.monotonic()
        gone = {e.id for e in batch.events}
        self.latencies += [now - made for e, made in self.events if e.id in gone]
        self.events = [(e, made) for e, made in self.events if e.id not in gone]
        self.done += len(gone)
        self.send()

    async def live(self) -> None:
        """Connect, listen, and come back after 1 to 3 s where the broker is away."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._connected()
            self._writer = None
            await asyncio.sleep(random.uniform(1, 3))

    async def _connected(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            will = text(topic_of(self.name, STATE)) + text('{"v":1,"state":"offline"}')
            head = text("MQTT") + bytes([4, 0x2E]) + struct.pack(">H", 120)
            writer.write(packet(0x10, head + text(self.name) + will))
            writer.write(packet(0x82, b"\0\1" + text(topic_of(self.name, ACK)) + b"\1"))
            self.connects += 1
            while True:
                kind, body = await read_packet(reader)
                if kind >> 4 == 9:  # subscribed: now acknowledgements are heard
                    self._writer = writer
                    self.flying = {n: (b, 0.0) for n, (b, _) in self.flying.items()}
                    self.send()
                elif kind >> 4 == 3:
                    size = struct.unpack(">H", body[:2])[0]
                    if kind & 6:
                        writer.write(packet(0x40, body[2 + size : 4 + size]))
                    self.acknowledged(body[2 + size + (2 if kind & 6 else 0) :])
        finally:
            writer.close()

    def state(self) -> None:
        """Say how it is."""
        outbox = {"events": len(self.events), "delivered": self.done, "dropped": 0}
        told = {
            "v": 1,
            "state": "online",
            "run": self.run,
            "time": iso_time(time.time()),
            "outbox": outbox,
        }
        self.put(
            STATE,
            dump({**told, "version": "0", "sources": [{"name": "cam", "up": True, "fps": 15.0}]}),
            1,
        )

    def ping(self) -> None:
        """Keep the connection."""
        if self._writer is not None:
            self._writer.write(b"\xc0\0")


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(first byte, body)."""
    kind = (await reader.readexactly(1))[0]
    size = shift = 0
    while True:
        digit = (await reader.readexactly(1))[0]
        size |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return kind, await reader.readexactly(size) if size else b""


class Program:
    """A child that is killed and started again."""

    def __init__(self, *command: str) -> None:
        self.command, self.cpu, self.memory = command, 0.0, 0
        self.start()

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def look(self) -> None:
        """Count what it has used so far."""
        with suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
            self.now = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            self.memory = max(self.memory, int(status.partition("VmHWM:")[2].split()[0]))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        self.look()
        self.cpu += self.now
        self.process.send_signal(number)
        self.process.wait(20)


async def until(condition: Any, seconds: float) -> bool:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


async def heard(device: Device) -> None:
    """Wait until the collector listens: until it has acknowledged a first event."""
    device.make()
    while device.events:
        await asyncio.sleep(0.5)
        device.flying = {n: (b, 0.0) for n, (b, _) in device.flying.items()}
        device.send()
    device.latencies.clear()


async def steady(devices: list[Device], stop: asyncio.Event) -> None:
    """States every 30 s, spread, and resends."""
    turn = 0
    while not stop.is_set():
        for device in devices[turn % 30 :: 30]:
            device.state()
            device.ping()
        for device in devices:
            device.send()
        turn += 1
        await asyncio.sleep(1)


async def produce(devices: list[Device], events: int, rate: float) -> None:
    """Events of random devices at a rate."""
    start = time.monotonic()
    for n in range(events):
        random.choice(devices).make()
        wait = start + n / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)


async def measure(words: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_type error\nmax_queued_messages 20000\n"
    )
    broker = Program("/usr/sbin/mosquitto", "-c", str(config))
    await asyncio.sleep(1)
    store = folder / "fleet.db"
    collector = Program(sys.executable, "-c", COLLECT, f"mqtt://127.0.0.1:{port}", str(store))
    devices = [Device(n, port) for n in range(words.devices)]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(d.live()) for d in devices]
    assert await until(lambda: all(d._writer for d in devices), 120), (
        "not all devices are connected"
    )
    await heard(devices[0])
    collector.look()
    before = collector.now
    tasks.append(asyncio.create_task(steady(devices, stop)))
    start = time.monotonic()
    work = asyncio.create_task(produce(devices, words.events, words.rate))
    if words.kill:
        for program, part in ((collector, 1 / 3), (broker, 2 / 3)):
            await asyncio.sleep(
                max(0.0, start + part * words.events / words.rate - time.monotonic())
            )
            program.kill()
            await asyncio.sleep(AWAY)
            program.start()
    await work
    made = time.monotonic() - start
    whole = await until(lambda: all(not d.events for d in devices), 120)
    caught = time.monotonic() - start - made
    if words.idle:
        await asyncio.sleep(words.idle)
    stop.set()
    for task in tasks:
        task.cancel()
    held = sum(d._writer is not None for d in devices)
    collector.kill(signal.SIGTERM)
    broker.look()
    broker.kill()
    latencies = sorted(t for d in devices for t in d.latencies)
    with SqliteStore(store, write=False) as found:
        counts = found.counts()
        rows = found._rows("SELECT count(*), count(DISTINCT origin || ' ' || seq) FROM event")[0]
        size = store.stat().st_size
    missing = sum(d.made - counts.get((d.name, d.run), (0, 0))[0] for d in devices)
    return {
        "devices": words.devices,
        "events": words.events,
        "rate": words.rate,
        "killed": words.kill,
        "all_acknowledged": whole,
        "lost": missing,
        "duplicate_rows": rows[0] - rows[1],
        "sent_again": sum(d.resent for d in devices),
        "seconds_making": round(made, 1),
        "seconds_until_all_acknowledged": round(caught, 1),
        "p50_s": round(latencies[len(latencies) // 2], 3) if latencies else None,
        "p99_s": round(latencies[int(len(latencies) * 0.99)], 3) if latencies else None,
        "collector_cpu_us_an_event": round(
            1e6 * (collector.cpu - (0 if words.kill else before)) / max(1, words.events)
        ),
        "collector_cpu_s": round(collector.cpu, 2),
        "collector_memory_mb": round(collector.memory / 1000, 1),
        "broker_cpu_s": round(broker.cpu, 2),
        "broker_memory_mb": round(broker.memory / 1000, 1),
        "connected_at_the_end": held,
        "connections_made": sum(d.connects for d in devices),
        "store_bytes_an_event": round(size / max(1, words.events)),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument(
        "--idle", type=float, default=0.0, help="seconds with states only, at the end"
    )
    parser.add_argument("--json", default="")
    words = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(words, Path(folder)))
    print(json.dumps(found, indent=1))
    if words.json:
        path = Path(words.json)
        kept = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*kept, found], indent=1) + "\n")


if __name__ == "__main__":
    main()
