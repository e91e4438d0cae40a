"""The pipeline's promises: order, no drops, errors and stops in every stage, nothing lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from edgepose.cuda.pictures import Planes
from edgepose.errors import EngineError, OutputError, SourceError
from edgepose.estimators.base import Finish
from edgepose.io.planes import PlanarPixels
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.pipeline import Pipeline, frame_time, writable
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose, Result

TOPOLOGY = Topology("dot", ("dot",), ())


class Numbers:
    """A source of `count` small frames; may fail or wait at one of them."""

    live = False
    rate = 0.0
    name = "numbers"
    stills = False

    def __init__(self, count: int, *, fail_at: int = -1, pace: float = 0.0) -> None:
        self.length = count
        self._fail_at = fail_at
        self._pace = pace
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for i in range(self.length):
            if i == self._fail_at:
                raise SourceError("numbers: damaged")
            if self._pace:
                time.sleep(self._pace)
            if self.closed.is_set():
                return
            yield Frame(np.full((4, 4, 3), i % 256, np.uint8), index=i, pts=i / 10)

    def close(self) -> None:
        self.closed.set()


class Dots:
    """An estimator whose only pose tells the value of the frame's first pixel."""

    manifest = Manifest(name="dots", family="bottom-up")
    topology = TOPOLOGY
    engine_name = "none"

    def __init__(self, *, fail_at: int = -1) -> None:
        self._fail_at = fail_at
        self.batches: list[int] = []

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        self.batches.append(len(frames))
        if any(frame.index == self._fail_at for frame in frames):
            raise EngineError("dots: broken")
        with stopwatch.stage("network"):
            values = [float(frame.pixels[0, 0, 0]) for frame in frames]
        return [(Pose(0, np.array([[v, 0, 1]], np.float32), ("dot",)),) for v in values]

    def close(self) -> None:
        pass


class PlanarNumbers(Numbers):
    """Frames as a decoder of NV12 gives them."""

    def __iter__(self) -> Iterator[Frame]:
        planes = Planes.nv12(np.zeros((4, 6), np.uint8), np.zeros((2, 3, 2), np.uint8))
        for frame in super().__iter__():
            pixels = np.full((4, 6, 3), frame.index, np.uint8)
            yield Frame(PlanarPixels(planes, lambda rgb=pixels: rgb), frame.index)


class DotsOnDevice(Dots):
    """One that says its engine is on a GPU; keeps the frames as it got them."""

    def __init__(self, on_device: bool) -> None:
        super().__init__()
        self.on_device = on_device
        self.got: list[Frame] = []

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        self.got += frames
        return [()] * len(frames)


class Keep:
    """An output and a sink that keep what they get; may fail at one of them, or be slow."""

    def __init__(self, *, fail_at: int = -1, slow: float = 0.0) -> None:
        self.items: list[Frame | Result] = []
        self._fail_at = fail_at
        self._slow = slow

    def write(self, item: Frame | Result) -> None:
        time.sleep(self._slow)
        if len(self.items) == self._fail_at:
            raise OutputError("keep: disk full")
        self.items.append(item)

    def close(self) -> None:
        pass


def no_threads_left() -> bool:
    names = {"_read", "_infer", "_write"}
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if not any(t.name in names for t in threading.enumerate()):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("on_device", [False, True])
def test_planes_reach_engines_on_a_gpu_and_rgb_is_made_for_all_others(
    on_device: bool,
) -> None:
    estimator, pictures = DotsOnDevice(on_device), Keep()
    Pipeline(PlanarNumbers(3), estimator, outputs=[pictures]).run()
    assert [isinstance(f.as_given, PlanarPixels) for f in estimator.got] == [on_device] * 3
    assert [int(f.pixels[3, 5, 2]) for f in pictures.items] == [0, 1, 2]


def test_every_frame_arrives_once_and_in_order() -> None:
    pictures, rows = Keep(), Keep(slow=0.001)
    summary = Pipeline(Numbers(60), Dots(), outputs=[pictures], sinks=[rows]).run()
    assert [r.frame for r in rows.items] == list(range(60))
    assert [f.index for f in pictures.items] == list(range(60))
    assert [r.poses[0]["dot"].x for r in rows.items] == [float(i) for i in range(60)]
    assert (summary.frames, summary.poses) == (60, 60)
    assert {"decode", "network", "output"} <= set(summary.stages)
    assert summary.stages["network"].count == 60
    assert no_threads_left()


def test_a_source_that_breaks_half_way_keeps_the_frames_before_it() -> None:
    rows = Keep(slow=0.005)
    pipeline = Pipeline(Numbers(50, fail_at=20), Dots(), sinks=[rows])
    with pytest.raises(SourceError, match="damaged"):
        pipeline.run()
    assert [r.frame for r in rows.items] == list(range(20))
    assert no_threads_left()


def test_an_engine_that_fails_ends_the_run_with_its_error() -> None:
    rows = Keep()
    with pytest.raises(EngineError, match="broken"):
        Pipeline(Numbers(10_000), Dots(fail_at=7), sinks=[rows]).run()
    assert [r.frame for r in rows.items] == list(range(7))
    assert no_threads_left()


def test_a_full_disk_ends_the_run_although_frames_are_waiting() -> None:
    source = Numbers(10_000)
    with pytest.raises(OutputError, match="disk full"):
        Pipeline(source, Dots(), outputs=[Keep(fail_at=5)]).run()
    assert source.closed.is_set()
    assert no_threads_left()


