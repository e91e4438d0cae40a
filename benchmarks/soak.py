"""A long run under fire, with a verdict: sources die, outputs stall, viewers come and go.

usage: python benchmarks/soak.py [--hours 1] [--seed 0] [--network edgepose-lite-body | none]

A camera (a real RTSP server, killed at random about twice a minute) and a test source go through one
engine to an RTSP server, an MJPEG page, an HLS folder, an RTMP address where nobody listens, JSON
lines and metrics. Every ten seconds descriptors, threads, memory and progress are noted. The exit
code is 0 where the verdict is good: every death was recovered from, frames never paused for long,
and nothing grew.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import ROOT, machine, store

sys.path.insert(0, str(ROOT / "tests" / "io" / "live"))

from peers import RtspPeer, free_port, open_descriptors

from edgepose.batching import DynamicBatcher
from edgepose.io.base import SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.outputs.fanout import FanOut
from edgepose.io.sinks import open_sink
from edgepose.io.sources import open_source
from edgepose.types import Frame, Result

NOTE_SECONDS = 10.0
LONGEST_RECOVERY_S = 10.0
LONGEST_PAUSE_S = 5.0
MB_AN_HOUR = 20.0
WARM_UP = 0.2  # of the run: caches fill


class Soak:
    """The run; `events` and `notes` are what the verdict is made from."""

    def __init__(self, folder: Path, seed: int, network: str) -> None:
        self.random = random.Random(seed)
        self.peer = RtspPeer().start()
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.notes: list[dict[str, float]] = []
        self.kills = 0
        self.returned_at = 0.0
        self.recoveries: list[float] = []
        self.frames = 0
        self.longest_pause = 0.0
        self.stop = threading.Event()
        port = free_port()
        self.view = f"rtsp://127.0.0.1:{port}/soak"
        self.page = free_port()
        uris = [
            f"rtsp://@127.0.0.1:{port}/soak",
            f"http://@127.0.0.1:{self.page}/soak",
            f"hls://{folder}/hls",
            f"rtmp://127.0.0.1:{free_port()}/nobody/there",
        ]
        self.fan = FanOut([(u, open_output(u)) for u in uris], live=True, report=self.tell)
        self.sinks = [
            open_sink("json", str(folder / "soak.jsonl")),
            open_sink("metrics", f"127.0.0.1:{self.page}"),
        ]
        options = SourceOptions(on_event=self.tell)
        sources: list[Any] = [
            open_source(self.peer.url("live"), options),
            open_source("test://people?rate=15&size=320x240", options),
        ]
        self.group = DynamicBatcher(sources, deadline=0.02)
        self.estimate = _estimator(network)

    def tell(self, event: dict[str, Any]) -> None:
        """An event of a source or output."""
        self.events.append((time.monotonic(), event))
        if event["event"] == "back" and self.returned_at:
            self.recoveries.append(time.monotonic() - self.returned_at)

    def flow(self) -> None:
        """Sources to outputs and sinks."""
        last = time.monotonic()
        for batch in self.group.batches():
            for frame, poses in zip(batch, self.estimate(batch), strict=True):
                self.fan.write(frame)
                row = Result(frame.index, frame.width, frame.height, poses, name=frame.name)
                for sink in self.sinks:
                    sink.write(row)
                self.frames += 1
            now = time.monotonic()
            self.longest_pause = max(self.longest_pause, now - last)
            last = now

    def trouble(self) -> None:
        """Kill the camera's server at random and bring it back."""
        while not self.stop.wait(self.random.uniform(15, 45)):
            self.peer.kill()
            self.kills += 1
            self.stop.wait(self.random.uniform(0.2, 3.0))
            self.peer.start()
            self.returned_at = time.monotonic()

    def viewers(self) -> None:
        """Somebody looks for a while, leaves, and comes back."""
        while not self.stop.wait(self.random.uniform(1, 5)):
            uri = self.random.choice([self.view, f"http://127.0.0.1:{self.page}/soak"])
            try:
                with open_source(uri, SourceOptions(frames=self.random.randint(5, 100))) as view:
                    for _ in view:
                        if self.stop.is_set():
                            break
            except OSError as e:
                self.events.append((time.monotonic(), {"event": "viewer", "error": str(e)}))

    def note(self) -> None:
        """One line of the record."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.notes.append(
            {
                "seconds": round(time.monotonic() - self.started, 1),
                "frames": self.frames,
                "mb": round(pages * resource.getpagesize() / 1e6, 1),
                "descriptors": open_descriptors(),
                "threads": threading.active_count(),
                "kills": self.kills,
            }
        )
        print(json.dumps(self.notes[-1]), file=sys.stderr, flush=True)

    def run(self, seconds: float) -> dict[str, Any]:
        """The run and its verdict."""
        self.started = time.monotonic()
        threads = [threading.Thread(target=t) for t in (self.flow, self.trouble, self.viewers)]
        for thread in threads:
            thread.start()
        while time.monotonic() - self.started < seconds:
            time.sleep(min(NOTE_SECONDS, seconds))
            self.note()
        time.sleep(LONGEST_RECOVERY_S)  # the last death may still be mending
        self.stop.set()
        threads[1].join()
        self.group.close()
        for thread in threads:
            thread.join()
        outputs = self.fan.counts()
        self.fan.close()
        for sink in self.sinks:
            sink.close()
        self.peer.kill()
        return self.verdict(seconds, outputs)

    def verdict(self, seconds: float, outputs: dict[str, Any]) -> dict[str, Any]:
        """What was found, and whether it is good."""
        settled = [n for n in self.notes if n["seconds"] >= WARM_UP * seconds] or self.notes
        growth = slope([n["seconds"] for n in settled], [n["mb"] for n in settled]) * 3600
        lost = sum(e["event"] == "lost" for _, e in self.events)
        back = sum(e["event"] == "back" for _, e in self.events)
        # viewers hold descriptors and threads for a moment: compare the calmest moments
        half = len(settled) // 2 or 1
        fds = [
            min(n["descriptors"] for n in part)
            for part in (settled[:half], settled[half:] or settled)
        ]
        threads = [
            min(n["threads"] for n in part) for part in (settled[:half], settled[half:] or settled)
        ]
        judged = {
            "recovered_from_every_death": lost == back and lost >= self.kills,
            "recovered_in_time": max(self.recoveries, default=0.0) <= LONGEST_RECOVERY_S,
            "frames_never_paused": self.longest_pause <= LONGEST_PAUSE_S,
            "descriptors_flat": fds[1] <= fds[0],
            "threads_flat": threads[1] <= threads[0],
            # over minutes the slope is the allocator's noise
            "memory_flat": growth <= MB_AN_HOUR or seconds < 1800,
        }
        return {
            "hours": round(seconds / 3600, 3),
            "good": all(judged.values()),
            "judged": judged,
            "frames": self.frames,
            "deaths": self.kills,
            "recovery_s_max": round(max(self.recoveries, default=0.0), 2),
            "longest_pause_s": round(self.longest_pause, 2),
            "mb_an_hour": round(growth, 1),
            "mb_first_last": [settled[0]["mb"], settled[-1]["mb"]],
            "descriptors": fds,
            "threads": threads,
            "outputs": list(outputs.values()),
        }


def slope(x: list[float], y: list[float]) -> float:
    """Least squares."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    below = sum((a - mean_x) ** 2 for a in x)
    return (
        sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / below
        if below
        else 0.0
    )


def _estimator(network: str) -> Any:
    """Frames to poses; "none" finds nobody, at once."""
    if network == "none":
        return lambda frames: [() for _ in frames]
    from edgepose.estimators import EstimatorOptions, make_estimator
    from edgepose.networks.resolve import resolve
    from edgepose.timing import Stopwatch

    estimator = make_estimator(resolve(network), EstimatorOptions())

    def estimate(frames: list[Frame]) -> Any:
        return estimator.estimate(frames, Stopwatch())

    return estimate


def main() -> int:
    """Run and print the verdict; 0 where it is good."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", default="edgepose-lite-body")
    args = parser.parse_args()
    os.environ.setdefault("EDGEPOSE_VIDEO", "pyav")
    with tempfile.TemporaryDirectory() as folder:
        found = Soak(Path(folder), args.seed, args.network).run(args.hours * 3600)
    store("soak", found, machine())
    print("good" if found["good"] else "NOT GOOD", file=sys.stderr)
    return 0 if found["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
