"""The journey of a frame, in three overlapping threads.

    read:  io.source
    infer: preprocess -> engine -> decode -> track -> gestures
    write: draw -> io.output
              \\-> io.sinks

Files never drop a frame: bounded queues make the fast stages wait for the slow ones. Live sources
keep only their newest frame by themselves, so they are read where the frame is used, without a queue.
Order is kept. An error in any thread, Ctrl-C or `stop()` ends all three; frames that were already
inferred are still written, and outputs are closed so that they stay valid.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from edgepose.closing import Worker
from edgepose.draw.on_device import DevicePainter
from edgepose.estimators.base import Ahead, Estimator, Finish, OnDevice, detect_every
from edgepose.estimators.expected import Expecting
from edgepose.gestures.beside import Beside
from edgepose.io.base import Output, Sink, Source
from edgepose.io.jetson_utils import to_host
from edgepose.timing import RateMeter, Statistics, Stopwatch
from edgepose.types import Frame, Pose, Result

if TYPE_CHECKING:
    from edgepose.draw.overlay import Overlay

T = TypeVar("T")
POLL = 0.1  # seconds between looks at the stop flag while a queue is full or empty


class Follower(Protocol):
    """What the pipeline needs of a tracker, or of what finds gestures."""

    def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
        """The poses with what is known of them from earlier frames, too."""
        ...


@runtime_checkable
class Group(Protocol):
    """A source of several live sources, which gives frames of different ones together."""

    def batches(self) -> Iterator[Sequence[Frame]]:
        """Frames to infer in one run, at most one of each source, in each source's order."""
        ...


@dataclass
class Summary:
    """What a run did; filled while it runs, so that progress can be shown from it.

    Attributes:
        frames, poses: written frames and poses found in them.
        seconds: wall time.
        stages: statistics of milliseconds by stage name.
        rate: frames a second over the last two seconds.
        interrupted: Ctrl-C ended it.
    """

    frames: int = 0
    poses: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    stages: dict[str, Statistics] = field(default_factory=dict)
    interrupted: bool = False

    def count(self, result: Result) -> None:
        """Add one written frame."""
        self.frames += 1
        self.poses += len(result.poses)
        for name, value in result.stages.items():
            self.stages.setdefault(name, Statistics()).add(value)


class _Queue(Generic[T]):
    """A bounded queue whose both ends give up when `stop` is set."""

    def __init__(self, size: int, stop: threading.Event) -> None:
        self._items: queue.Queue[T | None] = queue.Queue(size)
        self._stop = stop

    def put(self, item: T | None) -> bool:
        """False where the run was stopped before there was room."""
        while not self._stop.is_set():
            try:
                self._items.put(item, timeout=POLL)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[T]:
        """Items until the None that ends them; what is already queued is still given after a stop."""
        while True:
            try:
                item = self._items.get(timeout=POLL)
            except queue.Empty:
                if self._stop.is_set():
                    return
                continue
            if item is None:
                return
            yield item


@dataclass
class _Job:
    """A frame on its way, with what is known of it so far."""

    frame: Frame
    watch: Stopwatch
    poses: tuple[Pose, ...] = ()


_Run = tuple[list[_Job], Stopwatch, Finish]  # frames under way, their time, what waits for them


