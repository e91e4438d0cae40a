"""What recording an event costs the caller, and how long it takes to be on the disk.

    python benchmarks/events.py [--events 2000] [--folder DIR] [--json FILE]

Events are recorded one at a time, 2 ms apart, as from a busy camera; `--folder` chooses the disk.
"""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from edgepose.events.event import Event
from edgepose.events.store import EventStore


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile and worst, in milliseconds."""
    values = sorted(v * 1e3 for v in values)
    return {
        "median_ms": round(values[len(values) // 2], 4),
        "p99_ms": round(values[int(len(values) * 0.99)], 4),
        "worst_ms": round(values[-1], 4),
    }


def measure(path: Path, events: int) -> dict[str, dict[str, float]]:
    """Times of `record` calls, and from the call to the commit."""
    started: dict[int | None, float] = {}
    calls: list[float] = []
    commits: list[float] = []

    def committed(batch: tuple[Event, ...]) -> None:
        now = time.perf_counter()
        commits.extend(now - started[e.track] for e in batch)

    with EventStore(path, on_commit=committed) as store:
        session = store.begin("benchmark")
        store.flush()
        for track in range(events):
            event = Event("enter", time.time(), track, frame=track, box=(1.0, 2.0, 3.0, 4.0))
            start = started[track] = time.perf_counter()
            store.record(session, [event])
            calls.append(time.perf_counter() - start)
            time.sleep(0.002)
        store.flush()
    return {"record": quantiles(calls), "on the disk": quantiles(commits)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(Path(folder) / "events.db", options.events)
    for name, times in result.items():
        print(
            f"{name:12} median {times['median_ms']:.4f} ms  p99 {times['p99_ms']:.4f} ms  "
            f"worst {times['worst_ms']:.4f} ms"
        )
    if options.json:
        machine = {
            "processor": platform.machine(),
            "python": sys.version.split()[0],
            "sqlite": sqlite3.sqlite_version,
        }
        text = json.dumps(
            {"machine": machine, "events": options.events, "results": result}, indent=1
        )
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
