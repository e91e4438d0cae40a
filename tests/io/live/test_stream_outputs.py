"""Encoded streams against real receivers: RTP, MPEG-TS, RTMP, RTSP (push and serve), HLS."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from peers import RtspPeer, free_port, wait_for

from edgepose.errors import OutputError, SourceError, UnknownNameError, UsageError
from edgepose.io.base import Output, OutputOptions, SourceOptions
from edgepose.io.outputs import open_output, rtsp
from edgepose.io.outputs.fanout import FanOut
from edgepose.io.outputs.live_encoder import LiveEncoder, Pacer
from edgepose.io.sources import open_source
from edgepose.io.sources.testsrc import latency, read_clock
from edgepose.io.uri import parse
from edgepose.types import Frame

Serve = Callable[..., rtsp.RtspOutput]
TEST = "test://people?rate=25&size=320x180&people=1&clock=wall"


class Feeder(threading.Thread):
    """Feeds the test source into outputs until it is stopped."""

    def __init__(self, *outputs: Output, uri: str = TEST) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        named = [(str(i), o) for i, o in enumerate(outputs)]
        self.fan = FanOut(named, live=True, report=self.events.append)
        self.source = open_source(uri)
        self.start()

    def run(self) -> None:
        for frame in self.source:
            self.fan.write(frame)

    def stop(self) -> None:
        self.source.close()
        self.join()
        self.fan.close()


@pytest.fixture
def feeders() -> Iterator[list[Feeder]]:
    """Feeders that are stopped at the end."""
    running: list[Feeder] = []
    yield running
    for feeder in running:
        feeder.stop()


def watch(uri: str, frames: int = 5, **options: Any) -> list[Frame]:
    asked = SourceOptions(**{"frames": frames, "timeout": 10.0, **options})
    with open_source(uri, asked) as source:
        return list(source)


def assert_live(frames: list[Frame]) -> None:
    """The clocks are readable, in order and about now."""
    ages = [latency(f.pixels) for f in frames]
    assert None not in ages
    assert all(0 <= a < 10 for a in ages if a is not None)
    clocks = [read_clock(f.pixels) or 0.0 for f in frames]
    assert clocks == sorted(clocks)


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_rtp(feeders: list[Feeder], codec: str) -> None:
    port = free_port()
    feeders.append(Feeder(open_output(f"rtp://127.0.0.1:{port}", OutputOptions(codec=codec))))
    assert_live(watch(f"rtp://@:{port}", codec=codec))


def test_mpeg_ts_over_udp(feeders: list[Feeder]) -> None:
    port = free_port()
    feeders.append(Feeder(open_output(f"udp://127.0.0.1:{port}")))
    assert_live(watch(f"udp://@:{port}"))


def test_rtmp_to_a_server_that_comes_late(feeders: list[Feeder]) -> None:
    port = free_port()
    feeder = Feeder(open_output(f"rtmp://127.0.0.1:{port}/live/cam"))
    feeders.append(feeder)
    wait_for(lambda: feeder.events)
    wait_for(lambda: feeder.fan.counts()["0"]["failures"] >= 2)
    assert [e["event"] for e in feeder.events] == ["output_failed"]  # told once
    # in a process of its own: PyAV holds Python's lock while it closes a connection
    received = subprocess.run(
        [sys.executable, "-c", RTMP_SERVER, str(port)], capture_output=True, text=True, timeout=60
    )
    ages = [float(word) for word in received.stdout.split()]
    assert len(ages) == 5, received.stderr
    assert all(0 <= age < 10 for age in ages)
    wait_for(lambda: [e["event"] for e in feeder.events][:2] == ["output_failed", "output_back"])


RTMP_SERVER = """
import sys, av
from edgepose.io.sources.testsrc import latency
url = f"rtmp://127.0.0.1:{sys.argv[1]}/live/cam"
options = {"listen": "1", "analyzeduration": "300000"}
with av.open(url, options=options, timeout=(30, 10)) as peer:
    for number, frame in enumerate(peer.decode(video=0)):
        print(latency(frame.to_ndarray(format="rgb24")), flush=True)
        if number == 4:
            break
"""


def test_hls_is_written_and_ends(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    options = OutputOptions(rate=10)
    with open_output(f"hls://{folder}", options) as out:
        for i, frame in enumerate(open_source("test://?rate=0&size=160x120&frames=35")):
            out.write(Frame(frame.pixels, i, captured=i / 10))
    playlist = (folder / "index.m3u8").read_text()
    assert playlist.rstrip().endswith("#EXT-X-ENDLIST")
    with av.open(str(folder / "index.m3u8")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 35
    assert not list(folder.glob("*.tmp"))


def test_push_to_an_rtsp_server(feeders: list[Feeder], tmp_path: Path) -> None:
    record = tmp_path / "pushed.ts"
    peer = RtspPeer("--record", str(record)).start()
    try:
        feeders.append(Feeder(open_output(peer.url("push"))))
        wait_for(lambda: record.exists() and record.stat().st_size > 40_000)
        feeders.pop().stop()
    finally:
        peer.kill()
    with av.open(str(record)) as film:
        ages = [latency(f.to_ndarray(format="rgb24")) for f in film.decode(video=0)]
    assert sum(a is not None for a in ages) >= 5


@pytest.fixture(params=["the best one here", "the one in Python"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Opens `rtsp://@...` with a server: gst-rtsp-server where it is installed, or our own."""
    program = rtsp.ALONE if request.param == "the one in Python" else rtsp.program_here()
    return lambda uri, **options: rtsp.RtspOutput(parse(uri), OutputOptions(**options), program)


