"""A film as if it were live: in real time, leaving out frames that would come late."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from edgepose.io.base import Source
from edgepose.types import Frame


class Paced(Source):
    """Gives the frames of a film when their time has come.

    Not `live` for the pipeline: its queue lets the next frame be decoded while one is inferred; where that
    queue makes the film late, frames are left out here.

    Args:
        source: the film.
    """

    live = False
    stills = False

    def __init__(self, source: Source) -> None:
        self._source = source
        self.length, self.rate, self.name = source.length, source.rate, source.name
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        late = 1.0 / (self.rate or 30.0)
        start: float | None = None
        before = 0.0
        for frame in self._source:
            pts = before + 1.0 if frame.pts is None else frame.pts
            if start is None or pts < before:  # the first frame, or a film within a folder begins
                start = time.monotonic() - pts
            before = pts
            wait = start + pts - time.monotonic()
            if wait > 0 and self._closed.wait(wait):
                return
            if wait < -1.0:  # a pause of the machine: go on from here, not in a hurry
                start -= wait
            elif wait < -late:
                continue
            yield replace(frame, captured=time.monotonic())

    def close(self) -> None:
        """End the iteration, also from another thread."""
        self._closed.set()
        self._source.close()
