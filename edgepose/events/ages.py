"""Whether a clock may be believed when it says that something is old: many a board starts with a wrong one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edgepose.events.event import iso_time

log = logging.getLogger(__name__)

DAY = 86400.0


class Ages:
    """Puts off deleting by age where the clock has leapt ahead by more than a day. For one thread.

    At the start that is where nothing happened in the day before; what was written since a wrong start, by
    a program that is started again and again or by a second one, counts for nothing. Later it is where the
    clock went more than a day further than time did. A clock that keeps to it for one round is believed.

    Args:
        wait: seconds between two clean-ups. steady: seconds, of a clock that nobody sets.
    """

    def __init__(self, wait: float, steady: Callable[[], float] = time.monotonic) -> None:
        self._wait, self._steady = wait, steady
        self._last: tuple[float, float] | None = None
        self._until = float("-inf")
        self._said = False

    def doubtful(self, now: float, lived: Callable[[float, float], bool]) -> bool:
        """Whether nothing may be deleted by age now.

        Args:
            now: UTC seconds. lived: whether anything happened from one time to another.
        """
        steady = self._steady()
        if self._last is None:
            leapt = not lived(now - DAY, now - self._wait)
        else:
            wall, then = self._last
            leapt = now - wall - (steady - then) > DAY
        self._last = now, steady
        if leapt:
            self._until, self._said = steady + 0.9 * self._wait, False
        return steady < self._until

    def say(self, what: str, now: float) -> None:
        """Say that something old is kept, once."""
        if not self._said:
            text = "%s: the clock (%s) is more than a day ahead of what was known before. What is too old by it is kept until the next clean-up."
            log.info(text, what, iso_time(now))
        self._said = True
