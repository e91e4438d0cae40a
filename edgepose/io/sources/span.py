"""Which frames of a file are asked for: `--start`, `--frames` and `--input-loop`."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.errors import UsageError
from edgepose.io.base import SourceOptions


@dataclass(frozen=True)
class Span:
    """Frames from `start` on in every pass, at most `frames` in all (0 = all), `passes` times.

    `passes` is None for ever.
    """

    start: int
    frames: int
    passes: int | None

    @classmethod
    def of(cls, options: SourceOptions) -> Span:
        """From the options; a loop of 0 and of 1 are both one pass, -1 is for ever.

        Raises:
            UsageError: a negative start or count, or a loop below -1.
        """
        if options.start < 0 or options.frames < 0:
            raise UsageError("The start frame and the number of frames count from 0 upwards.")
        if options.loop < -1:
            raise UsageError(f"Loop {options.loop} is not -1 (for ever), 0 (once) or a count.")
        passes = None if options.loop == -1 else max(1, options.loop)
        return cls(options.start, options.frames, passes)

    def length(self, total: int | None) -> int | None:
        """Number of frames that a file of `total` frames gives, None where nobody knows."""
        if total is None or (self.passes is None and not self.frames):
            return None
        one = max(0, total - self.start)
        if self.passes is None:
            return self.frames if one else 0
        count = one * self.passes
        return min(count, self.frames) if self.frames else count
