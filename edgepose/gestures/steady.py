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
        # of the tracks of the frame before, which mostly are those of the next one, too: for each gesture, whether it
        # is there; when it began, when it was last told, since when it is otherwise, what was its last score
        self._tracks: list[int] = []
        self._on = np.zeros((0, len(self._hold)), bool)
        self._state = np.zeros((4, 0, len(self._hold)))
        self._bar = np.zeros(0)  # what a score must be
        self._now = 0.0
        # of the others: when they were seen, and the same
        self._away: dict[int, tuple[float, NDArray[np.bool_], Float64Array]] = {}

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
        on, (since, told, other, score) = self._on, self._state
        known = scores == scores
        np.copyto(score, scores, where=known)
        np.copyto(told, now, where=known)
        want = scores >= self._bar
        hidden = on > known
        if np.count_nonzero(hidden):
            want |= hidden & (now - told <= self._memory)
        differs = want != on
        np.copyto(other, np.inf, where=~differs)
        if np.count_nonzero(differs):
            np.minimum(other, now, out=other, where=differs)
            turn = differs & (now - other >= self._hold)
            np.copyto(since, other, where=turn & want)
            np.copyto(other, np.inf, where=turn)
            on ^= turn
            self._bar = np.where(on, END, BEGIN)
        return on.copy(), score, since

    def _change(self, tracks: Sequence[int], now: float) -> None:
        """Put the tracks of the frame before away, and take out those of this one."""
        for i, track in enumerate(self._tracks):
            self._away[track] = self._now, self._on[i].copy(), self._state[:, i].copy()
        start = np.array([now, now, np.inf, 0.0])[:, None]
        fresh = now, np.zeros(len(self._hold), bool), np.broadcast_to(start, (4, len(self._hold)))
        rows = [self._away.pop(track, fresh) for track in tracks]
        rows = [row if now - row[0] <= FORGET else fresh for row in rows]
        self._away = {t: row for t, row in self._away.items() if now - row[0] <= FORGET}
        self._tracks, self._on = list(tracks), np.stack([on for _, on, _ in rows])
        self._state = np.stack([state for _, _, state in rows], axis=1)
        self._bar = np.where(self._on, END, BEGIN)
