"""Several outputs: one that is slow, stuck or dead never stops the others."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from peers import wait_for

from edgepose.errors import OutputError
from edgepose.io.backoff import Backoff
from edgepose.io.base import Output
from edgepose.io.named import ByName
from edgepose.io.outputs.fanout import FanOut
from edgepose.types import Frame


class Recorder(Output):
    """Keeps the indexes; blocks on `gate` or raises `error` where the test sets them."""

    closed = False

    def __init__(self, drops: bool = False) -> None:
        self.drops, self.seen, self.closed_ = drops, [], False
        self.gate: threading.Event | None = None
        self.error: Exception | None = None

    def write(self, frame: Frame) -> None:
        if self.gate is not None:
            self.gate.wait()
        if self.error is not None:
            raise self.error
        self.seen.append(frame.index)

    def close(self) -> None:
        self.closed_ = True


def frame(index: int) -> Frame:
    return Frame(np.zeros((2, 2, 3), np.uint8), index)


def write_many(out: FanOut) -> None:
    for i in range(20):
        out.write(frame(i))
        time.sleep(0.01)


def test_files_keep_every_frame_in_order() -> None:
    first, second = Recorder(), Recorder()
    with FanOut([("a", first), ("b", second)]) as out:
        for i in range(50):
            out.write(frame(i))
    assert first.seen == second.seen == list(range(50))
    assert first.closed_
    assert out.counts()["a"] == {"written": 50, "dropped": 0, "failures": 0}


@pytest.mark.parametrize("live", [True, False])
def test_a_stuck_stream_drops_and_the_others_go_on(live: bool) -> None:
    stuck, film = Recorder(drops=True), Recorder()
    stuck.gate = threading.Event()
    out = FanOut([("stuck", stuck), ("film", film)], live=live, patience=0.1)
    for i in range(40):
        out.write(frame(i))
        time.sleep(0.002)
    start = time.monotonic()
    out.close()
    assert time.monotonic() - start < 10
    assert film.seen == list(range(40))
    dropped = out.counts()["stuck"]["dropped"]
    assert dropped >= 37  # one is being written, two wait
    stuck.gate.set()
    wait_for(lambda: stuck.closed_)


def test_a_film_waits_for_a_stream_that_plays_it() -> None:
    class Player(Recorder):
        def write(self, frame: Frame) -> None:
            time.sleep(0.01)
            super().write(frame)

    player = Player(drops=True)
    with FanOut([("player", player)]) as out:
        for i in range(30):
            out.write(frame(i))
    assert player.seen == list(range(30))


def test_a_film_of_a_live_source_drops_only_when_it_falls_far_behind() -> None:
    slow = Recorder()
    slow.gate = threading.Event()
    out = FanOut([("disk", slow)], live=True)
    for i in range(40):
        out.write(frame(i))
    slow.gate.set()
    out.close()  # what is queued is still written
    dropped = out.counts()["disk"]["dropped"]
    assert dropped == 40 - len(slow.seen)
    assert 20 <= dropped <= 24
    assert slow.seen == sorted(slow.seen)
    assert slow.seen[-16:] == list(range(24, 40))


def test_a_failed_stream_is_reported_once_and_tried_again() -> None:
    events: list[dict[str, Any]] = []
    bad, film = Recorder(drops=True), Recorder()
    bad.error = OutputError("nobody listens")
    with FanOut(
        [("bad", bad), ("film", film)],
        report=events.append,
        backoff=lambda: Backoff(first=0.01, longest=0.02),
    ) as out:
        for i in range(20):
            out.write(frame(i))
            time.sleep(0.005)
        wait_for(lambda: out.counts()["bad"]["failures"] > 1)
        bad.error = None
        index = 20

        def back() -> bool:
            nonlocal index
            out.write(frame(index))
            index += 1
            return len(events) == 2

        wait_for(back)
    assert [e["event"] for e in events] == ["output_failed", "output_back"]
    assert events[0]["error"] == "nobody listens"
    assert events[0]["output"] == "bad"
    assert film.seen == list(range(index))


def test_a_failed_film_is_an_error() -> None:
    full = Recorder()
    full.error = OutputError("the disk is full")
    out = FanOut([("film", full)])
    with pytest.raises(OutputError, match="disk is full"):
        write_many(out)
    with pytest.raises(OutputError, match="disk is full"):
        out.close()
    assert full.closed_
    out.close()


def test_an_unexpected_failure_is_an_output_error() -> None:
    odd = Recorder()
    odd.error = ZeroDivisionError("division by zero")
    out = FanOut([("film", odd)])
    with pytest.raises(OutputError, match="film: ZeroDivisionError"):
        write_many(out)
    with pytest.raises(OutputError):
        out.close()


def test_targets_by_name_are_streams_or_files() -> None:
    def opened(target: str) -> Recorder:
        return Recorder()

    assert ByName("rtsp://@:8554/{name}", opened).drops
    assert not ByName("out/{name}.mp4", opened).drops


def test_a_closed_window_is_noticed() -> None:
    window = Recorder(drops=True)
    with FanOut([("film", Recorder()), ("window", window)]) as out:
        assert not out.closed
        window.closed = True
        assert out.closed


def test_no_threads_are_left() -> None:
    before = threading.active_count()
    for _ in range(5):
        with FanOut([("a", Recorder()), ("b", Recorder(drops=True))]) as out:
            out.write(frame(0))
    wait_for(lambda: threading.active_count() <= before)
