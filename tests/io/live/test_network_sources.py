"""http, RTP and stdin inputs against real servers, senders and pipes."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
from peers import free_port, make_film, wait_for

from edgepose.errors import SourceError, SourceLost, UnknownNameError, UsageError
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source, rtp
from edgepose.io.sources.testsrc import Painter, TestPattern, read_clock
from edgepose.io.uri import parse

PAINTER = Painter(TestPattern(rate=20, width=160, height=120))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, /camera as MJPEG (cut off after 8 pictures), /secret with a password."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/camera":
            self.camera()
        elif self.path.startswith("/broken/"):
            content = Path(self.directory, self.path.removeprefix("/broken/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + 1000))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True
        elif self.path.startswith(("/ranges/", "/promised/")):
            self.part(Path(self.directory, self.path.split("/", 2)[2]).read_bytes())
            self.close_connection |= self.path.startswith("/promised")
        elif self.path.startswith(("/untold/", "/chunked/")):
            self.untold(self.path.startswith("/chunked"))
        elif self.path.startswith("/secret") and not self.headers.get("Authorization"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.path = self.path.replace("/secret", "")
            super().do_GET()

    def part(self, content: bytes) -> None:
        """What is asked for; a wish for the connection's end is granted and not spoken of."""
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        with contextlib.suppress(OSError):  # nobody needs to hear all of it
            self.wfile.write(content[first:])

    def untold(self, chunked: bool) -> None:
        """All of a file without a word about its length."""
        content = Path(self.directory, self.path.split("/", 2)[2]).read_bytes()
        self.send_response(200)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)
        self.close_connection = True

    def camera(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        for i in range(8):
            _, jpeg = cv2.imencode(".jpg", PAINTER.paint(i, i / 20)[..., ::-1])
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")
            time.sleep(0.05)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Sender(threading.Thread):
    """Writes the test figures to a file or address in real time until it is stopped."""

    def __init__(self, url: str, codec: str, format: str = "", **options: str) -> None:
        super().__init__(daemon=True)
        self.url, self.codec, self.format, self.options = url, codec, format, options
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()
        self.join()

    def run(self) -> None:
        with av.open(self.url, "w", format=self.format or None, options=self.options) as out:
            stream = out.add_stream(self.codec, rate=20)
            stream.width, stream.height = 160, 120
            stream.pix_fmt = "yuvj420p" if self.codec == "mjpeg" else "yuv420p"
            stream.gop_size, stream.bit_rate = 5, 3_000_000
            if self.codec == "mjpeg":  # what RFC 2435 can say of tables, and no slices
                stream.codec_context.thread_count = 1
                stream.options = {"huffman": "default", "force_duplicated_matrix": "1"}
            else:
                stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
            i = 0
            while not self.stopped.wait(0.05):
                picture = av.VideoFrame.from_ndarray(PAINTER.paint(i, i / 20), "rgb24")
                picture.pts = i
                out.mux(stream.encode(picture))
                i += 1


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on a folder: its address and the folder."""
    handler = partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", tmp_path
        server.shutdown()


def test_of_a_broken_transfer_no_frame_is_lost(web: tuple[str, Path]) -> None:
    """Decoders hold some frames back, to put them in order."""
    address, folder = web
    make_film(str(folder / "film.ts"), preset="veryfast")
    seen: list[float] = []
    with open_source(f"{address}/broken/film.ts") as source, pytest.raises(SourceLost):
        seen.extend(read_clock(frame.pixels) for frame in source)
    assert seen == pytest.approx([i / 10 for i in range(20)])


@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film.mkv"])
@pytest.mark.parametrize("way", ["ranges", "promised", "untold"])
def test_a_film_is_whole_however_it_is_served(way: str, name: str, web: tuple[str, Path]) -> None:
    """Where the index is fetched first and the rest after it, by a server that closes what it promised to
    keep open too; where nobody says how many bytes will come."""
    address, folder = web
    if (way, name) == ("untold", "film.mp4"):
        make_film(str(folder / name), movflags="faststart")
    else:
        make_film(str(folder / name))
    with open_source(f"{address}/{way}/{name}") as source:
        frames = list(source)
    assert [read_clock(f.pixels) for f in frames] == pytest.approx([i / 10 for i in range(20)])
    assert [f.pts for f in frames] == pytest.approx([i / 10 for i in range(20)], abs=0.25)


def test_a_film_without_a_frame_is_refused(web: tuple[str, Path]) -> None:
    """Its index comes last, and there is no way back to its pictures."""
    address, folder = web
    film = Path(make_film(str(folder / "film.mp4"))).read_bytes()
    index = film.index(b"moov") - 4
    padding = (1 << 20).to_bytes(4, "big") + b"free" + bytes((1 << 20) - 8)
    (folder / "film.mp4").write_bytes(film[:index] + padding + film[index:])
    with pytest.raises(SourceError, match="no frame that can be read"):
        list(open_source(f"{address}/chunked/film.mp4"))


def test_a_film_behind_http_loses_no_frame(web: tuple[str, Path]) -> None:
    address, folder = web
    make_film(str(folder / "film.mp4"))
    with open_source(f"{address}/film.mp4", SourceOptions(start=2, loop=2)) as source:
        assert (source.live, source.length, source.name) == (False, 36, "film")
        frames = list(source)
    clocks = [read_clock(f.pixels) for f in frames]
    assert clocks == pytest.approx([i / 10 for i in range(2, 20)] * 2)
    assert [f.index for f in frames[:2]] == [2, 3]
    assert [f.pts for f in frames] == sorted(f.pts or 0 for f in frames)


@pytest.mark.parametrize("name", ["film.ts", "film.mjpeg"])
def test_a_stream_that_states_its_bytes_is_a_film(name: str, web: tuple[str, Path]) -> None:
    """The server knows no ranges, but says how many bytes will come."""
    address, folder = web
    film = make_film(str(folder / "film.ts"))
    if name == "film.mjpeg":
        with open_source(film) as source:
            jpegs = [cv2.imencode(".jpg", f.pixels[..., ::-1])[1].tobytes() for f in source]
        (folder / name).write_bytes(b"".join(jpegs))
    with open_source(f"{address}/{name}") as source:
        assert not source.live
        assert source.sound == ""
        assert len(list(source)) == 20


def test_a_heif_picture_behind_http_is_refused(web: tuple[str, Path]) -> None:
    heif = pytest.importorskip("pillow_heif")
    image = pytest.importorskip("PIL.Image")
    heif.from_pillow(image.new("RGB", (64, 48))).save(str(web[1] / "a.heic"))
    with pytest.raises(SourceError, match="HEIF picture"):
        open_source(f"{web[0]}/a.heic")


def test_a_picture_behind_http(web: tuple[str, Path]) -> None:
    address, folder = web
    cv2.imwrite(str(folder / "one.jpg"), PAINTER.paint(0, 1.0)[..., ::-1])
    frames = list(open_source(f"{address}/one.jpg"))
    assert [read_clock(f.pixels) for f in frames] == [1.0]


def test_mjpeg_of_a_camera_is_live_and_comes_back(web: tuple[str, Path]) -> None:
    events: list[dict[str, Any]] = []
    options = SourceOptions(on_event=events.append, frames=12)
    with open_source(f"{web[0]}/camera", options) as source:
        assert source.live
        clocks = [read_clock(f.pixels) for f in source]
    assert None not in clocks
    names = [e["event"] for e in events]
    assert names[:3] == ["connected", "lost", "back"]
    assert set(names[3:-1]) <= {"lost", "back"}  # where this machine was slow and missed pictures
    assert names[-1] == "ended"


def test_a_live_hls_playlist_is_paced(web: tuple[str, Path]) -> None:
    address, folder = web
    playlist = folder / "live.m3u8"
    writer = Sender(str(playlist), "libx264", hls_time="0.5", hls_flags="omit_endlist")
    writer.start()
    try:
        wait_for(lambda: playlist.exists() and "live1.ts" in playlist.read_text())
        with open_source(f"{address}/live.m3u8", SourceOptions(frames=6)) as source:
            assert source.live
            frames = list(source)
    finally:
        writer.stop()
    stamps = [f.captured for f in frames if f.captured is not None]
    # 20 frames/s; unpaced, the ten of a segment come within 10 ms
    assert stamps[-1] - stamps[1] > 0.1


def test_hls_with_an_end_is_a_film(web: tuple[str, Path]) -> None:
    make_film(str(web[1] / "film.m3u8"), 20, 10, hls_time="0.5", hls_list_size="0")
    with open_source(f"{web[0]}/film.m3u8") as source:
        assert not source.live
        assert len(list(source)) == 20


def test_http_errors_say_what_to_do(web: tuple[str, Path]) -> None:
    address, folder = web
    (folder / "page.html").write_text("<html>no video</html>" * 50)
    make_film(str(folder / "film.mp4"), 3)
    with pytest.raises(SourceLost, match="404"):
        open_source(f"{address}/none.mp4")
    with pytest.raises(SourceError, match="not a video"):
        open_source(f"{address}/page.html")
    with pytest.raises(SourceError, match="user name or password"):
        open_source(f"{address}/secret/film.mp4")
    with pytest.raises(SourceLost, match="nothing listens"):
        open_source(f"http://127.0.0.1:{free_port()}/x.mp4")
    known = address.replace("//", "//me:hunter2@")
    frames = list(open_source(f"{known}/secret/film.mp4"))
    assert len(frames) == 3
    assert "hunter2" not in frames[0].source


# -- RTP ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("codec", "encoder"), [("h264", "libx264"), ("mjpeg", "mjpeg")])
def test_rtp_is_received(codec: str, encoder: str, nothing_left: None) -> None:
    port = free_port()
    sender = Sender(f"rtp://127.0.0.1:{port}?pkt_size=1200", encoder, "rtp")
    sender.start()
    try:
        options = SourceOptions(codec=codec, frames=5, timeout=5.0)
        with open_source(f"rtp://@:{port}", options) as source:
            clocks = [read_clock(f.pixels) for f in source]
        assert source.name == f"rtp-{port}"
        assert len(clocks) == 5
        assert clocks == sorted(c for c in clocks if c is not None)
    finally:
        sender.stop()


def test_the_session_description() -> None:
    text = rtp.description(parse("rtp://239.1.2.3:5000?pt=97"), "h265")
    assert "c=IN IP4 239.1.2.3/32\r\n" in text
    assert "m=video 5000 RTP/AVP 97\r\na=rtpmap:97 H265/90000\r\n" in text
    assert "c=IN IP6 ::1\r\n" in rtp.description(parse("rtp://[::1]:5000"), "")
    with pytest.raises(UsageError, match="names no port"):
        rtp.description(parse("rtp://@"), "h264")
    with pytest.raises(UsageError, match="no IP address"):
        rtp.description(parse("rtp://camera.local:5000"), "h264")
    with pytest.raises(UnknownNameError, match="'h265'"):
        rtp.description(parse("rtp://@:5000"), "h263")


# -- stdin -------------------------------------------------------------------------------------------
READ_STDIN = """
import sys
from edgepose.errors import EdgeposeError
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source
from edgepose.io.sources.testsrc import read_clock
try:
    with open_source("-", SourceOptions(codec=sys.argv[1])) as source:
        print(source.live, *[round(read_clock(f.pixels) * 10) for f in source])
except EdgeposeError as e:
    print(type(e).__name__, e)
"""


def read_stdin(data: Any, codec: str = "") -> str:
    command = [sys.executable, "-c", READ_STDIN, codec]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


@pytest.mark.parametrize(("suffix", "codec"), [("ts", ""), ("mkv", ""), ("h264", "h264")])
def test_every_frame_of_stdin(tmp_path: Path, suffix: str, codec: str) -> None:
    film = Path(make_film(str(tmp_path / f"film.{suffix}"), 12))
    assert read_stdin(film.read_bytes(), codec) == "False " + " ".join(map(str, range(12)))


def test_what_is_no_video_on_stdin() -> None:
    assert read_stdin(b"hello\n" * 1000).startswith("SourceError standard input is not a video")
    assert read_stdin(b"").startswith("SourceError standard input is not a video")
    assert read_stdin(b"", "h266").startswith("UnknownNameError")


def test_a_blocked_stdin_can_be_closed() -> None:
    script = """
import os, sys, threading
from edgepose.io.sources.stdin import Pipe
pipe = Pipe(sys.stdin.fileno())
threading.Timer(0.1, pipe.wake).start()
print(pipe.read(10))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    wait_for(lambda: process.poll() is not None)
    out, _ = process.communicate()
    assert out == b"b''\n"
