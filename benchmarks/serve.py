"""Speed of `edgepose serve`: frames a second with one viewer, what more viewers cost, how soon the page is there.

    python benchmarks/serve.py [--seconds 15] [--viewers 20]

human-pose-estimation-0001 FP16-INT8 on OpenVINO over the film of the test material, not paced; then a camera of
30 frames/s with one viewer and with many: what these cost is the processor time of the thread that sends.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from common import machine, material, store

TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """`edgepose serve` on a free port."""

    def __init__(self, home: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgepose", "serve", "--port", "0", "--no-download", *words],
            env={**os.environ, "EDGEPOSE_HOME": str(home)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def cpu(self, loop: bool = False) -> float:
        """Seconds of processor time so far; `loop` = of the thread that sends to viewers alone."""
        pid = self.process.pid
        stat = Path(f"/proc/{pid}/task/{pid}/stat" if loop else f"/proc/{pid}/stat")
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def frames(self) -> int:
        """Frames inferred so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            return sum(
                int(line.rsplit(" ", 1)[1])
                for line in answer.read().decode().splitlines()
                if line.startswith("edgepose_frames_total")
            )

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(20)


class Viewer:
    """One who takes what comes, in a thread of its own, and counts the pictures."""

    def __init__(self, port: int, path: str) -> None:
        self.pictures = 0
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        rest = b""
        try:
            while data := self._socket.recv(1 << 18):
                text = rest + data
                self.pictures += text.count(b"Content-Length: ")
                rest = text[-15:]  # one character less than what is counted
        except OSError:
            return

    def close(self) -> None:
        """Go away."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def rates(server: Server, seconds: float, loop: bool = False) -> tuple[float, float]:
    """(frames a second, part of a core) over so many seconds."""
    frames, cpu, start = server.frames(), server.cpu(loop), time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - start
    return (server.frames() - frames) / span, (server.cpu(loop) - cpu) / span


def sequential(model: Path, film: Path, seconds: float) -> float:
    """Frames a second of decoding and estimating one after the other, nothing else: what the load allows."""
    from edgepose.engines import EngineOptions
    from edgepose.estimators import EstimatorOptions, make_estimator
    from edgepose.io.base import SourceOptions
    from edgepose.io.sources import open_source
    from edgepose.networks.resolve import resolve
    from edgepose.timing import Stopwatch

    network = resolve("human-pose-estimation-0001", model=model)
    estimator = make_estimator(network, EstimatorOptions(engine=EngineOptions("openvino")))
    frames, start = -5, 0.0
    with open_source(str(film), SourceOptions(loop=-1)) as source:
        for frame in source:
            estimator.estimate([frame], Stopwatch())
            frames += 1
            start = start or (time.monotonic() if frames == 0 else 0.0)
            if start and time.monotonic() - start > seconds:
                break
    estimator.close()
    return frames / (time.monotonic() - start)


def one_viewer(home: Path, shared: Path, seconds: float) -> dict[str, Any]:
    """Frames a second over a film that is not paced."""
    model = shared / "networks/human-pose-estimation-0001/FP16-INT8/human-pose-estimation-0001.xml"
    film = shared / "media/one-by-one-person-detection.mp4"
    before = sequential(model, film, seconds / 3)
    words = (
        "--network",
        "human-pose-estimation-0001",
        "--model",
        str(model),
        "--engine",
        "openvino",
    )
    server = Server(home, str(film), *words, "--no-pace", "--db", str(home / "events.db"))
    try:
        viewer = Viewer(server.port, "/camera_feed")
        time.sleep(3)
        runs = [rates(server, seconds / 3) for _ in range(3)]
        viewer.close()
    finally:
        server.end()
    best = max(runs)
    after = sequential(model, film, seconds / 3)
    return {
        "sequential_without_server": [round(before, 1), round(after, 1)],
        "frames_per_second": round(best[0], 1),
        "runs": [round(r[0], 1) for r in runs],
        "cores": round(best[1], 2),
        "processor_ms_per_frame": round(min(r[1] / r[0] for r in runs) * 1e3, 1),
    }


def more_viewers(home: Path, seconds: float, count: int) -> dict[str, Any]:
    """What each further viewer of a camera costs."""
    words = ("--network", "edgepose-lite-body", "--db", "none")
    server = Server(home, "test://people?rate=30&size=640x480", *words)
    try:
        viewers = [Viewer(server.port, "/camera_feed")]
        time.sleep(3)
        pairs, seen = [], []
        for _ in range(3):
            alone = rates(server, seconds / 3, True)
            more = [Viewer(server.port, "/camera_feed") for _ in range(count)]
            time.sleep(1)
            before = sum(v.pictures for v in more)
            together = rates(server, seconds / 3, True)
            seen.append((sum(v.pictures for v in more) - before) / (seconds / 3) / count)
            pairs.append((alone, together))
            for viewer in more:
                viewer.close()
            time.sleep(1)
        viewers[0].close()
    finally:
        server.end()
    # a busy machine lowers the rate of frames: the cost is given for 30 pictures/s
    costs = sorted(
        (t[1] - a[1] * t[0] / a[0]) / count / s * 30 * 100
        for (a, t), s in zip(pairs, seen, strict=True)
        if a[0] and s
    )
    return {
        "viewers": count,
        "percent_of_a_core_each": round(costs[len(costs) // 2], 2),
        "runs": [round(c, 2) for c in costs],
        "frames_per_second": [[round(a[0], 1), round(t[0], 1)] for a, t in pairs],
        "cores": [[round(a[1], 3), round(t[1], 3)] for a, t in pairs],
        "pictures_per_second_each": [round(s, 1) for s in seen],
    }


def page(home: Path) -> dict[str, Any] | str:
    """Milliseconds until the page can be used and until it shows a picture, in Chromium."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        return "selenium is not installed"
    if not chromium or not driver:
        return "chromium and chromedriver are not installed"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    ):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={home / 'profile'}")
    server = Server(home, "--network", "edgepose-lite-body", "--db", str(home / "page.db"))
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    usable, picture = [], []
    try:
        for _ in range(5):
            browser.get("about:blank")
            time.sleep(5)  # the channel ends: each time is a first view
            browser.get(f"http://127.0.0.1:{server.port}/")
            script = "return [performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart, document.getElementById('picture').naturalWidth, performance.now()]"
            while True:
                ready, width, now = browser.execute_script(script)
                if width:
                    break
            usable.append(ready)
            picture.append(now)
    finally:
        browser.quit()
        server.end()
    return {"usable_ms": sorted(usable), "first_picture_ms": sorted(map(round, picture))}


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--viewers", type=int, default=20)
    options = parser.parse_args()
    shared, conditions = material(), machine()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        figures = {
            "one_viewer": one_viewer(home, shared, options.seconds),
            "more_viewers": more_viewers(home, options.seconds, options.viewers),
            "page": page(home),
            "load_after": round(os.getloadavg()[0], 2),
            "priority": os.nice(0),
            "note": "other programs want both cores where the load is far above 2; a negative priority "
            "(nice) lets the benchmark run before them",
        }
    store("serve", figures, conditions)


if __name__ == "__main__":
    main()
