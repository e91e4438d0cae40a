"""From scores frame by frame to gestures that begin, last and end: hysteresis over time, a row a track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Float64Array

# a gesture begins at the higher score and ends below the lower one
BEGIN, END = 0.6, 0.4
FORGET = 10.0  # seconds after which a track that is not seen is forgotten


class Steady:
    """Remembers for each track which gestures are there.

    Args:
        hold: seconds for which a gesture must be seen, or not be seen, until it begins or ends; (R,).
        memory: seconds for which it goes on while it cannot be told; (R,).
    """

    def __init__(self, hold: Sequence[float], memory: Sequence[float]) -> None:
        self._hold, self._memory = np.array(hold), np.array(memory)
        # for each track and gesture: is it there, when did it begin, when was it last told, since when is it
        # otherwise, what was its last score; of the tracks of the frame before, mostly those of the next one, too
        self._tracks: list[int] = []
        self._state = np.zeros((5, 0, len(self._hold)))
        self._now = 0.0
        # of the others, (5, R) each, and when they were seen
        self._away: dict[int, tuple[float, Float64Array]] = {}

    def update(
        self, tracks: Sequence[int], scores: Float64Array, now: float
    ) -> tuple[NDArray[np.bool_], Float64Array, Float64Array]:
        """What is there now, its scores and the times when it began, each (N, R), for N different tracks.

        Args:
            tracks: their ids.
            scores: (N, R) of this frame, NaN = cannot be told.
            now: seconds, never less than before.
        """
        if tracks != self._tracks or now - self._now > FORGET:
            self._change(tracks, now)
        self._now = now
        there, since, told, other, score = self._state
        on, known = there > 0, scores == scores
        np.copyto(score, scores, where=known)
        np.copyto(told, now, where=known)
        want = scores >= np.where(on, END, BEGIN)
        hidden = on > known
        if np.count_nonzero(hidden):
            want |= hidden & (now - told <= self._memory)
        differs = want != on
        np.copyto(other, np.inf, where=~differs)
        if np.count_nonzero(differs):
            np.minimum(other, now, out=other, where=differs)
            turn = differs & (now - other >= self._hold)
            np.copyto(since, other, where=turn & want)
            other[turn] = np.inf
            on ^= turn
            there[:] = on
        return on, score, since

    def _change(self, tracks: Sequence[int], now: float) -> None:
        """Put the tracks of the frame before away, and take out those of this one."""
        for i, track in enumerate(self._tracks):
            self._away[track] = self._now, self._state[:, i].copy()
        known = {track: self._away.pop(track, None) for track in tracks}
        fresh = np.array([0.0, now, now, np.inf, 0.0])[:, None]
        fresh = np.broadcast_to(fresh, (5, len(self._hold)))
        states = [
            fresh if one is None or now - one[0] > FORGET else one[1] for one in known.values()
        ]
        self._away = {t: one for t, one in self._away.items() if now - one[0] <= FORGET}
        self._tracks, self._state = list(tracks), np.stack(states, axis=1)
