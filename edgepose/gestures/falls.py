"""Falls: who lies, has lain for a while, and was upright a moment before.

The score tells how sure it is that somebody fell rather than lay down: it is less the longer it took to get
down, and never more than that of lying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan

from edgepose.gestures.rule import TRUE

STAYS = 2.0  # seconds of lying until it is a fall
QUICK, SLOW = 1.0, 2.5  # seconds from upright to lying: a fall for sure, no fall at all
DOUBT = 1.0  # seconds of something else than lying, or nothing to tell, that do not end it
UPRIGHT = 25.0  # degrees of the torso at most
FORGET = 10.0  # seconds


@dataclass
class _Down:
    """Since when a track lies, when it was upright before, and when it was last seen lying."""

    began: float
    upright: float
    lying: float

    def __post_init__(self) -> None:
        took = self.began - self.upright
        self.sure = max(0.0, min(1.0, (SLOW - took) / (SLOW - QUICK)))


class Falls:
    """Remembers who was upright, and who lies since when."""

    def __init__(self) -> None:
        self._upright: dict[int | None, float] = {}
        self._down: dict[int | None, _Down] = {}

    def update(
        self,
        tracks: Sequence[int | None],
        lying: Sequence[float],
        tilt: Sequence[float],
        now: float,
    ) -> list[float]:
        """Scores 0..1 of having fallen, NaN = cannot be told.

        Args:
            tracks: ids. lying: scores of lying. tilt: of the torso in degrees; NaN = cannot be told.
            now: seconds.
        """
        scores = []
        down, upright = self._down, self._upright
        for track, lies, angle in zip(tracks, lying, tilt, strict=True):
            if (lies >= TRUE or track in down) and track is not None:
                scores.append(self._score(track, lies, now))
            else:
                scores.append(lies * 0.0)  # NaN stays NaN
                if angle < UPRIGHT:
                    upright[track] = now
        if len(self._upright) > 2 * len(tracks) + 20:
            self._forget(now)
        return scores

    def _score(self, track: int, lies: float, now: float) -> float:
        body = self._down.get(track)
        if body is None:
            body = self._down[track] = _Down(now, self._upright.get(track, -inf), now)
        if lies >= TRUE:
            body.lying = now
        elif now - body.lying > DOUBT:
            del self._down[track]
            return lies * 0.0
        if now - body.began < STAYS:
            return 0.0
        return min(lies, body.sure) if lies >= TRUE else nan

    def _forget(self, now: float) -> None:
        self._upright = {k: seen for k, seen in self._upright.items() if now - seen < FORGET}
        self._down = {k: body for k, body in self._down.items() if now - body.lying < FORGET}
