"""An RTSP server for machines without gst-rtsp-server: edgepose's own, with what the tests need of one.

usage: python small_rtsp.py PORT [--user NAME --password WORD] [--record FILE]

The paths of rtsp_peer.py: H.264 over TCP or UDP at /live and /switch (another size every second), sound alone at
/sound, and /push, which stores the pictures that come in FILE. Prints "ready".
"""

from __future__ import annotations

import argparse
import base64
import re
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np

from edgepose.io.outputs.rtp import Payload, Units
from edgepose.io.outputs.rtsp_alone import Connection, Mount, Request, Server

RATE = 15


# what is sent, and what comes -------------------------------------------------------------------
class Sound(Payload):
    """A-law."""

    kind, clock = 8, 8000

    def split(self, data: bytes) -> tuple[list[bytes], bool]:
        return [data], True

    def description(self) -> str:
        return "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"


def silence() -> Iterator[bytes]:
    while True:
        yield b"\xd5" * (8000 // RATE)


def pictures(*sizes: tuple[int, int]) -> Iterator[bytes]:
    """A white square that moves, each size for a second in turn."""
    for number in range(10**9):
        if number % RATE == 0:
            width, height = sizes[number // RATE % len(sizes)]
            if number == 0 or len(sizes) > 1:
                encoder: Any = av.CodecContext.create("libx264", "w")
                encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
                encoder.framerate, encoder.time_base = Fraction(RATE), Fraction(1, RATE)
                encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[40:80, number * 5 % width :][:, :40] = 255
        picture = av.VideoFrame.from_ndarray(pixels, "rgb24")
        picture.pts = number
        yield from map(bytes, encoder.encode(picture))


class Always(Mount):
    """A path with something on it, from the first viewer on."""

    begun = False
    media: Iterator[bytes]

    def enter(self, viewer: Connection) -> None:
        super().enter(viewer)
        if not self.begun:
            self.begun = True
            threading.Thread(target=self._play, daemon=True).start()

    def _play(self) -> None:
        start = time.monotonic()
        for number, data in enumerate(self.media):
            self.push(data)
            time.sleep(max(0.0, start + number / RATE - time.monotonic()))


def units(payload: bytes) -> Iterator[bytes]:
    """H.264 as a file has it, of a packet's payload: whole units, several in one, parts of one."""
    begin, kind = b"\0\0\0\1", payload[0] & 31
    if kind == 24:
        rest = payload[1:]
        while rest:
            size = 2 + int.from_bytes(rest[:2], "big")
            yield begin + rest[2:size]
            rest = rest[size:]
    elif kind == 28:
        if payload[1] & 128:
            yield begin + bytes([payload[0] & 224 | payload[1] & 31])
        yield payload[2:]
    else:
        yield begin + payload


class Recording(Connection):
    """A viewer, or one who sends to /push."""

    file: BinaryIO | None = None

    def do(self, request: Request) -> None:
        if self.file is None or not request.path.startswith("/push"):
            super().do(request)
            return
        more = {"Session": self.session}
        if request.method == "SETUP":
            more["Transport"] = request.headers["transport"]
        self.say(request.headers, 200, more)
        for sets in re.findall(rb"sprop-parameter-sets=([\w+/=,]+)", request.body):
            for unit in sets.split(b","):
                self._keep(base64.b64decode(unit))

    def came(self, channel: int, data: bytes) -> None:
        if channel == 0:
            self._keep(data[12 + 4 * (data[0] & 15) :])

    def _keep(self, payload: bytes) -> None:
        if self.file is not None:
            self.file.write(b"".join(units(payload)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    for name in ("--user", "--password", "--record"):
        parser.add_argument(name, default="")
    args = parser.parse_args()
    if args.record:
        Recording.file = open(args.record, "wb", buffering=0)  # noqa: SIM115
    media: dict[str, tuple[Payload, Iterator[bytes]]] = {
        "/live": (Units(), pictures((320, 240))),
        "/switch": (Units(), pictures((320, 240), (160, 120))),
        "/sound": (Sound(), silence()),
    }
    with Server("127.0.0.1", args.port, Recording) as server:
        for number, (path, (payload, sent)) in enumerate(media.items()):
            mount = Always(number, path, payload, args.user, args.password)
            server.mounts[path], mount.media = mount, sent
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
