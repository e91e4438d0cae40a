"""Live streams, measured: reconnection, latency, the cost of our side of the video, batching.

usage: python benchmarks/streams.py [kills] [latency] [cpu] [batch]      (all by default)

kills: an RTSP server (tests/io/live/rtsp_peer.py) is killed 20 times; how long after its return the
first frame comes, while a second client watches our RTSP output; descriptors, threads and memory.
latency: what our queues add between arrival and hand-over, and glass to glass through RTSP.
cpu: 720p30 in (RTSP) and out (RTP), against the video library alone doing the same.
batch: 8 live sources through one engine, against the engine on ready batches of 8.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from common import ROOT, machine, store

sys.path.insert(0, str(ROOT / "tests" / "io" / "live"))

from peers import SYSTEM_PYTHON, RtspPeer, free_port, open_descriptors

from edgepose.io.base import SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.outputs.fanout import FanOut
from edgepose.io.sources import open_source
from edgepose.io.sources.capture import Captured
from edgepose.io.sources.live import LiveSource
from edgepose.io.sources.testsrc import Painter, TestPattern, latency

KILLS = 20
CPU_SECONDS = 20


def resident_mb() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# -- kills -------------------------------------------------------------------------------------------
def kills() -> dict[str, Any]:
    """Kill the server 20 times; times from its return to the next frame."""
    peer, port = RtspPeer().start(), free_port()
    events: list[dict[str, Any]] = []
    source: Any = open_source(peer.url("live"), SourceOptions(on_event=events.append))
    fan = FanOut([("rtsp", open_output(f"rtsp://@127.0.0.1:{port}/out"))], live=True)
    seen = threading.Event()

    def copy() -> None:
        for frame in source:
            fan.write(frame)
            seen.set()

    worker = threading.Thread(target=copy)
    worker.start()
    watcher: Any = open_source(f"rtsp://127.0.0.1:{port}/out", SourceOptions())
    watched = threading.Thread(target=lambda: [None for _ in watcher])
    watched.start()
    recovered, states = [], []
    for kill in range(KILLS):
        time.sleep(1.0)
        before = watcher.counters.read
        peer.kill()
        time.sleep(0.5 + kill % 4 * 0.5)
        peer.start()
        back, count = time.monotonic(), len(events)
        while not (len(events) > count and events[-1]["event"] == "back"):
            if time.monotonic() - back > 60:
                break
            time.sleep(0.005)
        recovered.append(round(time.monotonic() - back, 2))
        deadline = time.monotonic() + 10
        while watcher.counters.read <= before and time.monotonic() < deadline:
            time.sleep(0.01)
        states.append((open_descriptors(), threading.active_count(), round(resident_mb(), 1)))
        print(f"kill {kill + 1}: back after {recovered[-1]} s, (fds, threads, MB) {states[-1]}",
              file=sys.stderr)  # fmt: skip
    frames_watched = watcher.counters.read
    reconnects = source.counters.reconnects
    watcher_reconnects = watcher.counters.reconnects
    source.close()
    watcher.close()
    worker.join()
    watched.join()
    fan.close()
    peer.kill()
    return {
        "kills": KILLS,
        "recovered": reconnects,
        "within_5_s": sum(s <= 5 for s in recovered),
        "seconds_median": statistics.median(recovered),
        "seconds_max": max(recovered),
        "descriptors_threads_mb_after_5": states[4],
        "descriptors_threads_mb_after_20": states[-1],
        "second_client": {"frames": frames_watched, "reconnects": watcher_reconnects},
    }


# -- latency -----------------------------------------------------------------------------------------
def queueing() -> dict[str, Any]:
    """Milliseconds from a frame's arrival to an idle taker, and through the fan-out."""
    handed, written = [], []

    class Clocked:
        drops = True

        def write(self, frame: Any) -> None:
            written.append(time.monotonic() - stamps[frame.index])

        def close(self) -> None:
            pass

    stamps: dict[int, float] = {}
    options = SourceOptions(frames=300)
    with open_source("test://?rate=30&size=1280x720&people=0", options) as source:
        fan = FanOut([("x", Clocked())], live=True)  # type: ignore[list-item]
        for frame in source:
            now = time.monotonic()
            handed.append(now - (frame.captured or now))
            stamps[frame.index] = now
            fan.write(frame)
        fan.close()
    return {"arrival_to_taker_ms": spread(handed), "fan_out_ms": spread(written)}


