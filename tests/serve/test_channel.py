"""One input, one inference: when a channel runs, and what it says of its input."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import make_film, wait_for

from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.events.event import iso_time
from edgepose.events.log import EventLog
from edgepose.events.store import EventStore
from edgepose.networks.resolve import resolve
from edgepose.serve.channel import Channel
from edgepose.serve.engines import SharedEstimator
from edgepose.serve.feed import FeedClosed
from edgepose.serve.pictures import encode
from edgepose.serve.watch import ChannelOptions

CAMERA = "test://people?size=160x120&rate=15&people=1"


class Viewer:
    """Somebody who looks at a channel, in a loop of its own."""

    def __init__(self, channel: Channel) -> None:
        self.pictures: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self._channel = channel
        self._gone: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look()))

    async def _look(self) -> None:
        self._gone = asyncio.Event()
        with self._channel.pictures.listen() as p, self._channel.messages.listen() as m:
            self._channel.look()
            tasks = [asyncio.ensure_future(self._pictures(p)), asyncio.ensure_future(self._hear(m))]
            await self._gone.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pictures(self, listener: Any) -> None:
        while True:
            self.pictures += await listener.get(5)

    async def _hear(self, listener: Any) -> None:
        try:
            while True:
                self.messages += [json.loads(text) for text in await listener.get(5)]
        except FeedClosed:
            return

    def __enter__(self) -> Viewer:
        self._thread.start()
        wait_for(lambda: self._channel.viewers, "the first look")
        self._loop = next(iter(self._channel.pictures._listeners)).loop
        return self

    def __exit__(self, *_: object) -> None:
        assert self._gone is not None
        self._loop.call_soon_threadsafe(self._gone.set)
        self._thread.join(10)


def test_nothing_is_inferred_while_nobody_looks(make: Callable[..., Channel]) -> None:
    channel = make(CAMERA)
    assert channel.state == "idle"
    with Viewer(channel) as viewer:
        wait_for(lambda: len(viewer.pictures) >= 3, "pictures")
        assert channel.state == "live"
    wait_for(lambda: channel.state == "idle", "the end after the last viewer")
    frames = channel.frames
    assert frames >= 3
    assert not channel._wake.wait(0.5)  # half a second is seven frames of this camera
    assert channel.frames == frames
    with Viewer(channel) as viewer:
        wait_for(lambda: channel.frames > frames, "a second beginning")


def test_always_means_without_viewers_too(make: Callable[..., Channel]) -> None:
    channel = make(CAMERA)
    channel.always = True
    channel.look()
    wait_for(lambda: channel.frames >= 5, "frames without viewers")
    assert channel.viewers == 0
    assert channel.status()["stages_ms"].keys() & {"overlay", "encode"} == set()
    channel.always = False
    wait_for(lambda: channel.state == "idle", "the end")


def test_an_input_is_told_when_it_changes_and_now_and_then(
    make: Callable[..., Channel], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "edgepose.serve.channel")
    changes, often = make(CAMERA), make(CAMERA, tell=0.2)
    for channel in (changes, often):
        channel.always = True
        channel.look()
    told = "frames/s"
    wait_for(lambda: caplog.text.count(told) >= 2, "words now and then")
    wait_for(lambda: caplog.text.count(f"{CAMERA}: live\n") == 2, "words about the start of each")
    first = caplog.text.partition(told)[2]
    assert "live" in first
    assert caplog.text.count(": live\n") == 2  # hundreds of frames, no further word


def test_a_film_loops(make: Callable[..., Channel], tmp_path: Path) -> None:
    channel = make(str(make_film(tmp_path / "short.mp4", 3)))
    with Viewer(channel) as viewer:
        wait_for(lambda: channel.frames > 9, "the third pass")
    assert "ended" not in {m["state"] for m in viewer.messages if m["type"] == "state"}


def test_a_film_stops_where_that_is_asked_for(make: Callable[..., Channel], tmp_path: Path) -> None:
    channel = make(str(make_film(tmp_path / "short.mp4", 3)), loop=False)
    with Viewer(channel) as viewer:
        wait_for(lambda: channel.state == "ended", "the end of the film")
        assert channel.frames == 3
        assert viewer.pictures
    # who looks later sees it from the start
    with Viewer(channel):
        wait_for(lambda: channel.frames == 6, "the second showing")
        wait_for(lambda: channel.state == "ended", "its end")


def test_without_pacing_every_frame_of_a_film_counts(
    make: Callable[..., Channel], tmp_path: Path
) -> None:
    film = make_film(tmp_path / "film.mp4", 30, 10)
    store = EventStore(tmp_path / "events.db")
    channel = make(str(film), store, loop=False, pace=False)
    with Viewer(channel):
        wait_for(lambda: channel.state == "ended", "the end of the film")
    assert channel.frames == 30
    store.close()
    with EventLog(tmp_path / "events.db") as log:
        stays = [e for e in log.all() if e.event == "exit"]
    # in the film's own time, however fast it went: from the third frame, with which a track is confirmed
    assert [round(e.dwell or 0, 1) for e in stays] == [2.7] * 3


def test_who_is_inside_is_told(make: Callable[..., Channel], tmp_path: Path) -> None:
    channel = make(CAMERA, enter_after=0.2)
    with Viewer(channel) as viewer:
        wait_for(lambda: channel.status()["people"] == 1, "somebody who entered")
        wait_for(lambda: any(m["type"] == "figures" and m["people"] for m in viewer.messages), "it")
    person = next(m for m in viewer.messages if m["type"] == "figures" and m["people"])["inside"][0]
    assert person["track"] == 1
    assert person["id"] == 0
    assert person["since"].endswith("Z")
    assert channel.history()


class Camera:
    """A network camera (MJPEG over HTTP) that can go away and come back."""

    def __init__(self) -> None:
        from edgepose.io.sources.testsrc import Painter, TestPattern

        painter = Painter(TestPattern(width=160, height=120, people=1))
        self._jpegs = [encode(painter.paint(i, i / 15), 160, 80) for i in range(15)]
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]

    def start(self) -> None:
        camera, self._gone = self, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
                self.end_headers()
                number = 0
                try:
                    while not camera._gone.wait(1 / 15):
                        jpeg = camera._jpegs[number % 15]
                        number += 1
                        head = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                        self.wfile.write(head % len(jpeg) + jpeg + b"\r\n")
                except OSError:
                    return

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()


def test_a_camera_that_goes_away_is_shown_and_comes_back(
    make: Callable[..., Channel], tmp_path: Path
) -> None:
    camera = Camera()
    store = EventStore(tmp_path / "events.db")
    uri = f"http://127.0.0.1:{camera.port}/cam"
    channel = make(uri, store, enter_after=0.1, exit_after=0.4)
    with Viewer(channel) as viewer:
        wait_for(lambda: channel.state == "lost", "the absence at the start")
        assert channel.reason
        camera.start()
        wait_for(lambda: channel.status()["people"] == 1, "the first picture")
        camera.stop()
        wait_for(lambda: channel.state == "lost", "the loss")
        wait_for(lambda: not channel.status()["people"], "everybody's leaving")
        camera.start()
        wait_for(lambda: channel.status()["people"] == 1, "the return")
        camera.stop()
    states = [m["state"] for m in viewer.messages if m["type"] == "state"]
    turns = [s for s in states if s in ("live", "lost")]
    shown = [s for s, before in zip(turns, ["", *turns], strict=False) if s != before]
    assert shown[:4] == ["lost", "live", "lost", "live"]
    channel.close()
    store.close()
    with EventLog(tmp_path / "events.db") as log:
        found = [(e.event, e.note) for e in log.all()]
    assert found[:3] == [("enter", ""), ("exit", "input lost"), ("enter", "")]


def test_an_input_that_cannot_be_meant_fails_and_says_why(make: Callable[..., Channel]) -> None:
    channel = make("test://people?rate=-5")
    with Viewer(channel):
        wait_for(lambda: channel.state == "failed", "the failure")
        assert "rate=-5" in channel.reason


class Slow(SharedEstimator):
    """An engine that has a frame when others end."""

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        self.busy, self.go = threading.Event(), threading.Event()

    def estimate(self, *words: Any) -> Any:
        self.busy.set()
        self.go.wait()
        return super().estimate(*words)


def test_an_end_that_takes_long_is_no_failure() -> None:
    engine = make_estimator(resolve("edgepose-lite-body", download=False), EstimatorOptions())
    slow = Slow(engine)
    channel = Channel("camera", CAMERA, CAMERA, lambda: slow, ChannelOptions(), None)
    channel.always = True
    channel.look()
    slow.busy.wait(60)
    channel.close(0)
    slow.release()
    slow.go.set()
    channel.close(60)
    assert not channel._thread.is_alive()
    assert (channel.state, channel.reason) == ("idle", "")


def test_a_missing_file_is_tried_again(make: Callable[..., Channel], tmp_path: Path) -> None:
    film = tmp_path / "later.mp4"
    channel = make(str(film))
    with Viewer(channel):
        wait_for(lambda: channel.state == "lost", "the loss")
        assert "does not exist" in channel.reason
        make_film(film, 3)
        wait_for(lambda: channel.state == "live", "the film")


def test_events_follow_a_correction_of_the_clock(
    make: Callable[..., Channel], tmp_path: Path
) -> None:
    clock = [1_517_097_600.0]  # 2018, where a machine without a battery begins
    path = tmp_path / "events.db"
    store = EventStore(path, clock=lambda: clock[0])
    channel = make(CAMERA, store, enter_after=0.2, clock=lambda: clock[0])
    with Viewer(channel):
        wait_for(lambda: channel.status()["people"] == 1, "somebody who entered")
        assert store.flush()
        clock[0] = 1_790_000_000.0  # the network sets it
        before = channel.frames
        wait_for(lambda: channel.frames > before + 2, "more frames")
        (person,) = channel.status()["inside"]
        assert person["since"].startswith("2026-")
    wait_for(lambda: channel.state == "idle", "the end after the last viewer")
    store.close()
    with EventLog(path) as log:
        events = list(log.all())
    assert [(e.event, iso_time(e.time)[:4]) for e in events] == [
        ("enter", "2018"),
        ("exit", "2026"),
    ]
    assert (events[1].dwell or 0) < 60


def test_a_refused_password_is_not_tried_again_soon(
    make: Callable[..., Channel],
) -> None:
    tries: list[str] = []

    class Guarded(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tries.append(self.headers.get("Authorization", ""))
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    channel = make(f"http://user:wrong@127.0.0.1:{server.server_address[1]}/cam")
    with Viewer(channel):
        wait_for(lambda: channel.state == "failed", "the refusal")
        count = len(tries)
        assert not channel._closed.wait(
            1.0
        )  # ten times the time after which others are tried again
        assert len(tries) == count
    server.shutdown()
    server.server_close()