def test_stop_from_another_thread_writes_what_was_inferred() -> None:
    rows = Keep()
    pipeline = Pipeline(Numbers(10_000, pace=0.002), Dots(), sinks=[rows])
    threading.Timer(0.2, pipeline.stop).start()
    summary = pipeline.run()
    assert 0 < summary.frames < 10_000
    assert [r.frame for r in rows.items] == list(range(summary.frames))
    assert no_threads_left()


def interrupted_run() -> None:
    """Ctrl-C comes while the run waits for its threads, which must not count as ended by it."""
    pictures, rows = Keep(slow=0.05), Keep(slow=0.05)
    pipeline = Pipeline(Numbers(10_000, pace=0.01), Dots(), outputs=[pictures], sinks=[rows])
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    summary = pipeline.run()
    written = len(pictures.items), len(rows.items)
    assert no_threads_left()
    assert (len(pictures.items), len(rows.items)) == written == (summary.frames,) * 2
    assert summary.interrupted
    assert summary.frames > 0


def test_after_a_signal_the_run_ends_when_everything_is_written() -> None:
    # in a process of its own: what libraries of other tests make of SIGINT would end the session
    process = multiprocessing.get_context("spawn").Process(target=interrupted_run)
    process.start()
    process.join(200)
    assert process.exitcode == 0


def test_a_live_source_is_read_where_it_is_used() -> None:
    source = Numbers(30)
    source.live = True  # type: ignore[misc]
    rows = Keep()
    Pipeline(source, Dots(), sinks=[rows]).run()
    assert len(rows.items) == 30


class Ahead(Dots):
    """Dots that are only counted when somebody asks for them; tells what happened when."""

    ahead = 1

    def __init__(self, *, fail_at: int = -1) -> None:
        super().__init__(fail_at=fail_at)
        self.events: list[tuple[str, int]] = []

    def begin(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> Finish:
        number = frames[0].index
        self.events.append(("begin", number))
        if number == self._fail_at:
            raise EngineError("dots: broken")

        def finish() -> list[tuple[Pose, ...]]:
            self.events.append(("finish", number))
            return self.estimate(frames, stopwatch)

        return finish


def test_on_a_gpu_the_next_frame_is_begun_before_one_is_finished() -> None:
    dots, rows = Ahead(), Keep()
    summary = Pipeline(Numbers(30), dots, sinks=[rows]).run()
    assert [r.poses[0]["dot"].x for r in rows.items] == [float(i) for i in range(30)]
    between = [event for i in range(29) for event in (("begin", i + 1), ("finish", i))]
    assert dots.events == [("begin", 0), *between, ("finish", 29)]
    assert summary.stages["network"].count == 30


def test_what_was_begun_before_a_failure_is_written() -> None:
    rows = Keep()
    with pytest.raises(EngineError, match="broken"):
        Pipeline(Numbers(10_000), Ahead(fail_at=7), sinks=[rows]).run()
    assert [r.frame for r in rows.items] == list(range(7))
    assert no_threads_left()


def test_a_live_frame_does_not_wait_for_the_next_one() -> None:
    source, dots = Numbers(5), Ahead()
    source.live = True  # type: ignore[misc]
    Pipeline(source, dots, sinks=[Keep()]).run()
    assert dots.events == []
    assert dots.batches == [1] * 5


def test_the_tracker_sees_frames_in_order_with_their_times() -> None:
    class Times:
        def __init__(self) -> None:
            self.seen: list[float] = []

        def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
            self.seen.append(now)
            return tuple(p.with_(track=7) for p in poses)

    tracker, rows = Times(), Keep()
    Pipeline(Numbers(5), Dots(), tracker=lambda: tracker, sinks=[rows]).run()
    assert tracker.seen == [0, 0.1, 0.2, 0.3, 0.4]
    assert {r.poses[0].track for r in rows.items} == {7}


def test_the_overlay_never_draws_on_pixels_that_are_not_the_frames_own() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels.flags.writeable = False
    copy = writable(Frame(pixels))
    copy.pixels[0, 0] = 9
    assert pixels.max() == 0
    own = Frame(np.zeros((4, 4, 3), np.uint8))
    assert writable(own) is own


def test_the_overlay_of_a_device_frame_is_drawn_on_a_copy() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    frame = writable(Frame(SimpleNamespace(shape=pixels.shape, get=pixels.copy), index=3))
    frame.pixels[0, 0] = 9
    assert (frame.index, frame.on_device, pixels.max()) == (3, False, 0)


def test_time_for_the_tracker() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    assert frame_time(Frame(pixels, index=3)) == 3.0
    assert frame_time(Frame(pixels, index=3, pts=0.25)) == 0.25
    assert frame_time(Frame(pixels, index=3, pts=0.25, captured=99.5)) == 99.5


def test_a_group_is_inferred_together_and_tracked_apart() -> None:
    class Pair(Numbers):
        live = True

        def batches(self) -> Iterator[list[Frame]]:
            pixels = np.zeros((4, 4, 3), np.uint8)
            for i in range(4):
                yield [Frame(pixels, index=i, source=name) for name in ("a", "b")]

    made: list[object] = []

    class Count:
        def __init__(self) -> None:
            made.append(self)
            self.updates = 0

        def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
            self.updates += 1
            return tuple(p.with_(track=self.updates) for p in poses)

    dots, rows = Dots(), Keep()
    Pipeline(Pair(0), dots, tracker=Count, sinks=[rows]).run()
    assert dots.batches == [2, 2, 2, 2]
    assert len(made) == 2
    assert [(r.source, r.frame, r.poses[0].track) for r in rows.items] == [
        (name, i, i + 1) for i in range(4) for name in ("a", "b")
    ]
