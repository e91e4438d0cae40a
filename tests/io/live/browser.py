"""A headless Chromium over its DevTools protocol, just enough to open a page and look at it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from peers import free_port, wait_for

NAMES = ("chromium", "chromium-browser", "google-chrome")

# the natural size of the picture and its pixels as a PNG, "" while there is none
GRAB = """(() => {
  const e = document.querySelector("video, img");
  const w = e.videoWidth || e.naturalWidth || 0, h = e.videoHeight || e.naturalHeight || 0;
  if (!w || (e.tagName === "VIDEO" && e.readyState < 2)) return "";
  const c = document.createElement("canvas");
  c.width = w; c.height = h;
  c.getContext("2d").drawImage(e, 0, 0);
  return c.toDataURL("image/png");
})()"""


def find() -> str:
    """The browser's path, "" where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


class Browser:
    """One page of a headless browser."""

    def __init__(self, profile: Path, *flags: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [
                find(),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--autoplay-policy=no-user-gesture-required",
                f"--remote-debugging-port={self.port}",
                f"--user-data-dir={profile}",
                *flags,
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        from websockets.sync.client import connect

        target = wait_for(self._target, 30, "the start of the browser")
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(connect(target, max_size=64 << 20))
        self._number = 0

    def _target(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/json", timeout=2) as answer:
                pages = [t for t in json.load(answer) if t["type"] == "page"]
        except OSError:
            return ""
        return str(pages[0]["webSocketDebuggerUrl"]) if pages else ""

    def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=20))
            if answer.get("id") == self._number:
                return answer.get("result")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def grab(self) -> np.ndarray[Any, Any] | None:
        """The picture of the page's <video> or <img>: uint8 RGB, None while there is none."""
        data = self.value(GRAB)
        if not data:
            return None
        png = np.frombuffer(base64.b64decode(data.partition(",")[2]), np.uint8)
        return np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR_RGB))

    def close(self) -> None:
        self._stack.close()
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        time.sleep(0.1)
