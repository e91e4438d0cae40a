"""Real peers on loopback for the tests of live inputs and outputs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
SMALL_RTSP = (sys.executable, HERE / "small_rtsp.py")


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, what: str = "it") -> Any:
    """The first true value of the condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def listens(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


@cache
def rtsp_program() -> tuple[str, Path]:
    """A Python and the RTSP server that it runs: GStreamer's where the system has it, else a small one of ours."""
    probe = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); "
        "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
        "assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
    )
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, timeout=60)
    except FileNotFoundError:
        return SMALL_RTSP
    return SMALL_RTSP if done.returncode else (SYSTEM_PYTHON, HERE / "rtsp_peer.py")


class RtspPeer:
    """An RTSP server on a port of its own; `kill` and `start` it as often as needed.

    Args:
        words: of rtsp_peer.py. program: a Python and the server, what the machine has where it is None.
    """

    def __init__(self, *words: str, program: tuple[str, Path] | None = None) -> None:
        self.port, self.words = free_port(), words
        self.program = program or rtsp_program()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> RtspPeer:
        python, script = self.program
        self.process = subprocess.Popen(
            [python, str(script), str(self.port), *self.words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def url(self, path: str, credentials: str = "") -> str:
        return f"rtsp://{credentials}127.0.0.1:{self.port}/{path}"


def make_film(
    path: str, frames: int = 20, rate: int = 10, preset: str = "ultrafast", **options: str
) -> str:
    """A film of the test figures, 160x120, H.264 (or MJPEG for .avi); the clock shows its times."""
    import av

    from edgepose.io.sources.testsrc import Painter, TestPattern

    painter = Painter(TestPattern(rate=rate, width=160, height=120))
    with av.open(path, "w", options=options) as out:
        stream = out.add_stream("libx264", rate=rate, options={"g": "5", "preset": preset})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for i in range(frames):
            picture = av.VideoFrame.from_ndarray(painter.paint(i, i / rate), "rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path
