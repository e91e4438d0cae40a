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
        self._rows: dict[int, int] = {}
        # for each track and gesture: is it there, when did it begin, when was it last told, since when is it
        # otherwise, what was its last score
        self._state = np.zeros((5, 0, len(self._hold)))
        self._seen = np.zeros(0)

    def update(
        self, tracks: Sequence[int], scores: Float64Array, now: float
    ) -> tuple[NDArray[np.bool_], Float64Array, Float64Array]:
        """What is there now, its scores and the times when it began, each (N, R), for N different tracks.

        Args:
            tracks: their ids.
            scores: (N, R) of this frame, NaN = cannot be told.
            now: seconds, never less than before.
        """
        rows = self._rows_of(tracks, now)
        state = self._state.take(rows, axis=1)
        there, since, told, other, score = state
        on = there > 0
        unknown = np.isnan(scores)
        np.copyto(score, scores, where=~unknown)
        np.copyto(told, now, where=~unknown)
        want = scores >= np.where(on, END, BEGIN)
        want |= unknown & on & (now - told <= self._memory)
        differs = want != on
        np.copyto(other, np.inf, where=~differs)
        if differs.any():
            np.minimum(other, now, out=other, where=differs)
            turn = differs & (now - other >= self._hold)
            np.copyto(since, other, where=turn & want)
            other[turn] = np.inf
            on ^= turn
            there[:] = on
        self._state[:, rows] = state
        return on, score, since

    def _rows_of(self, tracks: Sequence[int], now: float) -> NDArray[np.intp]:
        new = [track for track in tracks if track not in self._rows]
        if new:
            self._forget(tracks, now)
            at, count = len(self._seen), len(new)
            self._rows.update(zip(new, range(at, at + count), strict=True))
            self._state = np.concatenate([self._state, self._fresh(count, now)], axis=1)
            self._seen = np.append(self._seen, np.full(count, now))
        rows = np.array([self._rows[track] for track in tracks], np.intp)
        late = now - self._seen[rows] > FORGET
        if late.any():
            self._state[:, rows[late]] = self._fresh(int(late.sum()), now)
        self._seen[rows] = now
        return rows

    def _fresh(self, count: int, now: float) -> Float64Array:
        """What is known of tracks that were never seen."""
        start = np.array([0.0, now, now, np.inf, 0.0])[:, None, None]
        return np.broadcast_to(start, (5, count, len(self._hold)))

    def _forget(self, tracks: Sequence[int], now: float) -> None:
        """Give up the rows of tracks that have long been gone."""
        keep = now - self._seen <= FORGET
        keep[[self._rows[track] for track in tracks if track in self._rows]] = True
        if keep.all():
            return
        place = np.cumsum(keep) - 1
        self._rows = {track: int(place[row]) for track, row in self._rows.items() if keep[row]}
        self._state, self._seen = self._state[:, keep], self._seen[keep]
