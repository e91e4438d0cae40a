"""Streams with an end that come through PyAV: files behind http, encoded video on stdin.

Every frame counts, as with files on disk: the reader waits for inference, nothing is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

from edgepose.closing import Worker
from edgepose.errors import SourceError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.sources.av_capture import AvCapture
from edgepose.io.sources.span import Span
from edgepose.types import Frame

log = logging.getLogger(__name__)

T = TypeVar("T")


class WholeSource(Source):
    """Every frame of a capture that ends.

    Args:
        opener: opens the stream; called again for each pass of a loop.
        options: `loop`, `start` and `frames` are used.
        uri: what to call the source. name: for `{name}`.
        first: the capture of the first pass where it is open already.
        again: the stream can be opened more than once.
    """

    live = False
    stills = False

    def __init__(
        self,
        opener: Callable[[], AvCapture],
        options: SourceOptions,
        *,
        uri: str,
        name: str,
        first: AvCapture | None = None,
        again: bool = True,
    ) -> None:
        if not again and options.loop not in (0, 1):
            raise SourceError(f"{uri} can be read only once; leave out --loop.")
        self.uri, self.name = uri, name
        self._opener, self._span = opener, Span.of(options)
        self._capture: AvCapture | None = first or opener()
        self.rate = self._capture.rate
        seconds = self._capture.seconds
        self.length = self._span.length(round(seconds * self.rate) if seconds else None)
        self._current: AvCapture | None = None
        self._closed = False
        self._pts0 = self._last_pts = 0.0

    def __iter__(self) -> Iterator[Frame]:
        given = passes = index = 0
        self._pts0 = 0.0
        while not self._closed and passes != self._span.passes:
            before = given
            for frame in self._one_pass(index):
                index = frame.index + 1
                yield frame
                given += 1
                if given == self._span.frames:
                    return
            if given == before:
                return
            passes += 1
            self._pts0 += self._last_pts + (1 / self.rate if self.rate else 0.0)

    def _one_pass(self, offset: int) -> Iterator[Frame]:
        capture, self._capture = self._capture or self._opener(), None
        self._current = capture
        try:
            index = 0
            while not self._closed and (picture := capture.read()) is not None:
                if index >= self._span.start:
                    yield self._frame(picture.load(), index, offset, capture)
                index += 1
            if not self._closed:
                self._check(index, capture, first=not offset)
        finally:
            capture.close()

    def _check(self, count: int, capture: AvCapture, first: bool) -> None:
        """What came to its end gave pictures, and about as long as it says."""
        if not count:
            hint = " An MP4 whose index stands last needs a server that sends ranges: store it in a file."
            raise SourceError(
                f"{self.uri} holds no frame that can be read.{hint if '://' in self.uri else ''}"
            )
        if first and (missing := capture.missing):
            log.warning("%s ended %.1f s before its end: it was cut.", self.uri, missing)

    def _frame(self, pixels: object, number: int, offset: int, capture: AvCapture) -> Frame:
        pts = capture.last_time
        if pts is None and self.rate:
            pts = number / self.rate
        self._last_pts = pts or 0.0
        return Frame(
            pixels, number + offset, None if pts is None else pts + self._pts0, self.uri, self.name
        )

    def close(self) -> None:
        """End the iteration at its next frame."""
        self._closed = True
        if self._current is not None:
            self._current.interrupt()
        if self._capture is not None:
            self._capture.close()
            self._capture = None


def interruptible(work: Callable[[], T], stop: Callable[[], object] | None = None) -> T:
    """Run blocking work in a thread of its own, so that signals still reach the caller.

    Args:
        stop: makes the work end, see `closing.Worker`.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as e:
            failure.append(e)

    worker = Worker(run, "open", stop)
    try:
        worker.start()
        worker.join()
    except BaseException:
        worker.stop()
        raise
    if failure:
        raise failure[0]
    return outcome[0]
