"""Stage times: a stopwatch by name, and percentiles over many frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Milliseconds by stage name for one frame. Not shared between threads."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the block to `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = (time.perf_counter() - start) * 1e3
            self.stages[name] = self.stages.get(name, 0.0) + elapsed


class Statistics:
    """Count, mean and percentiles of a stream of numbers, over the last `keep` of them."""

    def __init__(self, keep: int = 10_000) -> None:
        self._values: deque[float] = deque(maxlen=keep)
        self.count = 0
        self.total = 0.0

    def add(self, value: float) -> None:
        """Add one number."""
        self._values.append(value)
        self.count += 1
        self.total += value

    @property
    def mean(self) -> float:
        """Mean over everything ever added, 0 when nothing was."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, q: float) -> float:
        """The `q`-th percentile (0..100) of the kept numbers by nearest rank, 0 when empty."""
        if not self._values:
            return 0.0
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, max(0, round(q / 100 * (len(ordered) - 1))))]


class RateMeter:
    """Frames a second over a sliding window of seconds."""

    def __init__(self, window: float = 2.0) -> None:
        self._window = window
        self._times: deque[float] = deque()

    def tick(self, now: float | None = None) -> float:
        """Count one frame and return the rate over the window (0 until two frames came)."""
        now = time.monotonic() if now is None else now
        self._times.append(now)
        while self._times and now - self._times[0] > self._window:
            self._times.popleft()
        span = now - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0