class Pipeline:
    """Source to outputs and sinks.

    Args:
        source: where frames come from.
        estimator: what finds poses.
        overlay: draws into the frames that outputs get; None = nothing is drawn.
        tracker: makes what gives poses their track ids; one for each source of a group, called in
            frame order. gestures: makes what gives them their gestures, likewise.
        outputs, sinks: where pictures and data go.
        depth: frames that may wait between two stages.
        on_result: called in the write thread with each (frame, result), before the outputs.
    """

    def __init__(
        self,
        source: Source,
        estimator: Estimator,
        *,
        overlay: Overlay | None = None,
        tracker: Callable[[], Follower] | None = None,
        gestures: Callable[[], Follower] | None = None,
        outputs: Sequence[Output] = (),
        sinks: Sequence[Sink] = (),
        depth: int = 3,
        on_result: Callable[[Frame, Result], None] | None = None,
    ) -> None:
        self.source = source
        self.estimator = estimator
        every = detect_every(estimator)
        # where people are expected the poses of a frame are needed for the next one
        self._finder = Expecting(estimator, every) if every > 1 else estimator
        self.overlay = overlay
        wanted = (("track", tracker), ("gestures", gestures))
        self._followers = [(stage, make) for stage, make in wanted if make is not None]
        self._made: dict[tuple[str, str], Follower] = {}
        self._per_source = isinstance(source, Group)
        self._planes = isinstance(estimator, OnDevice) and estimator.on_device
        self.outputs = outputs
        self.sinks = sinks
        self.summary = Summary()
        self._on_result = on_result
        self._stop = threading.Event()  # no new frames
        self._written = threading.Event()  # the write stage has ended, in order or not
        self._frames: _Queue[_Job] = _Queue(depth, self._stop)
        self._found: _Queue[_Job] = _Queue(depth, self._written)
        self._error: BaseException | None = None
        self._rate = RateMeter()
        self._painter = DevicePainter()

    def stop(self) -> None:
        """End the run from any thread: no new frames, what was inferred is still written."""
        self._stop.set()
        self.source.close()

    def run(self, tick: Callable[[Summary], None] | None = None) -> Summary:
        """Run to the end of the source; `tick` is called ten times a second from this thread.

        Ctrl-C ends the run in order and sets `summary.interrupted`.

        Raises:
            EdgeposeError: the first error of any stage, after the others have ended.
        """
        start = time.monotonic()
        stages = (self._read, self._infer, self._write)
        threads = [
            Worker(partial(self._guard, stage), stage.__name__, self.stop) for stage in stages
        ]
        while True:
            try:  # around the start and the whole wait: the signal may come anywhere in it
                for thread in threads:
                    if not thread.begun:
                        thread.start()
                self._wait(threads, start, tick)
                break
            except KeyboardInterrupt:
                if self.summary.interrupted:
                    raise
                self.summary.interrupted = True
                self.stop()
        self.summary.seconds = time.monotonic() - start
        if self._error is not None:
            raise self._error
        return self.summary

    def results(self) -> Iterator[tuple[Frame, Result]]:
        """Run in threads of its own, and give each frame with its result to who asks for the next.

        Frames wait for who takes them (live sources drop theirs meanwhile). Closing the iterator, or an
        exception in its loop, ends the run.

        Raises:
            EdgeposeError: the first error of any stage.
        """
        gone = threading.Event()
        taken: _Queue[tuple[Frame, Result]] = _Queue(1, gone)

        def take(frame: Frame, result: Result) -> None:
            taken.put((frame, result))

        def work() -> None:
            try:
                self.run()
            except BaseException as e:
                self._error = self._error or e
            finally:
                taken.put(None)

        def stop() -> None:
            gone.set()
            self.stop()

        self._on_result = take
        thread = Worker(work, "results", stop)
        thread.start()
        try:
            yield from taken
            if self._error is not None:
                raise self._error
        finally:
            stop()
            thread.join()

    def _wait(
        self,
        threads: Sequence[Worker],
        start: float,
        tick: Callable[[Summary], None] | None,
    ) -> None:
        while any(t.is_alive() for t in threads):
            threads[-1].join(POLL)
            self.summary.seconds = time.monotonic() - start
            if tick:
                tick(self.summary)

    def _guard(self, stage: Callable[[], None]) -> None:
        """Run a stage; its first error stops the run and is raised again by `run`.

        A read that fails after the stop fails because of it (the source was closed under it).
        """
        try:
            stage()
        except BaseException as e:
            stopped = self._stop.is_set() and stage == self._read
            if self._error is None and not stopped:
                self._error = e
            self.stop()
        finally:
            if stage == self._infer:
                self._found.put(None)
                for follower in self._made.values():
                    if isinstance(follower, Beside):
                        follower.close()
            if stage == self._write:
                self._written.set()
                self._stop.set()
                self._painter.close()

    # the three stages ---------------------------------------------------------------------------
    def _read(self) -> None:
        if self.source.live:
            return  # read where it is used, so that no frame grows old in a queue
        for job in self._timed_frames():
            if not self._frames.put(job):
                return
        self._frames.put(None)

    def _timed_frames(self) -> Iterator[_Job]:
        frames = iter(self.source)
        while not self._stop.is_set():
            watch = Stopwatch()
            with watch.stage("decode"):
                frame = next(frames, None)
                if frame is not None and not self._planes:
                    frame = replace(frame, pixels=frame.pixels)  # here, beside the network
            if frame is None:
                return
            yield _Job(frame, watch)

    def _infer(self) -> None:
        ahead = 0
        if isinstance(self._finder, Ahead) and not self.source.live:
            ahead = self._finder.ahead  # a live frame is not kept waiting for the next one
        under_way: deque[_Run] = deque()
        for jobs in self._batches():
            if self._written.is_set():
                return
            try:
                under_way.append(self._begin(jobs, ahead))
            except BaseException:
                self._finish(under_way)  # what fails are the frames behind these
                raise
            if len(under_way) > ahead:
                self._finish([under_way.popleft()])
        self._finish(under_way)

    def _begin(self, jobs: list[_Job], ahead: int) -> _Run:
        """Start on frames; where the estimator can, the GPU goes on with them by itself."""
        watch, finder = Stopwatch(), self._finder
        frames = [job.frame for job in jobs]
        if ahead and isinstance(finder, Ahead):
            return jobs, watch, finder.begin(frames, watch)
        found = finder.estimate(frames, watch)
        return jobs, watch, lambda: found

    def _finish(self, runs: Iterable[_Run]) -> None:
        for jobs, shared, finish in runs:
            found = finish()
            for job, poses in zip(jobs, found, strict=True):
                job.watch.stages.update({k: v / len(jobs) for k, v in shared.stages.items()})
                job.poses = self._follow(job, poses)
                self._found.put(job)  # the write stage outlives a stop: no inferred frame is lost

    def _batches(self) -> Iterator[list[_Job]]:
        """Frames that share a run of the network: one at a time, unless the source is a group."""
        if isinstance(self.source, Group):
            for batch in self.source.batches():
                yield [_Job(frame, Stopwatch()) for frame in batch]
            return
        for job in self._timed_frames() if self.source.live else self._frames:
            yield [job]

    def _follow(self, job: _Job, poses: tuple[Pose, ...]) -> tuple[Pose, ...]:
        source = job.frame.source if self._per_source else ""
        for stage, make in self._followers:
            if (stage, source) not in self._made:
                self._made[stage, source] = self._never_late(make())
            with job.watch.stage(stage):
                poses = self._made[stage, source].update(poses, frame_time(job.frame))
        return poses

    def _never_late(self, follower: Follower) -> Follower:
        """It, or what keeps live frames from waiting for it."""
        return (
            Beside(follower) if self.source.live and getattr(follower, "heavy", False) else follower
        )

    def _write(self) -> None:
        for job in self._found:
            result = result_of(job.frame, job.poses, self.estimator, job.watch.stages)
            if self._on_result:
                self._on_result(job.frame, result)
            frame = self._draw(job, result)
            with job.watch.stage("output"):
                for output in self.outputs:
                    output.write(frame)
                for sink in self.sinks:
                    sink.write(result)
            self.summary.rate = self._rate.tick()
            self.summary.count(replace(result, stages=job.watch.stages))

    def _draw(self, job: _Job, result: Result) -> Frame:
        if self.overlay is None or not self.outputs:
            return job.frame
        with job.watch.stage("overlay"):
            frame = job.frame
            if frame.on_device and self._painter.draw(self.overlay, frame.pixels, job.poses):
                return frame
            frame = writable(frame)
            self.overlay.draw(frame.pixels, job.poses, overlay_stats(result, self.summary.rate))
        return frame


