"""MJPEG and WebRTC pages: real clients, a real browser, slow viewers and wrong passwords."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import httpx
import numpy as np
import pytest
from peers import wait_for

from edgepose.errors import OutputError, UsageError
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.sources import open_source
from edgepose.io.sources.testsrc import latency, read_clock, write_clock
from edgepose.types import Frame
from tests.certificates import certify

try:
    import aiortc
except ImportError:
    aiortc = None

needs_aiortc = pytest.mark.skipif(aiortc is None, reason="the webrtc extra is not installed")


def frame(index: int, clock: float | None = None) -> Frame:
    pixels = np.full((120, 160, 3), 90, np.uint8)
    write_clock(pixels, time.time() if clock is None else clock)
    return Frame(pixels, index, captured=time.monotonic())


class Feeder(threading.Thread):
    """Writes frames with the time of day into outputs, 25 a second."""

    def __init__(self, *outputs: Any) -> None:
        super().__init__()
        self.outputs, self.stopped, self.count = outputs, threading.Event(), 0
        self.start()

    def run(self) -> None:
        while not self.stopped.wait(0.04):
            for output in self.outputs:
                output.write(frame(self.count))
            self.count += 1

    def stop(self) -> None:
        self.stopped.set()
        self.join()
        for output in self.outputs:
            output.close()


@pytest.fixture
def mjpeg() -> Iterator[tuple[Feeder, str]]:
    """A fed MJPEG output and its address."""
    output = open_output("http://@127.0.0.1:0/cam")
    feeder = Feeder(output)
    yield feeder, f"http://127.0.0.1:{output.port}/cam"  # type: ignore[attr-defined]
    feeder.stop()


def get(url: str, **headers: str) -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers["Content-Type"], e.read()


def test_our_own_source_reads_it(mjpeg: tuple[Feeder, str]) -> None:
    with open_source(mjpeg[1], SourceOptions(frames=5)) as source:
        assert source.live
        ages = [latency(f.pixels) for f in source]
    assert all(a is not None and 0 <= a < 5 for a in ages)


def test_the_page_and_one_picture(mjpeg: tuple[Feeder, str]) -> None:
    import cv2

    _, url = mjpeg
    status, kind, body = get(url, Accept="text/html,*/*")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b'src="/cam?stream"' in body
    status, kind, jpeg = wait_for(lambda: (a := get(url + "?picture"))[0] == 200 and a)
    assert kind == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert read_clock(picture) is not None
    front = get(url.rpartition("/")[0] + "/")
    assert b'href="/cam"' in front[2]
    assert get(url + "/nothing")[0] == 404


def test_who_asks_for_the_head_of_a_stream_watches_nothing(mjpeg: tuple[Feeder, str]) -> None:
    answer = httpx.head(mjpeg[1], timeout=20, trust_env=False)
    assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
    assert answer.content == b""
    assert httpx.post(mjpeg[1], timeout=20, trust_env=False).headers["Allow"] == "GET, HEAD"


def test_many_viewers_one_encoding_and_none_without_viewers(
    mjpeg: tuple[Feeder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feeder, url = mjpeg
    output = feeder.outputs[0]
    encoded = 0
    encode = output._encode

    def counting(f: Frame) -> bytes:
        nonlocal encoded
        encoded += 1
        return encode(f)

    monkeypatch.setattr(output, "_encode", counting)
    wait_for(lambda: feeder.count > 5)
    assert encoded == 0
    viewers = [open_source(url) for _ in range(3)]
    start, before = feeder.count, encoded
    for viewer in viewers:
        iterator = iter(viewer)
        for _ in range(5):
            next(iterator)
    assert encoded - before <= feeder.count - start + 2
    for viewer in viewers:
        viewer.close()
    wait_for(lambda: output._watchers == 0)


def test_a_viewer_that_takes_nothing_holds_nobody(mjpeg: tuple[Feeder, str]) -> None:
    feeder, url = mjpeg
    port = int(url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(b"GET /cam?stream HTTP/1.1\r\nHost: x\r\n\r\n")
        count = feeder.count
        with open_source(url, SourceOptions(frames=10)) as source:
            ages = [latency(f.pixels) for f in source]
        assert feeder.count > count
        assert all(a is not None and a < 5 for a in ages)


def test_a_password() -> None:
    output = open_output("http://me:hunter2@:0/cam")
    output.write(frame(0, 5.0))
    url = f"http://127.0.0.1:{output.port}/cam?picture"  # type: ignore[attr-defined]
    assert get(url)[0] == 401
    import base64

    right = base64.b64encode(b"me:hunter2").decode()
    assert get(url, Authorization=f"Basic {right}")[0] == 200
    wrong = base64.b64encode(b"me:hunter3").decode()
    assert get(url, Authorization=f"Basic {wrong}")[0] == 401
    output.close()


def test_ports_and_paths_that_are_taken(nothing_left: None) -> None:
    first = open_output("http://@127.0.0.1:0/a")
    port = first.port  # type: ignore[attr-defined]
    second = open_output(f"http://@127.0.0.1:{port}/b")
    with pytest.raises(OutputError, match="served already"):
        open_output(f"http://@127.0.0.1:{port}/a")
    first.close()
    second.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OutputError, match="cannot be opened"):
            open_output(f"http://@127.0.0.1:{taken.getsockname()[1]}/a")
    with pytest.raises(UsageError, match="SSL_CERT"):
        open_output("https://@127.0.0.1:0/a")


# -- WebRTC ------------------------------------------------------------------------------------------
async def _watch(url: str, codec: str, frames: int) -> list[float | None]:
    """What a WebRTC client sees: the ages of some frames."""
    peer = aiortc.RTCPeerConnection()
    arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    peer.on("track", lambda track: arrived.done() or arrived.set_result(track))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"sdp": peer.localDescription.sdp, "type": "offer"}
    answer = await asyncio.to_thread(_post, url, json.dumps(offer).encode())
    await peer.setRemoteDescription(aiortc.RTCSessionDescription(**json.loads(answer)))
    assert f" {codec}/90000" in json.loads(answer)["sdp"]
    track = await asyncio.wait_for(arrived, 10)
    ages = []
    for _ in range(frames):
        picture = await asyncio.wait_for(track.recv(), 10)
        ages.append(latency(picture.to_ndarray(format="rgb24")))
    await peer.close()
    return ages


def _post(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, data=body, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("[::1]", 200),
        ("192.168.1.7:8080", 200),
        (socket.gethostname(), 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
    ],
)
def test_foreign_names_get_nothing_without_a_password(host: str, status: int) -> None:
    """A page of somebody else may make its own name lead here, but not ask by ours."""
    for credentials, expected in (("@", status), ("me:pw@", 401)):
        with open_output(f"http://{credentials}127.0.0.1:0/cam") as output:
            output.write(frame(0))
            url = f"http://127.0.0.1:{output.port}/cam?picture"  # type: ignore[attr-defined]
            request = urllib.request.Request(url, headers={"Host": host})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    got = answer.status
            except urllib.error.HTTPError as e:
                got = e.code
        assert got == expected


@needs_aiortc
@pytest.mark.parametrize(("codec", "name"), [("h264", "H264"), ("vp8", "VP8")])
def test_webrtc_viewers_come_and_go(codec: str, name: str) -> None:
    output: Any = open_output("webrtc://@127.0.0.1:0/cam", OutputOptions(codec=codec))
    feeder = Feeder(output)
    url = f"http://127.0.0.1:{output.port}/cam"
    try:
        assert b"<video" in get(url)[2]
        for _ in range(2):
            ages = asyncio.run(_watch(url, name, 8))
            assert sum(a is not None and 0 <= a < 5 for a in ages) >= 5
        wait_for(lambda: output.viewers == 0)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            _post(url, b"{}")
    finally:
        feeder.stop()


@needs_aiortc
def test_webrtc_leaves_nothing_behind() -> None:
    before = threading.active_count()
    for _ in range(2):
        open_output("webrtc://@127.0.0.1:0/cam").close()
    with pytest.raises(UsageError, match="h264 or vp8"):
        open_output("webrtc://@127.0.0.1:0/cam", OutputOptions(codec="h265"))
    wait_for(lambda: threading.active_count() <= before)


@needs_aiortc
def test_webrtc_in_from_a_sender() -> None:
    """A sender in place of the browser's camera; it leaves and comes back."""
    events: list[dict[str, Any]] = []
    source: Any = open_source("webrtc://@127.0.0.1:0/cam", SourceOptions(on_event=events.append))
    url = f"http://127.0.0.1:{source.port}/cam"
    assert b"getUserMedia" in get(url)[2]

    class Camera(aiortc.VideoStreamTrack):  # type: ignore[misc]
        async def recv(self) -> Any:
            import av

            pts, base = await self.next_timestamp()
            picture = av.VideoFrame.from_ndarray(frame(0).pixels, "rgb24")
            picture.pts, picture.time_base = pts, base
            return picture

    async def send(until: Any) -> None:
        peer = aiortc.RTCPeerConnection()
        peer.addTrack(Camera())
        await peer.setLocalDescription(await peer.createOffer())
        offer = {"sdp": peer.localDescription.sdp, "type": "offer"}
        answer = await asyncio.to_thread(_post, url, json.dumps(offer).encode())
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(**json.loads(answer)))
        await asyncio.to_thread(until)
        await peer.close()

    frames = iter(source)
    seen: list[float | None] = []

    def take() -> None:
        seen.extend(latency(next(frames).pixels) for _ in range(5))

    try:
        asyncio.run(send(take))
        wait_for(lambda: [e["event"] for e in events] == ["connected", "lost"])
        asyncio.run(send(take))
    finally:
        source.close()
    assert [e["event"] for e in events][:3] == ["connected", "lost", "back"]
    assert sum(a is not None for a in seen) >= 5


