"""The supervised live source: newest wins, loss is not the end, nothing is left over."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import SourceDenied, SourceError, SourceLost, SourceTimeout, UsageError
from edgepose.io.backoff import Backoff
from edgepose.io.base import SourceOptions
from edgepose.io.sources.capture import Capture, Captured
from edgepose.io.sources.live import LiveSource

Step = int | BaseException | None


class Script:
    """A capture that follows a script: a number is a picture, an error is raised, None is the end.

    A threading.Event in the script blocks until it is set (a driver stuck in a call).
    """

    rate = 0.0

    def __init__(self, steps: list[Any]) -> None:
        self.steps, self.closed = list(steps), False

    def read(self) -> Captured | None:
        step = self.steps.pop(0)
        if isinstance(step, threading.Event):
            step.wait()
            return None
        if isinstance(step, BaseException):
            raise step
        if step is None:
            return None
        return Captured(lambda: np.full((2, 2, 3), step, np.uint8))

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Connections:
    """Hands out one script after the other; an exception in the list is a failed connection."""

    def __init__(self, *scripts: list[Any] | SourceError) -> None:
        self.scripts, self.opened = list(scripts), []

    def __call__(self) -> Capture:
        script = self.scripts.pop(0)
        if isinstance(script, BaseException):
            raise script
        self.opened.append(Script(script))
        return self.opened[-1]


def quick() -> Backoff:
    return Backoff(first=0.01, longest=0.05)


def live(connections: Callable[[], Capture], **options: Any) -> LiveSource:
    return LiveSource(
        connections,
        SourceOptions(**{"timeout": 5.0, **options}),
        uri="script://x",
        name="x",
        backoff=quick,
    )


def values(source: LiveSource) -> list[int]:
    return [int(f.pixels[0, 0, 0]) for f in source]


def test_the_newest_frame_wins_and_the_dropped_are_counted() -> None:
    hold = threading.Event()
    with live(Connections([1, 2, 3, 4, hold])) as source:
        frames = iter(source)
        wait_for(lambda: source.counters.read == 4)
        frame = next(frames)
        assert (int(frame.pixels[0, 0, 0]), frame.index) == (4, 3)
        assert (source.counters.dropped, source.counters.taken) == (3, 1)
        assert frame.captured is not None
        assert (frame.source, frame.name) == ("script://x", "x")
        hold.set()
        assert list(frames) == []


def test_a_dropped_picture_is_never_converted() -> None:
    converted: list[int] = []

    class Lazy(Script):
        def read(self) -> Captured | None:
            number = self.steps.pop(0)
            if number is None:
                return None
            return Captured(lambda: converted.append(number) or np.zeros((1, 1, 3), np.uint8))

    with live(lambda: Lazy([1, 2, 3, None])) as source:
        wait_for(lambda: source.counters.read == 3)
        list(source)
    assert converted[-1] == 3
    assert len(converted) == source.counters.taken


def test_the_end_is_not_a_loss() -> None:
    events: list[dict[str, Any]] = []
    with live(Connections([1, None]), on_event=events.append) as source:
        assert values(source) == [1]
    assert [e["event"] for e in events] == ["connected", "ended"]


def test_a_loss_is_reported_and_the_source_comes_back() -> None:
    events: list[dict[str, Any]] = []
    connections = Connections(
        [1, SourceLost("gone")], SourceLost("still gone"), SourceLost("still gone"), [2, None]
    )
    with live(connections, on_event=events.append) as source:
        assert values(source)[-1] == 2
    assert [e["event"] for e in events] == ["connected", "lost", "back", "ended"]
    assert events[1]["error"] == "gone"
    assert events[1]["reconnect"] is True
    assert events[2]["tries"] == 3
    assert events[2]["after"] >= 0
    assert events[3]["reconnects"] == 1
    assert all(c.closed for c in connections.opened)


def test_without_reconnect_a_loss_is_an_error() -> None:
    with (
        live(Connections([1, SourceLost("gone")]), reconnect=False) as source,
        pytest.raises(SourceLost, match="gone"),
    ):
        values(source)


def test_the_limit_of_tries_ends_it() -> None:
    connections = Connections([1, SourceLost("a")], *[SourceLost("b")] * 5)
    with (
        live(connections, reconnect_limit=3) as source,
        pytest.raises(SourceLost, match=r"after 3 tries.*b"),
    ):
        values(source)
    assert len(connections.scripts) == 2


def test_an_absent_source_is_an_error_at_the_start() -> None:
    with pytest.raises(SourceLost, match="nobody"):
        live(Connections(SourceLost("nobody")))


def test_wait_waits_for_an_absent_source_but_not_for_a_wrong_password() -> None:
    events: list[dict[str, Any]] = []
    connections = Connections(SourceLost("nobody"), SourceTimeout("silence"), [7, None])
    with live(connections, wait=True, on_event=events.append) as source:
        assert values(source) == [7]
    assert [e["event"] for e in events] == ["waiting", "connected", "ended"]

    source = live(Connections(SourceError("wrong password")), wait=True)
    with source, pytest.raises(SourceError, match="wrong password"):
        values(source)


def test_a_refused_password_is_final_after_few_tries() -> None:
    """Cameras lock an account whose password is tried too often."""
    denied = SourceDenied("script://x: wrong password")
    lost = SourceLost("gone")
    connections = Connections([1, lost], *[denied] * 9)
    source = LiveSource(
        connections,
        SourceOptions(timeout=5.0),
        uri="script://x",
        name="x",
        backoff=quick,
        denial_seconds=0.001,
    )
    with source, pytest.raises(SourceDenied, match="wrong password"):
        list(source)
    assert len(connections.scripts) == 5  # four of nine


def test_a_usage_error_is_not_tried_again() -> None:
    def opener() -> Capture:
        raise UsageError("no such word")

    with pytest.raises(UsageError, match="no such word"):
        live(opener)


def test_the_watchdog_leaves_a_stuck_reader_behind() -> None:
    stuck = threading.Event()
    events: list[dict[str, Any]] = []
    connections = Connections([1, stuck], [2, None])
    with live(connections, timeout=1.5, on_event=events.append) as source:
        assert values(source) == [1, 2]
        assert source.counters.stalls == 1
    assert [e["event"] for e in events] == ["connected", "lost", "back", "ended"]
    assert "1.5 s" in events[1]["error"]
    stuck.set()
    wait_for(lambda: connections.opened[0].closed)


def test_a_silent_source_is_a_timeout_at_the_start() -> None:
    stuck = threading.Event()
    with pytest.raises(SourceTimeout, match="--timeout"):
        live(Connections([stuck]), timeout=0.1)
    stuck.set()


def test_close_from_another_thread_ends_a_blocked_read() -> None:
    stuck = threading.Event()
    source = live(Connections([1, stuck]), timeout=60.0)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.extend(values(source)))
    thread.start()
    wait_for(lambda: source.counters.taken == 1)
    start = time.monotonic()
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - start < 2  # promised: one second, however stuck the driver is
    assert done == [1]
    source.close()
    stuck.set()


def test_frames_limits_what_is_taken() -> None:
    with live(Connections([*range(1, 200), None]), frames=1) as source:
        assert len(values(source)) == 1


def test_no_threads_are_left() -> None:
    before = threading.active_count()
    for _ in range(5):
        with live(Connections([1, SourceLost("x")], [2, None])) as source:
            values(source)
    wait_for(lambda: threading.active_count() <= before)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_backoff_grows_within_its_bounds(seed: int, tries: int) -> None:
    backoff = Backoff(random_=random.Random(seed))
    delays = [backoff.delay() for _ in range(tries)]
    for i, delay in enumerate(delays):
        base = min(30.0, 0.25 * 1.5**i)
        assert 0.75 * base <= delay <= min(30.0, 1.25 * base)


def test_backoff_starts_over_after_a_connection_that_held() -> None:
    backoff = Backoff(jitter=0.0)
    assert [backoff.delay() for _ in range(3)] == [0.25, 0.375, 0.5625]
    backoff.lived(0.5)  # it dies at once: do not hammer it
    assert backoff.delay() == 0.84375
    backoff.lived(60.0)
    assert backoff.delay() == 0.25


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_a_jump_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def jumped() -> float:
        raise AssertionError("the wall clock was asked")

    monkeypatch.setattr(time, "time", jumped)
    with live(Connections([1, SourceLost("x")], [2, None])) as source:
        assert values(source)[-1] == 2
