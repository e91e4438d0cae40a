"""How tracked people moved in the last seconds: windows of poses, for all of them in a few operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.gestures.features import MOMENTS
from edgepose.types import AnyArray, Float64Array

AWAY = 2.0  # seconds after which a track that is not seen starts a new window
_FRAMES, _PEOPLE = 64, 8  # room at the start; it grows where it must


def moments_of(
    times: Float64Array, seen: NDArray[np.bool_], back: Float64Array
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For N people the frames nearest to some moments, and whether they are near enough; both (N, moments).

    Args:
        times: (T,) of frames in seconds, rising. seen: (T, N) who was seen in them.
        back: (moments,) evenly, seconds before the last frame; a frame counts within half a step.
    """
    apart = np.abs(times - (times[-1] - back)[:, None])
    apart = np.where(seen.T[:, None], apart, np.inf)
    return apart.argmin(axis=2), apart.min(axis=2) <= 0.5 * (back[1] - back[0])


def back_of(window: float) -> Float64Array:
    """The moments of a window of so many seconds, seconds before now."""
    return np.arange(MOMENTS, dtype=np.float64) * (window / (MOMENTS - 1))


def window_of(times: Sequence[float], poses: Sequence[Float64Array], window: float) -> Float64Array:
    """Poses (moments, K, 2) evenly over the `window` seconds before the last one, newest first.

    Each is the one that was seen nearest to its moment; NaN where none was seen within half a step.
    """
    seen = np.ones((len(poses), 1), bool)
    ((nearest,), (near,)) = moments_of(np.array(times), seen, back_of(window))
    return np.where(near[:, None, None], np.array(poses)[nearest], np.nan)


class Past:
    """Remembers the poses of each track for as long as a window needs them.

    Args:
        window: seconds. keypoints: K.
    """

    def __init__(self, window: float, keypoints: int) -> None:
        self._back, self._keep = back_of(window), 1.5 * window + 0.2
        # of the frames from the first to the end, in their order: time, who was seen, where
        self._first = self._end = 0
        self._times = np.zeros(_FRAMES)
        self._seen = np.zeros((_FRAMES, _PEOPLE), bool)
        self._poses = np.zeros((_FRAMES, _PEOPLE, keypoints, 2))
        # of tracks: their columns, and when they were seen
        self._columns: dict[int, int] = {}
        self._last = np.full(_PEOPLE, -np.inf)

    def update(self, tracks: Sequence[int], poses: Float64Array, now: float) -> Float64Array:
        """Windows (N, moments, K, 2) that end with these poses, newest first; NaN where nothing was seen.

        Args:
            tracks: N different ids. poses: (N, K, 2). now: seconds, never less than before.
        """
        columns = self._columns_of(tracks, now)
        row = self._row(now)
        self._times[row], self._seen[row] = now, False
        self._seen[row, columns], self._poses[row, columns] = True, poses
        frames = slice(self._first, self._end)
        nearest, near = moments_of(self._times[frames], self._seen[frames][:, columns], self._back)
        windows = self._poses[self._first + nearest, columns[:, None]]
        windows[~near] = np.nan
        return windows

    def _columns_of(self, tracks: Sequence[int], now: float) -> NDArray[np.intp]:
        new = [track for track in tracks if track not in self._columns]
        if new:
            self._make_room(new, now)
        columns = np.array([self._columns[track] for track in tracks], np.intp)
        self._seen[:, columns[now - self._last[columns] > AWAY]] = False
        self._last[columns] = now
        return columns

    def _make_room(self, new: Sequence[int], now: float) -> None:
        """Give new tracks the columns of those that are gone, or more."""
        self._columns = {t: c for t, c in self._columns.items() if now - self._last[c] <= AWAY}
        free = sorted(set(range(len(self._last))) - set(self._columns.values()))
        more = max(0, len(new) - len(free))
        if more:
            free += range(len(self._last), len(self._last) + more)
            self._last = np.pad(self._last, (0, more), constant_values=-np.inf)
            self._seen = np.pad(self._seen, ((0, 0), (0, more)))
            self._poses = np.pad(self._poses, ((0, 0), (0, more), (0, 0), (0, 0)))
        taken = free[: len(new)]
        self._columns.update(zip(new, taken, strict=True))
        self._last[taken] = -np.inf  # what was seen there was somebody else

    def _row(self, now: float) -> int:
        """The row of a new frame, after what is too old was given up."""
        while self._first < self._end and now - self._times[self._first] > self._keep:
            self._first += 1
        if self._end == len(self._times):
            # twice as many rows as are needed: moving them is rare
            count = self._end - self._first
            more = len(self._times) if count > len(self._times) // 2 else 0
            self._times, self._seen, self._poses = (
                _moved_up(rows, self._first, more)
                for rows in (self._times, self._seen, self._poses)
            )
            self._first, self._end = 0, count
        self._end += 1
        return self._end - 1


def _moved_up(rows: AnyArray, first: int, more: int) -> AnyArray:
    """Rows from the first one on, with room behind them, and for so many more."""
    room = np.zeros((len(rows) + more, *rows.shape[1:]), rows.dtype)
    room[: len(rows) - first] = rows[first:]
    return room
