"""Growing delays between tries to reach what went away."""

from __future__ import annotations

import random

FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
STABLE_SECONDS = 1.0
GROWTH = 1.5


class Backoff:
    """Delays between tries: 0.25 s, growing by half to 30 s, each times a random 0.75 to 1.25.

    Growing by half rather than doubling finds a server that was away for some seconds again within
    half of that time. The jitter keeps many clients from knocking in step after its restart.
    """

    def __init__(
        self,
        first: float = FIRST_DELAY,
        longest: float = LONGEST_DELAY,
        jitter: float = 0.25,
        random_: random.Random | None = None,
    ) -> None:
        self._first, self._longest, self._jitter = first, longest, jitter
        self._random = random_ or random.Random()
        self._next = first

    def delay(self) -> float:
        """The next delay in seconds."""
        base = self._next
        self._next = min(self._longest, base * GROWTH)
        return min(self._longest, base * self._random.uniform(1 - self._jitter, 1 + self._jitter))

    def lived(self, seconds: float) -> None:
        """A connection delivered for so long: start over, unless it is one that dies at once."""
        if seconds >= STABLE_SECONDS:
            self._next = self._first
