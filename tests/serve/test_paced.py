"""Films in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np

from edgepose.io.base import Source
from edgepose.serve.paced import Paced
from edgepose.types import Frame


class Film(Source):
    """Frames without pictures, `rate` a second."""

    live = stills = False
    name = "film"

    def __init__(self, frames: int, rate: float) -> None:
        self.length, self.rate = frames, rate
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        pixels = np.zeros((4, 4, 3), np.uint8)
        for i in range(self.length):
            yield Frame(pixels, i, i / self.rate)

    def close(self) -> None:
        self.closed = True


def test_no_frame_comes_before_its_time() -> None:
    start = time.monotonic()
    for frame in Paced(Film(10, 50.0)):
        assert frame.pts is not None
        assert frame.captured is not None
        assert frame.captured - start >= frame.pts


def test_a_slow_reader_misses_frames_but_stays_in_time() -> None:
    taken = []
    for frame in Paced(Film(100, 100.0)):
        taken.append(frame.index)
        last = time.monotonic()
        time.sleep(0.05)  # five frame times
    # of the last sleep, in which the film ends
    overslept = max(0.0, time.monotonic() - last - 0.05)
    assert len(taken) < 50
    assert taken == sorted(set(taken))
    assert taken[0] == 0
    assert taken[-1] > 90 - 100 * overslept


def test_closing_ends_the_wait_for_the_next_frame() -> None:
    film = Film(2, 0.001)  # the second frame is due in a quarter of an hour
    paced = Paced(film)
    threading.Timer(0.1, paced.close).start()
    assert [f.index for f in paced] == [0]
    assert film.closed