def glass_to_glass() -> dict[str, Any]:
    """Milliseconds from the drawing of a frame to its pixels behind RTSP out and RTSP in."""
    port = free_port()
    code = f"""
import sys
from edgepose.io.outputs import open_output
from edgepose.io.outputs.fanout import FanOut
from edgepose.io.sources import open_source
fan = FanOut([("x", open_output("rtsp://@127.0.0.1:{port}/x"))], live=True)
print("ready", flush=True)
for frame in open_source("test://people?rate=30&size=1280x720&clock=wall"):
    fan.write(frame)
"""
    sender = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert sender.stdout is not None
    sender.stdout.readline()
    ages = []
    with open_source(f"rtsp://127.0.0.1:{port}/x", SourceOptions(frames=330)) as source:
        ages = [a for f in source if (a := latency(f.pixels)) is not None][30:]
    sender.kill()
    sender.communicate()
    return {"rtsp_720p30_ms": spread(ages)}


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    ordered = sorted(seconds)
    return {
        "median": round(1e3 * ordered[len(ordered) // 2], 2),
        "p95": round(1e3 * ordered[int(0.95 * (len(ordered) - 1))], 2),
    }


# -- cpu ---------------------------------------------------------------------------------------------
OURS = """
import sys, time
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.outputs.fanout import FanOut
from edgepose.io.sources import open_source
options = OutputOptions(bitrate=3_000_000, encoder="cpu")
with open_source(sys.argv[1]) as source:
    fan = FanOut([("x", open_output(sys.argv[2], options))], live=True)
    start, cpu, frames = time.monotonic(), time.process_time(), 0
    for frame in source:
        fan.write(frame)
        frames += 1
        if time.monotonic() - start > float(sys.argv[3]):
            break
    spent = time.process_time() - cpu
    fan.close()
    frames = fan.counts()["x"]["written"]
    print(spent / frames * 1e3, frames)
"""

ALONE = """
import sys, time
import av
from av.video.reformatter import VideoReformatter
source = av.open(sys.argv[1], options={"rtsp_transport": "tcp"})
target = av.open(sys.argv[2] + "?pkt_size=1200", "w", format="rtp")
stream = target.add_stream("libx264", rate=30)
stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 1280, 720, "yuv420p", 3_000_000
stream.gop_size = 30
stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
into, out = VideoReformatter(), VideoReformatter()
incoming = source.streams.video[0]
incoming.thread_type = "SLICE"
frames = 0
for frame in source.decode(incoming):
    if not frames:
        start, cpu = time.monotonic(), time.process_time()
    pixels = into.reformat(frame, format="rgb24").to_ndarray()
    picture = out.reformat(av.VideoFrame.from_ndarray(pixels, "rgb24"), format="yuv420p")
    picture.pts = frames
    target.mux(stream.encode(picture))
    frames += 1
    if time.monotonic() - start > float(sys.argv[3]):
        break
print((time.process_time() - cpu) / frames * 1e3, frames)
"""

SERVER = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
import sys
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1"); server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=1280,height=720,"
    "framerate=30/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=3000 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )")
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""


def cpu() -> dict[str, Any]:
    """CPU milliseconds a frame of 720p30 in and out: ours, the library alone, and the ratio."""
    port = free_port()
    server = subprocess.Popen(
        [SYSTEM_PYTHON, "-c", SERVER, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    server.stdout.readline()
    figures: dict[str, list[float]] = {"ours": [], "alone": []}
    try:
        for _ in range(3):  # in turns: the machine's load changes
            for name, code in (("alone", ALONE), ("ours", OURS)):
                words = [f"rtsp://127.0.0.1:{port}/live", f"rtp://127.0.0.1:{free_port()}"]
                done = subprocess.run(
                    [sys.executable, "-c", code, *words, str(CPU_SECONDS)],
                    capture_output=True, text=True, timeout=CPU_SECONDS + 60,
                )  # fmt: skip
                if done.returncode:
                    sys.exit(done.stderr)
                milliseconds, frames = done.stdout.split()
                figures[name].append(float(milliseconds))
                print(f"{name}: {milliseconds} ms a frame, {frames} frames", file=sys.stderr)
    finally:
        server.kill()
        server.communicate()
    ours, alone = (statistics.median(figures[n]) for n in ("ours", "alone"))
    return {
        "ours_ms_a_frame": round(ours, 2),
        "library_alone_ms_a_frame": round(alone, 2),
        "ratio": round(ours / alone, 3),
    }


# -- batch -------------------------------------------------------------------------------------------
class Ready:
    """A capture that repeats one picture as fast as a camera of 200 frames/s."""

    rate = 200.0

    def __init__(self, pixels: Any) -> None:
        self._pixels = pixels

    def read(self) -> Captured:
        time.sleep(1 / self.rate)
        return Captured(lambda: self._pixels)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


def batch(count: int = 8, rounds: int = 12, seconds: float = 2.0) -> dict[str, Any]:
    """Frames/s of 8 live sources through one estimator, against ready batches of 8, in turns.

    On a busy machine the clock tells little: CPU time a frame is compared, too.
    """
    from edgepose.batching import DynamicBatcher
    from edgepose.engines import EngineOptions
    from edgepose.estimators import EstimatorOptions, make_estimator
    from edgepose.networks.resolve import resolve
    from edgepose.timing import Stopwatch
    from edgepose.types import Frame

    network = resolve("edgepose-lite-body")
    options = EstimatorOptions(batch=count, engine=EngineOptions(engine="onnxruntime"))
    estimator = make_estimator(network, options)
    painter = Painter(TestPattern(width=640, height=480))
    pictures = [painter.paint(10 * i, i) for i in range(count)]
    frames = [Frame(p, i) for i, p in enumerate(pictures)]
    estimator.estimate(frames, Stopwatch())

    def timed(batches: Any) -> tuple[float, float, float]:
        """Frames/s, CPU milliseconds a frame, frames a batch."""
        sizes = []
        start, spent = time.monotonic(), time.process_time()
        for some in batches:
            estimator.estimate(some, Stopwatch())
            sizes.append(len(some))
            if time.monotonic() - start > seconds:
                break
        done = sum(sizes)
        milliseconds = (time.process_time() - spent) / done * 1e3
        return done / (time.monotonic() - start), milliseconds, done / len(sizes)

    def live() -> tuple[float, float, float]:
        sources: list[Any] = [
            LiveSource(lambda p=p: Ready(p), SourceOptions(), uri=f"x://{i}", name=str(i))  # type: ignore[misc]
            for i, p in enumerate(pictures)
        ]
        with DynamicBatcher(sources, deadline=0.005) as group:
            return timed(group.batches())

    ready_runs, live_runs = [], []
    for _ in range(rounds):
        ready_runs.append(timed(iter(lambda: frames, None)))
        live_runs.append(live())
        print(f"ready {ready_runs[-1]}, live {live_runs[-1]}", file=sys.stderr)
    estimator.close()
    ready_rate, ready_cpu, _ = (statistics.median(c) for c in zip(*ready_runs, strict=True))
    live_rate, live_cpu, fill = (statistics.median(c) for c in zip(*live_runs, strict=True))
    return {
        "sources": count,
        "ready_batches_per_s": round(ready_rate, 1),
        "live_per_s": round(live_rate, 1),
        "throughput_ratio": round(live_rate / ready_rate, 3),
        "ready_cpu_ms_a_frame": round(ready_cpu, 2),
        "live_cpu_ms_a_frame": round(live_cpu, 2),
        "cpu_ratio": round(ready_cpu / live_cpu, 3),
        "frames_a_batch": round(fill, 2),
    }


PARTS = {
    "kills": kills,
    "latency": lambda: queueing() | glass_to_glass(),
    "cpu": cpu,
    "batch": batch,
}


def main() -> None:
    """Run the parts that are named."""
    os.environ.setdefault("EDGEPOSE_VIDEO", "pyav")
    for name in sys.argv[1:] or list(PARTS):
        store(f"streams-{name}", PARTS[name](), machine())


if __name__ == "__main__":
    main()
