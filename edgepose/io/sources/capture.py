"""What a camera or stream is to the supervision of `live`: an open connection that gives pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Captured:
    """What a capture read: pixels on demand (a dropped picture is never converted), and a time.

    Attributes:
        load: returns the pixels (uint8 RGB HWC, host or device); called at most once, by the taker.
        pts: seconds from the start, where the source defines them better than the arrival does.
    """

    load: Callable[[], Any]
    pts: float | None = None


class Capture(Protocol):
    """An open connection to a camera or stream; used by one thread, except `interrupt`.

    Attributes:
        rate: frames a second where known, else 0.
    """

    rate: float

    def read(self) -> Captured | None:
        """Wait for the next picture; None at the end of the stream (which is not a loss).

        Raises:
            SourceLost: the source went away.
            SourceTimeout: nothing arrived in time.
            SourceError: what arrived cannot be used.
        """
        ...

    def interrupt(self) -> None:
        """Make a blocked `read` return soon where that is possible; called from other threads."""
        ...

    def close(self) -> None:
        """Release the connection."""
        ...