def result_of(
    frame: Frame, poses: tuple[Pose, ...], estimator: Estimator, stages: Mapping[str, float]
) -> Result:
    """What was found in a frame, with what found it and the milliseconds by stage."""
    return Result(
        frame=frame.index,
        width=frame.width,
        height=frame.height,
        poses=poses,
        pts=frame.pts,
        source=frame.source,
        name=frame.name,
        network=estimator.manifest.name,
        engine=estimator.engine_name,
        inference_ms=stages.get("network", 0.0),
        stages=stages,
    )


def frame_time(frame: Frame) -> float:
    """Seconds for the tracker: presentation time of films, arrival of live frames, else the index."""
    if frame.captured is not None:
        return frame.captured
    return frame.pts if frame.pts is not None else float(frame.index)


def writable(frame: Frame) -> Frame:
    """The frame itself where its host pixels may be drawn on, else one with a copy of them."""
    pixels = to_host(frame.pixels)
    if not (pixels.flags.writeable and pixels.flags.c_contiguous):
        pixels = np.array(pixels, np.uint8, order="C")
    return frame if pixels is frame.pixels else replace(frame, pixels=pixels)


def overlay_stats(result: Result, rate: float) -> dict[str, object]:
    """What the `stats` word of the overlay shows; no rate while there is none to tell."""
    stats: dict[str, object] = {
        "frame": result.frame,
        "inference_ms": result.inference_ms,
        "poses": len(result.poses),
    }
    return {**stats, "fps": rate} if rate > 0 else stats