# -- a real browser ----------------------------------------------------------------------------------
@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[browser.Browser]:
    """A headless Chromium."""
    if not browser.find():
        pytest.skip("Chromium is not installed")
    pytest.importorskip("websockets", reason="the serve extra is not installed")
    page = browser.Browser(tmp_path / "profile")
    yield page
    page.close()


def grabbed_age(page: browser.Browser) -> float | None:
    picture = page.grab()
    return None if picture is None else latency(picture)


def test_chromium_shows_our_pages(mjpeg: tuple[Feeder, str], chromium: browser.Browser) -> None:
    chromium.open(mjpeg[1])
    assert wait_for(lambda: grabbed_age(chromium), 30, "a frame on the MJPEG page") < 10
    if aiortc is None:
        pytest.skip("the webrtc extra is not installed (MJPEG was checked)")
    output: Any = open_output("webrtc://@127.0.0.1:0/cam")
    feeder = Feeder(output)
    try:
        chromium.open(f"http://127.0.0.1:{output.port}/cam")
        assert wait_for(lambda: grabbed_age(chromium), 30, "a frame on the WebRTC page") < 10
        assert chromium.value("document.getElementById('state').textContent") == "connected"
    finally:
        feeder.stop()


def test_the_camera_of_a_browser_comes_in(tmp_path: Path) -> None:
    if not browser.find():
        pytest.skip("Chromium is not installed")
    if aiortc is None:
        pytest.skip("the webrtc extra is not installed")
    pytest.importorskip("websockets", reason="the serve extra is not installed")
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    page = browser.Browser(tmp_path / "profile", *flags)
    source: Any = open_source("webrtc://@127.0.0.1:0/phone", SourceOptions(frames=3))
    try:
        page.open(f"http://127.0.0.1:{source.port}/phone")
        frames = list(source)
    finally:
        source.close()
        page.close()
    assert len(frames) == 3
    assert frames[-1].width >= 160
    assert frames[-1].pixels.std() > 5  # the browser's test picture, and not black


def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    certify(tmp_path, "web")
    monkeypatch.setenv("SSL_CERT", str(tmp_path / "web.crt"))
    monkeypatch.setenv("SSL_KEY", str(tmp_path / "web.key"))
    output: Any = open_output("https://@127.0.0.1:0/cam")
    output.write(frame(0, 5.0))
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    url = f"https://127.0.0.1:{output.port}/cam?picture"
    with urllib.request.urlopen(url, timeout=10, context=trusting) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
    # a client that opens a connection and says nothing holds nobody up
    with (
        socket.create_connection(("127.0.0.1", output.port)),
        urllib.request.urlopen(url, timeout=10, context=trusting) as answer,
    ):
        assert answer.status == 200
    output.close()
    monkeypatch.setenv("SSL_CERT", str(tmp_path / "absent.pem"))
    with pytest.raises(OutputError, match="SSL_CERT"):
        open_output("https://@127.0.0.1:0/cam")