def test_rtsp_server_has_many_viewers_who_come_and_go(
    serve: Serve, feeders: list[Feeder], nothing_left: None
) -> None:
    port = free_port()
    feeder = Feeder(serve(f"rtsp://@127.0.0.1:{port}/one"))
    url = f"rtsp://127.0.0.1:{port}/one"
    with open_source(url) as viewer:
        frames = iter(viewer)
        next(frames)
        assert_live(watch(url))
        assert_live(watch(url))  # one that comes back
        assert_live([next(frames) for _ in range(3)])
    feeder.stop()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", rtsp.ALONE.codecs)
def test_the_server_in_python_serves_what_it_says(
    feeders: list[Feeder], codec: str, transport: str
) -> None:
    port, options = free_port(), OutputOptions(codec=codec)
    address = parse(f"rtsp://@127.0.0.1:{port}/a%20path/of/two")
    feeders.append(Feeder(rtsp.RtspOutput(address, options, rtsp.ALONE)))
    url = f"rtsp://127.0.0.1:{port}/a%20path/of/two"
    frames = watch(url, 3, transport=transport, timeout=30.0)
    assert {f.pixels.shape for f in frames} == {(180, 320, 3)}
    if transport == "tcp":
        assert_live(frames)  # what UDP loses on a busy machine may hide a clock


def test_the_server_in_python_serves_no_mjpeg() -> None:
    with pytest.raises(UsageError, match="apt-get install"):
        rtsp.RtspOutput(parse("rtsp://@:8554/x"), OutputOptions(codec="mjpeg"), rtsp.ALONE)


def test_an_rtsp_server_with_a_password(serve: Serve, feeders: list[Feeder]) -> None:
    port = free_port()
    feeders.append(Feeder(serve(f"rtsp://m%20e:hun%3Fter2@:{port}/door")))
    with pytest.raises(UsageError, match="another port"):
        serve(f"rtsp://@:{port}/garden")
    for wrong in ("", "me:hunter3@"):
        with pytest.raises(SourceError, match="user name or password"):
            watch(f"rtsp://{wrong}127.0.0.1:{port}/door")
    assert_live(watch(f"rtsp://m%20e:hun%3Fter2@127.0.0.1:{port}/door", 2))


def test_two_paths_of_one_port_and_a_killed_server(serve: Serve, feeders: list[Feeder]) -> None:
    port = free_port()
    outputs = [serve(f"rtsp://@127.0.0.1:{port}/{name}") for name in ("a", "b")]
    feeders.append(Feeder(*outputs))
    for name in ("a", "b"):
        assert_live(watch(f"rtsp://127.0.0.1:{port}/{name}", 2))
    server = outputs[0]._server
    assert server is not None
    old = server._process
    assert old is not None
    old.kill()
    old.wait()
    wait_for(lambda: server._process is not None and server._process is not old)
    assert_live(watch(f"rtsp://127.0.0.1:{port}/b", 2, wait=True))


def test_glass_to_glass_is_not_queued(serve: Serve, feeders: list[Feeder]) -> None:
    """Encoded, served, received, decoded: nothing on the way may pile frames up."""
    port = free_port()
    feeders.append(Feeder(serve(f"rtsp://@127.0.0.1:{port}/x")))
    with open_source(f"rtsp://127.0.0.1:{port}/x") as source:
        ages = []
        for frame in source:
            time.sleep(0.1)  # a slow inference: 10 frames/s of 25
            ages.append(latency(frame.pixels, time.time() - 0.1))
            if len(ages) == 20:
                break
        assert source.counters.dropped >= 15
    known = sorted(a for a in ages if a is not None)
    # one frame takes 0.04 s; a queue of a decoder or a socket would let this grow to seconds
    assert known[len(known) // 2] < 1.0


def test_outputs_that_cannot_work() -> None:
    with pytest.raises(UsageError, match="host and port"):
        open_output("rtp://@")
    with pytest.raises(UnknownNameError, match="'h265'"):
        open_output("rtp://127.0.0.1:5004", OutputOptions(codec="h266"))
    with pytest.raises(UsageError, match="h264 or h265"):
        open_output("rtmp://127.0.0.1/x", OutputOptions(codec="vp8"))
    with pytest.raises(UsageError, match="names no folder"):
        open_output("hls://")


def test_a_taken_port_is_an_error(serve: Serve, nothing_left: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OutputError, match="another port"):
            serve(f"rtsp://@127.0.0.1:{taken.getsockname()[1]}/x")


def test_a_codec_without_an_encoder() -> None:
    encoder = LiveEncoder(OutputOptions(codec="h264", encoder="v4l2"), "rtp://x")
    with pytest.raises(OutputError, match="h264_v4l2m2m"):
        encoder.start(64, 48)


def test_odd_sizes_and_a_change_of_size_are_encoded() -> None:
    encoder = LiveEncoder(OutputOptions(), "x")
    packets = encoder.encode(Frame(np.zeros((49, 65, 3), np.uint8)), 0.0)
    packets += encoder.encode(Frame(np.zeros((20, 30, 3), np.uint8)), 0.04)
    decoder = av.CodecContext.create("h264", "r")
    pictures = [p for packet in [*packets, None] for p in decoder.decode(packet)]
    assert [(p.width, p.height) for p in pictures] == [(66, 50)] * 2
    assert pictures[0].colorspace == 6  # as films say it
    assert len(packets) == 2


def test_the_pacer_lets_films_play_in_real_time() -> None:
    pacer = Pacer()
    start = time.monotonic()
    times = [pacer.at(Frame(np.zeros((2, 2, 3), np.uint8), i, pts=5 + i * 0.05)) for i in range(4)]
    assert times == pytest.approx([0.0, 0.05, 0.1, 0.15])
    assert time.monotonic() - start >= 0.14
