"""A real `edgepose serve` for the tests, and the few things they look at it with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

NETWORK = "edgepose-lite-body"
END = b"--frame\r\n"
SECRETS: dict[str, str] = {}  # more of the environment of a server


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """The first true value of the condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.02)
    return value


def make_film(path: Path, frames: int = 20, rate: int = 10) -> Path:
    """A film of the test figures, 320x240."""
    import av

    from edgepose.io.sources.testsrc import Painter, TestPattern

    painter = Painter(TestPattern(rate=rate, width=320, height=240))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(frames):
            picture = av.VideoFrame.from_ndarray(painter.paint(i, i / rate), "rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


class Served:
    """A server in a process of its own, on a free port of 127.0.0.1."""

    def __init__(self, home: Path, *words: str, token: str = "", network: str = NETWORK) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("EDGEPOSE_")}
        environment |= {"EDGEPOSE_HOME": str(home), "EDGEPOSE_CACHE": str(home / "cache")}
        environment |= SECRETS
        if token:
            environment["EDGEPOSE_TOKEN"] = token
        command = [sys.executable, "-m", "edgepose", "serve", "--port", "0", "--no-download"]
        command += ["--network", network] if network else []
        self.home = home
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [*command, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = str(wait_for(self._address, "the start of the server", 60)).rstrip("/")
            self.port = int(self.url.rpartition(":")[2].partition("/")[0])
        except BaseException:  # nobody else knows of it
            self.process.kill()
            raise
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=self.url, timeout=20, headers=headers, trust_env=False)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)

    def _address(self) -> str:
        assert self.process.poll() is None, "".join(self.said)
        return next((m[1] for x in self.said if (m := re.search(r"(http://\S+:\d+\S*)", x))), "")

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a path."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self, name: str) -> dict[str, Any]:
        """The status of a source, {} before anybody looked at it."""
        channels = self.get("/api/v1/stats")["channels"]
        return next((c for c in channels if c["source"] == name), {})

    def frames(self, name: str) -> int:
        """Frames inferred so far."""
        return int(self.state(name).get("frames", 0))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Stop the server with a signal; its exit code."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def pictures(client: httpx.Client, path: str, count: int) -> Iterator[bytes]:
    """The first JPEGs of a feed."""
    with client.stream("GET", path) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        rest = b""
        for data in answer.iter_bytes():
            rest += data
            while (found := _part(rest)) is not None:
                jpeg, rest = found
                yield jpeg
                count -= 1
                if not count:
                    return


def _part(data: bytes) -> tuple[bytes, bytes] | None:
    """(the first JPEG, what is behind it), None while it is not complete."""
    head, blank, body = data.removeprefix(END).partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    if not blank or length is None or len(body) < int(length[1]) + 2 + len(END):
        return None
    end = int(length[1])
    assert body[end : end + 2 + len(END)] == b"\r\n" + END
    return body[:end], body[end + 2 :]


def text(browser: Any, id: str) -> str:
    """What an element of the page says."""
    return str(browser.execute_script("return document.getElementById(arguments[0]).innerText", id))
