"""What tests of a fleet share: devices with a real database, collectors, and processes that die on purpose."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from broker import Broker, wait_for

from edgepose.events.event import Event
from edgepose.events.store import EventStore
from edgepose.fleet.link import FleetLink, LinkPace

QUICK = LinkPace(resend=0.4, state=0.5, retry=0.2)
NOW = 1_790_000_000.0


def record(path: Path, count: int, first: int = 0) -> None:
    """Events with tracks first, first + 1, ..."""
    with EventStore(path) as store:
        session = store.begin("cam", NOW)
        store.record(
            session,
            [
                Event("enter", NOW + i, i, "zone é", frame=i, box=(1.5, 2.0, 3.0, 4.0))
                for i in range(first, first + count)
            ],
        )


def link(broker: Broker, path: Path, device: str = "cam-1", **more: object) -> FleetLink:
    """A device's link that does everything quickly."""
    target = f"mqtt://127.0.0.1:{broker.port}/?device={device}"
    return FleetLink(target, path, pace=QUICK, **more)  # type: ignore[arg-type]


# argv: broker's port, the store, and where the process kills itself (a step, and how often it is passed before)
COLLECTOR = """
import os, sys, time
from pathlib import Path
from edgepose.collect.receive import Receiver, ReceivePace
from edgepose.collect.store import TABLES
port, where, step, passes, group = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
if where.startswith("postgresql"):
    from edgepose.collect.store_postgres import PostgresStore as Base
else:
    from edgepose.collect.store_sqlite import SqliteStore as Base
count = 0
def die(here):
    global count
    count += here == step
    if here == step and count > passes:
        os.kill(os.getpid(), 9)
class Dying(Base):
    def write(self, arrivals):
        events = any(a.batch and a.batch.events for a in arrivals)
        return super().write(arrivals)
    def _end(self, *, keep):
        if keep and getattr(self, "ready", False): die("before commit")
        super()._end(keep=keep)
        if keep and getattr(self, "ready", False): die("before ack")
store = Dying(where if where.startswith("postgresql") else Path(where), write=True)
store.ready = True
receiver = Receiver(f"mqtt://127.0.0.1:{port}", store, group=group, pace=ReceivePace(gather=0.01, rows=50))
plain = receiver._line.publish
def publish(messages):
    plain(messages)
    while step == "after ack" and receiver._line.unsent:
        time.sleep(0.001)
    die("after ack")
receiver._line.publish = publish
print("ready", flush=True)
while True:
    time.sleep(1)
"""


class Collector:
    """A collector in a process of its own."""

    def __init__(
        self, port: int, store: object, step: str = "", passes: int = 0, group: str = ""
    ) -> None:
        words = [str(port), str(store), step, str(passes), group]
        self.process = subprocess.Popen(
            [sys.executable, "-c", COLLECTOR, *words], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def died(self, seconds: float = 30) -> None:
        """Wait until it has killed itself."""
        assert self.process.wait(seconds) == -signal.SIGKILL
        self._close()

    def kill(self) -> None:
        """End it without a word."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._close()

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


def drained(device: FleetLink, seconds: float = 30.0) -> None:
    """Wait until the collector has acknowledged everything."""
    end = time.monotonic() + seconds
    while device.waiting:
        assert time.monotonic() < end, f"{device.waiting} events still wait after {seconds:g} s"
        time.sleep(0.02)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EDGEPOSE_")}
    return {**kept, "EDGEPOSE_HOME": str(home), **more}


class Running:
    """`edgepose collect` in a process of its own."""

    def __init__(self, home: Path, *words: str, **more: str) -> None:
        command = [sys.executable, "-m", "edgepose", "collect", *words]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment(home, **more)
        )
        self.said: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.url = wait_for(self._address, "the page", 60)

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said += iter(self.process.stderr)

    def _address(self) -> str:
        assert self.process.poll() is None, "".join(self.said)
        return next(
            (m[1] for line in list(self.said) if (m := re.search(r"(https?://\S+)/", line))), ""
        )

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)
