"""A fleet on one machine: simulated devices, a real mosquitto, the real collector; what is lost, and what an event costs.

usage: python benchmarks/fleet.py WHAT... [--devices N] [--events N] [--rate N] [--seconds S] [--film FILM] [--json FILE]

| WHAT | is | goal |
|---|---|---|
| steady | 1,000 devices, 2,000 events/s | p99 1 s; collector 150 us of CPU an event, 100 MB |
| kills | the same, collector and broker killed with SIGKILL, each away for 3 s | 0 lost, 0 twice |
| outage | the broker killed at the end, away for 3 s | all delivered after 15 s |
| idle | 10,000 connections, a state each every 30 s | holds for 5 minutes |
| offline | a real device's 2,000 events of a day | delivered in 10 s |
| device | a real `edgepose serve --fleet`, killed with SIGKILL ten times | 0 lost, 0 twice |
| poses | Parquet of a film (--film) | 80 bytes a pose |

Times are by the clock, so on a machine without other work; CPU is that of the collector.
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
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common import material
from fleet_devices import Device

from edgepose.collect.store_sqlite import SqliteStore
from edgepose.events.event import Event
from edgepose.events.store import EventStore
from edgepose.fleet.link import FleetLink
from edgepose.io.sinks.parquet import Grain, ParquetWriter, read_results

AWAY = 3.0
EDGEPOSE = (sys.executable, "-m", "edgepose")


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

    def look(self) -> float:
        """CPU seconds since this start; notes the most memory."""
        with suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            self.memory = max(self.memory, int(status.partition("VmHWM:")[2].split()[0]))
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        self.cpu += self.look()
        self.process.send_signal(number)
        self.process.wait(20)


class Centre:
    """A broker and a collector."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        config, self.store = folder / "mosquitto.conf", folder / "fleet.db"
        lines = (f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root")
        config.write_text("\n".join([*lines, "log_type error", "max_queued_messages 20000\n"]))
        self.broker = Program("/usr/sbin/mosquitto", "-c", str(config))
        time.sleep(1)
        words = ("--store", str(self.store), "--listen", "none", "--log-level", "error")
        self.collector = Program(*EDGEPOSE, "collect", f"mqtt://127.0.0.1:{self.port}", *words)

    def end(self) -> dict[str, Any]:
        """End both; what they used."""
        self.collector.kill(signal.SIGTERM)
        self.broker.kill()
        both = {"collector": self.collector, "broker": self.broker}
        cpu = {f"{name}_cpu_s": round(one.cpu, 2) for name, one in both.items()}
        return cpu | {
            f"{name}_memory_mb": round(one.memory / 1000, 1) for name, one in both.items()
        }


@contextmanager
def centre(folder: Path) -> Any:
    """One that is ended."""
    made = Centre(folder)
    try:
        yield made
    finally:
        for program in (made.collector, made.broker):
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait(20)


async def until(condition: Callable[[], Any], seconds: float) -> bool:
    """Wait for it; False where it did not come in time."""
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


async def live(devices: list[Device]) -> None:
    """States every 30 s, spread, and resends."""
    turn = 0
    while True:
        for device in devices[turn % 30 :: 30]:
            device.state()
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


async def kill(programs: Iterable[tuple[Program, float]]) -> None:
    """Kill programs, each so many seconds after the last one was back, and start them 3 s later."""
    for program, pause in programs:
        await asyncio.sleep(pause)
        program.kill()
        await asyncio.sleep(AWAY)
        program.start()


async def simulate(words: argparse.Namespace, at: Centre, killed: str = "") -> dict[str, Any]:
    """Devices that make events."""
    gate = asyncio.Semaphore(100)
    devices = [Device(n, at.port, gate) for n in range(words.devices)]
    tasks = [asyncio.create_task(d.live()) for d in devices]
    assert await until(lambda: all(d.up for d in devices), 300), "not all devices are connected"
    await heard(devices[0])
    before = at.collector.look()
    tasks.append(asyncio.create_task(live(devices)))
    start, seconds = time.monotonic(), words.events / words.rate
    plans = {
        "": (),
        "kills": ((at.collector, seconds / 3), (at.broker, max(1.0, seconds / 3 - AWAY))),
        "outage": ((at.broker, max(0.0, seconds - AWAY)),),
    }
    deaths = asyncio.create_task(kill(plans[killed]))
    await produce(devices, words.events, words.rate)
    await deaths
    made = time.monotonic() - start
    whole = await until(lambda: not any(d.events for d in devices), 180)
    caught = time.monotonic() - start - made
    cost = at.collector.cpu + at.collector.look() - (0 if killed else before)
    await asyncio.sleep(words.seconds)
    held = sum(d.up for d in devices)
    for task in tasks:
        task.cancel()
    used = at.end()
    late = sorted(t for d in devices for t in d.latencies)
    return {
        "devices": words.devices,
        "events": words.events,
        "rate": words.rate,
        "killed": killed,
        "all_acknowledged": whole,
        **stored(at.store, devices),
        "sent_again": sum(d.resent for d in devices),
        "seconds_making": round(made, 1),
        "seconds_until_all_acknowledged": round(caught, 1),
        "p50_s": round(late[len(late) // 2], 3) if late else None,
        "p99_s": round(late[int(len(late) * 0.99)], 3) if late else None,
        "collector_cpu_us_an_event": round(1e6 * cost / words.events) if words.events else None,
        **used,
        "connected_at_the_end": held,
        "connections_made": sum(d.connects for d in devices),
        "store_bytes_an_event": round(at.store.stat().st_size / words.events)
        if words.events
        else None,
    }


def stored(file: Path, devices: list[Device]) -> dict[str, int]:
    """What the store lacks, and what it has twice."""
    with SqliteStore(file, write=False) as found:
        counts = found.counts()
        rows = found._rows("SELECT count(*), count(DISTINCT origin || ' ' || seq) FROM event")[0]
    missing = sum(d.made - counts.get((d.name, d.run), (0, 0))[0] for d in devices)
    return {"lost": missing, "duplicate_rows": rows[0] - rows[1]}


def offline(at: Centre, folder: Path) -> dict[str, Any]:
    """A day's events that wait on a device, and how long they take."""
    database = folder / "events.db"
    with EventStore(database) as store:
        session = store.begin("cam")
        start = time.time() - 86400
        box = (1.5, 2.5, 300.0, 400.5)
        store.record(session, [Event("enter", start + 43.2 * n, n, box=box) for n in range(2000)])
    with FleetLink(f"mqtt://127.0.0.1:{at.port}/?device=first", folder / "other.db"):
        pass  # the collector has started when a device can speak
    time.sleep(3)
    begin = time.monotonic()
    with FleetLink(f"mqtt://127.0.0.1:{at.port}/?device=away", database) as device:
        while device.waiting:
            time.sleep(0.01)
        seconds = time.monotonic() - begin
    return {"events": 2000, "seconds_to_catch_up": round(seconds, 2), **at.end()}


def device_kills(at: Centre, folder: Path, kills: int = 10) -> dict[str, Any]:
    """A real device that is killed while it records and delivers."""
    film = folder / "film.mp4"
    _film(film)
    database, target = folder / "events.db", f"mqtt://127.0.0.1:{at.port}/?device=killed"
    words = ("serve", f"door={film}", "--always", "--no-pace", "--port", "0", "--db", str(database))
    more = ("--network", "edgepose-lite-body", "--enter-after", "0", "--exit-after", "0.2")
    device = Program(*EDGEPOSE, *words, *more, "--fleet", target)
    for _ in range(kills):
        before, end = _count(database), time.monotonic() + 120
        while _count(database) < before + 40 and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(random.uniform(0, 1))
        device.kill()
        device.start()
    device.kill(signal.SIGTERM)
    with FleetLink(target, database) as link:
        while link.waiting:
            time.sleep(0.05)
    at.end()
    with sqlite3.connect(database) as db:
        recorded = db.execute("SELECT id, event, track FROM event ORDER BY id").fetchall()
    with SqliteStore(at.store, write=False) as found:
        rows = found._rows("SELECT seq, event, track FROM event ORDER BY seq")
    lost = len(set(recorded) - set(rows))
    return {
        "kills": kills,
        "events": len(recorded),
        "lost": lost,
        "twice": len(rows) - len(set(rows)),
    }


def _count(database: Path) -> int:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM event").fetchone()[0])
    except sqlite3.Error:
        return 0


def _film(path: Path, frames: int = 6, rate: int = 10) -> None:
    """Walking figures: who is in it enters and leaves at each turn."""
    import av

    from edgepose.io.sources.testsrc import Painter, TestPattern

    painter = Painter(TestPattern(rate=rate, width=320, height=240))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(painter.paint(i, i / rate), "rgb24")))
        out.mux(stream.encode(None))


def poses(film: Path, folder: Path) -> dict[str, Any]:
    """Bytes of a pose on the disk, as `--fleet-poses` writes them."""
    lines, file = folder / "exact.parquet", folder / "poses.parquet"
    words = ("posenet", str(film), "--headless", "--network", "edgepose-lite-body", "--track")
    subprocess.run([*EDGEPOSE, *words, "--parquet", str(lines)], check=True)
    count = 0
    with ParquetWriter(file, Grain.SMALL) as writer:
        for result in read_results(lines):
            writer.write(result)
            count += len(result.poses)
    return {
        "film": film.name,
        "poses": count,
        "bytes_a_pose": round(file.stat().st_size / count, 1),
    }


def measure(what: str, words: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    if what == "poses":
        film = words.film or material() / "media" / "one-by-one-person-detection.mp4"
        return poses(film, folder)
    with centre(folder) as at:
        if what == "offline":
            return offline(at, folder)
        if what == "device":
            return device_kills(at, folder)
        usual = {"idle": (10_000, 0, 300.0), "outage": (1000, 20_000, 0.0)}
        devices, events, seconds = usual.get(what, (1000, 60_000, 0.0))
        words = argparse.Namespace(**vars(words))
        words.devices = words.devices or devices
        words.events = events if words.events is None else words.events
        words.seconds = words.seconds or seconds
        killed = what if what in ("kills", "outage") else ""
        return asyncio.run(simulate(words, at, killed))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("steady", "kills", "outage", "idle", "offline", "device", "poses")
    parser.add_argument("what", nargs="+", choices=kinds)
    parser.add_argument("--devices", type=int)
    parser.add_argument("--events", type=int)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=float, help="with states only, at the end")
    parser.add_argument("--film", type=Path)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for what in words.what:
        with tempfile.TemporaryDirectory() as folder:
            found = {"what": what, **measure(what, words, Path(folder))}
        print(json.dumps(found, indent=1), flush=True)
        if words.json:
            kept = json.loads(words.json.read_text()) if words.json.exists() else []
            kept = [row for row in kept if row.get("what") != what]
            words.json.write_text(json.dumps([*kept, found], indent=1) + "\n")


if __name__ == "__main__":
    main()
