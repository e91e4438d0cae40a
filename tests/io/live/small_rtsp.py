"""An RTSP server for machines without gst-rtsp-server: as much as the tests need of one.

usage: python small_rtsp.py PORT [--user NAME --password WORD] [--record FILE]

The paths of rtsp_peer.py: H.264 over TCP or UDP at /live and /switch (another size every second), sound alone at
/sound, and /push, which stores the pictures that come in FILE. Prints "ready".
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import av
import numpy as np

RATE = 15
REALM, NONCE = "tests", "0123456789abcdef"
REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 461: "Unsupported Transport"}
VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
SOUND = "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
ABOUT = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=Session of the tests\r\nt=0 0\r\na=control:*\r\n"
MEDIA = {name: f"{ABOUT}{kind}a=control:stream=0\r\n" for name, kind in (
    ("live", VIDEO), ("switch", VIDEO), ("sound", SOUND),
)}  # fmt: skip


# what is sent, and what comes -------------------------------------------------------------------
class Packets:
    """What a muxer of RTP writes into: each write is a packet, of RTCP where its type says so."""

    def __init__(self, send: Callable[[int, bytes], None]) -> None:
        self._send = send

    def write(self, data: bytes) -> int:
        self._send(int(200 <= data[1] <= 204), bytes(data))
        return len(data)


def pictures(sizes: list[tuple[int, int]]) -> Iterator[list[Any]]:
    """Packets of a white square that moves, each size for a second in turn."""
    for number in range(10**9):
        if number % RATE == 0:
            width, height = sizes[number // RATE % len(sizes)]
            if number == 0 or len(sizes) > 1:
                encoder: Any = av.CodecContext.create("libx264", "w")
                encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
                encoder.framerate, encoder.time_base = Fraction(RATE), Fraction(1, RATE)
                encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(RATE)}
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[40:80, number * 5 % width :][:, :40] = 255
        picture = av.VideoFrame.from_ndarray(pixels, "rgb24")
        picture.pts = number
        yield encoder.encode(picture)


def silence(stream: Any) -> Iterator[list[Any]]:
    for number in range(10**9):
        samples = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000 // RATE), np.int16), format="s16", layout="mono"
        )
        samples.sample_rate, samples.pts = 8000, number * (8000 // RATE)
        yield stream.encode(samples)


def play(name: str, send: Callable[[int, bytes], None]) -> None:
    """Send a path's media in real time until nobody takes it."""
    with suppress(OSError, ValueError):
        out: Any = av.open(Packets(send), "w", format="rtp", options={"packetsize": "1200"})  # type: ignore[call-overload]
        if name == "sound":
            stream = out.add_stream("pcm_alaw", rate=8000, layout="mono")
            packets = silence(stream)
        else:
            stream = out.add_stream("libx264", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            sizes = [(320, 240), (160, 120)] if name == "switch" else [(320, 240)]
            packets = pictures(sizes)
        start = time.monotonic()
        for number, some in enumerate(packets):
            for packet in some:
                packet.stream = stream
                out.mux_one(packet)
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


# the protocol -----------------------------------------------------------------------------------
class Server(ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True

    def __init__(self, port: int, user: str, password: str, record: str) -> None:
        super().__init__(("127.0.0.1", port), Connection)
        self.user, self.password = user, password
        self.record = open(record, "wb", buffering=0) if record else None  # noqa: SIM115

    def lets_in(self, method: str, authorization: str) -> bool:
        """Digest, as RFC 2069 has it."""
        if not self.user:
            return True
        given = dict(re.findall(r'(\w+)="([^"]*)"', authorization))

        def digest(*words: str) -> str:
            return hashlib.md5(":".join(words).encode()).hexdigest()

        who, what = digest(self.user, REALM, self.password), digest(method, given.get("uri", ""))
        return given.get("username") == self.user and given.get("response") == digest(
            who, NONCE, what
        )


class Connection(StreamRequestHandler):
    """A client: requests and packets that come, answers and packets that go."""

    server: Server

    def setup(self) -> None:
        super().setup()
        self._lock = threading.Lock()
        self._send: Callable[[int, bytes], None] = self._within
        self._sockets: list[socket.socket] = []

    def handle(self) -> None:
        with suppress(OSError):
            while head := self.rfile.read(1):
                if head == b"$":
                    channel, size = struct.unpack(">BH", self.rfile.read(3))
                    self._taken(channel, self.rfile.read(size))
                elif not self._answer((head + self.rfile.readline()).decode()):
                    break

    def finish(self) -> None:
        for one in self._sockets:
            one.close()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        super().finish()

    def _answer(self, request: str) -> bool:
        """Read the rest of a request and answer it; False at the last one."""
        method, url, _ = request.split()
        lines = iter(lambda: self.rfile.readline().decode().strip(), "")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        body = self.rfile.read(int(headers.get("content-length", 0))).decode()
        path = re.sub(r"^rtsp://[^/]*/?", "", url).split("/")[0]
        known = path in MEDIA or (path == "push" and self.server.record is not None)
        if not self.server.lets_in(method, headers.get("authorization", "")):
            asked = f'Digest realm="{REALM}", nonce="{NONCE}"'
            self._say(headers, 401, f"WWW-Authenticate: {asked}\r\n")
        elif method == "OPTIONS":
            self._say(headers, 200, "Public: DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, TEARDOWN\r\n")
        elif not known:
            self._say(headers, 404)
        elif method == "DESCRIBE":
            kind = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n"
            self._say(headers, 200, kind, MEDIA[path])
        elif method == "SETUP":
            self._say(headers, 200, f"Transport: {self._way(headers['transport'])}\r\n")
        else:
            self._say(headers, 200)
            if method == "PLAY":
                threading.Thread(target=play, args=(path, self._send), daemon=True).start()
            elif method == "ANNOUNCE":
                for sets in re.findall(r"sprop-parameter-sets=([\w+/=,]+)", body):
                    for unit in sets.split(","):
                        self._keep(base64.b64decode(unit))
        return method != "TEARDOWN"

    def _say(self, headers: dict[str, str], code: int, more: str = "", body: str = "") -> None:
        head = f"RTSP/1.0 {code} {REASONS[code]}\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n{more}"
        with self._lock:
            self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    def _way(self, asked: str) -> str:
        """How packets will go; the header that says so."""
        ports = re.search(r"client_port=(\d+)-(\d+)", asked)
        if ports is None:
            return asked
        self._sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
        for one, port in zip(self._sockets, ports.groups(), strict=True):
            one.bind(("127.0.0.1", 0))
            one.connect(("127.0.0.1", int(port)))
        self._send = lambda control, data: self._sockets[control].sendall(data)
        mine = "-".join(str(one.getsockname()[1]) for one in self._sockets)
        return f"{asked};server_port={mine}"

    def _within(self, control: int, data: bytes) -> None:
        with self._lock:
            self.connection.sendall(struct.pack(">cBH", b"$", control, len(data)) + data)

    def _taken(self, channel: int, data: bytes) -> None:
        if channel == 0:
            self._keep(data[12 + 4 * (data[0] & 15) :])

    def _keep(self, payload: bytes) -> None:
        if self.server.record is not None:
            self.server.record.write(b"".join(units(payload)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    for name in ("--user", "--password", "--record"):
        parser.add_argument(name, default="")
    with Server(**vars(parser.parse_args())) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
