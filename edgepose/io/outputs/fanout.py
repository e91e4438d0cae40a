"""Several outputs at once, none of which can stop the others or the inference.

Each output has a lane: a bounded queue and a thread. Windows and network streams lose the oldest
frame of a full queue and count it; when they fail, that is reported once and they are tried again
after a growing delay. Of a live source, which cannot wait, a file loses frames only when it falls
behind by a longer queue. Where the source is a film, the pipeline waits: for files as long as it
takes, for streams, which play films in their own time, unless they take nothing any more. A file
that fails ends the run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgepose.closing import Worker
from edgepose.errors import EdgeposeError, OutputError
from edgepose.io.backoff import Backoff
from edgepose.io.base import Output
from edgepose.io.jetson_utils import to_host
from edgepose.types import Frame

FILE_FRAMES = 4
LIVE_FILE_FRAMES = 16
STREAM_FRAMES = 2
OUTPUT_CLOSE_SECONDS = 1.0  # of all windows and streams; files may take as long as they need


@dataclass
class LaneCounters:
    """Frames written and dropped, and failures, of one output."""

    written: int = 0
    dropped: int = 0
    failures: int = 0


class Lane:
    """One output behind its own queue and thread.

    Args:
        name: for messages. live: a full queue loses its oldest frame instead of waiting.
        patience: seconds that a film waits for a stream which takes nothing.
        backoff: the delays between tries of a failed stream.
        report: called with {"event": "output_failed" | "output_back", "output": name, ...}.
    """

    def __init__(
        self,
        name: str,
        output: Output,
        *,
        live: bool,
        report: Callable[[dict[str, Any]], None] | None = None,
        patience: float = 2.0,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self.name, self.output = name, output
        self.is_stream = output.drops  # fails and drops without harm
        self.live = live
        self.counters = LaneCounters()
        self.error: EdgeposeError | None = None
        self._report = report
        self._change = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._room = LIVE_FILE_FRAMES if live else FILE_FRAMES
        if self.is_stream:
            self._room = STREAM_FRAMES
        self._stuck = False
        self._closing = self._abandoned = False
        self._patience, self._new_backoff = patience, backoff
        self._backoff = backoff()
        self._not_before = 0.0
        self._thread = Worker(self._run, f"output {name}")
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Queue a frame.

        Raises:
            OutputError: a file has failed.
        """
        with self._change:
            if not self.live:
                self._wait_for_room()
            if self.error is not None:
                raise self.error
            if not self._wanted():
                return
            if len(self._frames) >= self._room:
                self._frames.popleft()
                self.counters.dropped += 1
            self._frames.append(frame)
            self._change.notify_all()

    def _wait_for_room(self) -> None:
        """Until the queue has room; for a stream not for ever, and not again while it is stuck."""
        end = time.monotonic() + self._patience
        while len(self._frames) >= self._room and self._wanted() and not self._stuck:
            self._change.wait(0.5)
            self._stuck = self.is_stream and time.monotonic() > end

    def _wanted(self) -> bool:
        return self.error is None and not self._closing

    def _run(self) -> None:
        try:
            while (frame := self._next()) is not None:
                self._write(frame)
                if self.error is not None:
                    return
        finally:
            self._finish()

    def _next(self) -> Frame | None:
        with self._change:
            while not self._frames and not self._closing:
                self._change.wait()
            if self._abandoned or not self._frames:
                return None
            frame = self._frames.popleft()
            self._stuck = False
            self._change.notify_all()
            return frame

    def _write(self, frame: Frame) -> None:
        if time.monotonic() < self._not_before:
            self.counters.dropped += 1
            return
        try:
            self.output.write(frame)
        except Exception as e:  # one output must not end the others
            self._failed(e)
            return
        self.counters.written += 1
        # one that connects in the background takes frames before it knows whether anybody listens
        if self._not_before and self.output.ready:
            self._not_before, self._backoff = 0.0, self._new_backoff()
            self._say({"event": "output_back"})

    def _failed(self, error: Exception) -> None:
        self.counters.failures += 1
        if not isinstance(error, EdgeposeError):
            error = OutputError(f"{self.name}: {type(error).__name__}: {error}")
        if not self.is_stream:
            with self._change:
                self.error = error
                self._change.notify_all()
            return
        first = not self._not_before
        self._not_before = time.monotonic() + self._backoff.delay()
        if first:
            self._say({"event": "output_failed", "error": str(error)})

    def _say(self, news: dict[str, Any]) -> None:
        if self._report is not None:
            self._report({**news, "output": self.name})

    def _finish(self) -> None:
        try:
            self.output.close()
        except Exception as e:  # one output must not end the others
            if self.error is None:
                self._failed(e)

    def begin_close(self) -> None:
        """Take no more frames; what is queued is still written, unless it is a live stream."""
        with self._change:
            self._closing = True
            self._abandoned = self.is_stream and self.live
            self._change.notify_all()

    def end_close(self, deadline: float) -> None:
        """Wait for the thread; one that is stuck in a stream at the deadline is left behind."""
        rest = max(0.0, deadline - time.monotonic())
        self._thread.join(rest if self.is_stream else None)
        if self.error is not None:
            raise self.error


class FanOut(Output):
    """Writes each frame to every output; see the module's text.

    Args:
        outputs: (name without credentials, output). live: frames come from a live source, which
            nothing may hold up.
        report: called with events of outputs that fail and come back, from their threads.
        patience, backoff: of each `Lane`.
    """

    def __init__(
        self,
        outputs: Sequence[tuple[str, Output]],
        *,
        live: bool = False,
        report: Callable[[dict[str, Any]], None] | None = None,
        patience: float = 2.0,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self.lanes = [
            Lane(name, output, live=live, report=report, patience=patience, backoff=backoff)
            for name, output in outputs
        ]
        self._closed = False

    def write(self, frame: Frame) -> None:
        """Queue a frame for every output; device pixels are copied to the host once, if needed.

        Raises:
            OutputError: a file has failed.
        """
        host: Frame | None = None
        for lane in self.lanes:
            if not frame.on_device or lane.output.takes_device:
                lane.put(frame)
                continue
            if host is None:
                host = replace(frame, pixels=to_host(frame.pixels))
            lane.put(host)

    @property
    def closed(self) -> bool:
        """A window was closed by its user; the other outputs go on."""
        return any(lane.output.closed for lane in self.lanes)

    def counts(self) -> dict[str, dict[str, int]]:
        """Frames written and dropped, and failures, by output name."""
        return {lane.name: asdict(lane.counters) for lane in self.lanes}

    def close(self) -> None:
        """Finish all outputs at once; where Ctrl-C comes meanwhile, call it again.

        Raises:
            OutputError: the first failure of a file.
        """
        if self._closed:
            return
        for lane in self.lanes:
            lane.begin_close()
        failure: EdgeposeError | None = None
        deadline = time.monotonic() + OUTPUT_CLOSE_SECONDS
        for lane in self.lanes:
            try:
                lane.end_close(deadline)
            except EdgeposeError as e:
                failure = failure or e
        self._closed = True
        if failure is not None:
            raise failure
