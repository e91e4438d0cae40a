"""Several live sources through one engine: dynamic batches with a deadline.

A batch starts with the first frame that is there and waits at most `deadline` seconds for the other
sources, and only for those that are connected. Each source has at most one frame in a batch, always
its newest, so a fast one cannot crowd out a slow one; where the batch is smaller than the number of
sources, they take turns. A source that is lost or over holds nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from edgepose.closing import Closing
from edgepose.errors import SourceError
from edgepose.types import Frame

POLL_SECONDS = 0.25  # sources also want to be looked at while nothing comes: their watchdogs


class PolledSource(Protocol):
    """What the batcher needs of a source; `io.sources.live.LiveSource` is one."""

    name: str
    rate: float

    @property
    def ended(self) -> bool:
        """No frame will come any more."""
        ...

    @property
    def lost(self) -> bool:
        """There is no connection now."""
        ...

    def poll(self) -> Frame | None:
        """The newest frame where there is one; does not wait."""
        ...

    def counts(self) -> dict[str, dict[str, int]]:
        """What happened so far, by name."""
        ...

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Be called (from any thread) when there may be a new frame."""
        ...

    def close(self) -> None:
        """Release the source."""
        ...


class DynamicBatcher(Closing):
    """A group of live sources; a Source itself, and the pipeline's `Group`.

    Args:
        sources: the live sources. size: frames in a batch at most, 0 = as many as sources.
        deadline: seconds that the first frame of a batch waits for the others.
        on_error: called with (source name, error) when a source fails for good, the others going
            on; None = raise. When all have failed the last error is raised in any case.
    """

    live = True
    length: int | None = None
    stills = False
    paths: tuple[str, ...] = ()
    sound = ""

    def __init__(
        self,
        sources: Sequence[PolledSource],
        *,
        size: int = 0,
        deadline: float = 0.005,
        on_error: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.name = "+".join(s.name for s in sources)
        self.rate = max((s.rate for s in sources), default=0.0)
        self._size = min(size or len(sources), len(sources))
        self._deadline, self._on_error = deadline, on_error
        self._running = list(sources)
        self._turn = 0
        self._closed = False
        self._failed = 0
        self._news = threading.Event()
        for source in sources:
            source.subscribe(self._news.set)

    def batches(self) -> Iterator[list[Frame]]:
        """Frames to infer in one run, at most one of each source, until all sources are over.

        Raises:
            SourceError: a source failed and there is no `on_error`, or all have failed.
        """
        while not self._closed:
            batch: list[Frame] = []
            taken: set[int] = set()
            self._collect(batch, taken)
            if batch:
                self._wait_for_others(batch, taken)
                yield batch
            elif not self._running:
                return
            else:
                self._news.wait(POLL_SECONDS)

    def _wait_for_others(self, batch: list[Frame], taken: set[int]) -> None:
        end = time.monotonic() + self._deadline
        while len(batch) < self._expected() and not self._closed:
            rest = end - time.monotonic()
            if rest <= 0 or not self._news.wait(rest):
                return
            self._collect(batch, taken)

    def _expected(self) -> int:
        """Frames that a full batch would have now."""
        return min(self._size, sum(not s.lost for s in self._running))

    def _collect(self, batch: list[Frame], taken: set[int]) -> None:
        """Add the newest frame of each source that has one and is not in the batch yet."""
        self._news.clear()
        start = self._turn
        for i in range(len(self.sources)):
            if len(batch) >= self._size:
                return
            number = (start + i) % len(self.sources)
            source = self.sources[number]
            if number in taken or source not in self._running:
                continue
            frame = self._poll(source)
            if frame is not None:
                batch.append(frame)
                taken.add(number)
                self._turn = (number + 1) % len(self.sources)

    def _poll(self, source: PolledSource) -> Frame | None:
        try:
            frame = source.poll()
        except SourceError as e:
            self._running.remove(source)
            self._failed += 1
            if self._on_error is None or self._failed == len(self.sources):
                raise
            self._on_error(source.name, e)
            return None
        if frame is None and source.ended:
            self._running.remove(source)
        return frame

    def __iter__(self) -> Iterator[Frame]:
        for batch in self.batches():
            yield from batch

    def counts(self) -> dict[str, dict[str, int]]:
        """Read, taken, dropped, late... by source name."""
        return {name: numbers for s in self.sources for name, numbers in s.counts().items()}

    def close(self) -> None:
        """Close all sources; from any thread."""
        self._closed = True
        self._news.set()
        closers = [threading.Thread(target=s.close) for s in self.sources]
        for closer in closers:  # at once: each may take up to a second
            closer.start()
        for closer in closers:
            closer.join()
