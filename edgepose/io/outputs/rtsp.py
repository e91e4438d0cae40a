"""`rtsp://@:8554/path`: an RTSP server for many viewers; `rtsp://host/path` publishes to one.

The server is a child process: gst-rtsp-server (`rtsp_child.py`) where it is installed, else one in
plain Python (`rtsp_alone.py`). edgepose encodes once, and only while somebody watches. Several paths
may share a port.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from edgepose.errors import EdgeposeError, OutputError, UsageError
from edgepose.io import jetson_utils
from edgepose.io.base import Output, OutputOptions
from edgepose.io.outputs.jetson import open_jetson
from edgepose.io.outputs.live_encoder import LiveEncoder, Pacer
from edgepose.io.outputs.stream import push_rtsp
from edgepose.io.uri import Uri
from edgepose.types import Frame

RTSP_PORT = 8554
START_SECONDS = 15.0
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad"
)
_HEADER = struct.Struct("!cBI")


class Program(NamedTuple):
    """A server, started with host and port behind its command."""

    command: tuple[str, ...]
    codecs: tuple[str, ...]


ALONE = Program((sys.executable, "-m", "edgepose.io.outputs.rtsp_alone"), ("h264", "h265", "vp8"))

_servers: dict[tuple[str, int], RtspServer] = {}
_servers_lock = threading.Lock()


def listens(uri: Uri) -> bool:
    """`scheme://@...` and addresses of all interfaces mean: serve here."""
    return (
        "://@" in uri.text or uri.host in ("", "0.0.0.0", "::") or bool(uri.user and not uri.host)
    )


@lru_cache(maxsize=1)
def python_with_gstreamer() -> str:
    """A Python that has gst-rtsp-server: ours, else the system's; "" where neither has it."""
    probe = "import gi; gi.require_version('GstRtspServer','1.0'); from gi.repository import GstRtspServer"
    for python in dict.fromkeys((sys.executable, "/usr/bin/python3")):
        try:
            done = subprocess.run([python, "-c", probe], capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return python
    return ""


def program_here() -> Program:
    """gst-rtsp-server where it is installed."""
    python = python_with_gstreamer()
    child = str(Path(__file__).with_name("rtsp_child.py"))
    return Program((python, child), (*ALONE.codecs, "mjpeg")) if python else ALONE


class RtspServer:
    """The child process of one port.

    Raises:
        OutputError: the port is taken.
    """

    def __init__(self, host: str, port: int, program: Program) -> None:
        self.host, self.port, self._program = host or "0.0.0.0", port, program
        self.mounts: dict[int, RtspOutput] = {}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [*self._program.command, self.host, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._listener = threading.Thread(
            target=self._listen, args=(self._process,), name=f"rtsp {self.port}", daemon=True
        )
        self._ready, self._complaint = threading.Event(), ""
        self._listener.start()
        if not self._ready.wait(START_SECONDS) or self._complaint:
            self.stop()
            raise OutputError(
                f"The RTSP server on port {self.port} did not start: "
                f"{self._complaint or 'no answer'}. Choose another port."
            )

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            word, _, rest = raw.decode().strip().partition(" ")
            numbers = rest.split()
            if word == "error":
                self._complaint = rest
            elif word == "mounted" and int(numbers[0]) in self.mounts:
                self.mounts[int(numbers[0])].mounted.set()
            elif word == "watched" and int(numbers[0]) in self.mounts:
                self.mounts[int(numbers[0])].watched = numbers[1] == "1"
            elif word == "join" and int(numbers[0]) in self.mounts:
                self.mounts[int(numbers[0])].joined.set()
            if word in ("ready", "error"):
                self._ready.set()
        self._ready.set()

    def add(self, output: RtspOutput) -> int:
        """Mount an output; its number.

        Raises:
            UsageError: paths with and without a password on one port; viewers of the latter would
                be refused.
        """
        protected = {bool(o.setting["user"]) for o in (*self.mounts.values(), output)}
        if len(protected) == 2:
            raise UsageError(
                f"RTSP port {self.port}: either all its paths ask for a password or none. Serve the "
                "others on another port."
            )
        with self._lock:
            number = max(self.mounts, default=-1) + 1
            self.mounts[number] = output
        self._announce(number)
        return number

    def _announce(self, number: int) -> None:
        output = self.mounts[number]
        self.send(b"A", number, json.dumps(output.setting).encode())

    def send(self, kind: bytes, number: int, data: bytes) -> None:
        """One record to the child.

        Raises:
            OutputError: the child is gone; the next call starts another.
        """
        with self._lock:
            try:
                if self._process is None or self._process.poll() is not None:
                    raise BrokenPipeError
                assert self._process.stdin is not None
                self._process.stdin.write(_HEADER.pack(kind, number, len(data)) + data)
                self._process.stdin.flush()
                return
            except OSError:
                pass
        raise OutputError(f"The RTSP server on port {self.port} is gone.")

    def revive(self) -> None:
        """Start the child again after it died."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self.stop()
            self._start()
        for number in list(self.mounts):
            self.mounts[number].watched = False
            self._announce(number)

    def stop(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        try:
            process.stdin.close()  # tells it to end
        except OSError:
            process.kill()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join(1)
        assert process.stdout is not None
        process.stdout.close()


class RtspOutput(Output):
    """One path of an RTSP server.

    Attributes:
        watched: there are viewers; without any nothing is encoded.
    """

    drops = True

    def __init__(self, uri: Uri, options: OutputOptions, program: Program | None = None) -> None:
        self._options, self._shown = options, uri.display
        self._encoder = LiveEncoder(options, uri.display)
        program = program or program_here()
        if self._encoder.codec not in program.codecs:
            more = f" With gst-rtsp-server also mjpeg: apt-get install {PACKAGES}"
            raise UsageError(
                f"{uri.display}: RTSP serves {', '.join(program.codecs)}, not "
                f"{self._encoder.codec}.{more if program is ALONE else ''}"
            )
        self.watched, self.joined = False, threading.Event()
        self.mounted = threading.Event()
        self._pacer = Pacer()
        self.setting = {
            "path": uri.path or "/",
            "codec": self._encoder.codec,
            "user": uri.user,
            "password": uri.password,
        }
        self._key = (uri.host, uri.port or RTSP_PORT)
        self._server: RtspServer | None = _server(self._key, program)
        try:
            self._number = self._server.add(self)
        except BaseException:
            self._server = None
            raise
        self.mounted.wait(START_SECONDS)

    def write(self, frame: Frame) -> None:
        """Encode and hand over one frame where somebody watches.

        Raises:
            OutputError: the server died (it is started again), or no encoder works.
        """
        seconds = self._pacer.at(frame)
        if self._server is None or not self.watched:
            self._look_after_server()
            return
        key = self.joined.is_set()
        self.joined.clear()
        try:
            for packet in self._encoder.encode(frame, seconds, key):
                self._server.send(b"F", self._number, bytes(packet))
        except EdgeposeError:
            raise
        except (OSError, ValueError) as e:
            self._encoder = LiveEncoder(self._options, self._shown)
            raise OutputError(f"{self._shown}: encoding failed: {e}.") from None

    def _look_after_server(self) -> None:
        if self._server is not None:
            self._server.revive()

    def close(self) -> None:
        """Take the path away; the last one of a port ends its server."""
        server, self._server = self._server, None
        if server is None:
            return
        with _servers_lock:
            server.mounts.pop(self._number, None)
            if not server.mounts:
                _servers.pop(self._key, None)
                server.stop()


def _server(key: tuple[str, int], program: Program) -> RtspServer:
    with _servers_lock:
        if key not in _servers:
            _servers[key] = RtspServer(*key, program)
        return _servers[key]


def open_rtsp(uri: Uri, options: OutputOptions) -> Output:
    """Serve `rtsp://@:port/path`, or publish to another server.

    Raises:
        OutputError: the port is taken. UsageError: the codec.
    """
    utils = jetson_utils.insisted()
    if utils is not None and listens(uri):
        return open_jetson(utils, uri, options)
    return RtspOutput(uri, options) if listens(uri) else push_rtsp(uri, options)
