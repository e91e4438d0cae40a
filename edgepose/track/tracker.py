"""The tracker: gives the poses of a film track ids that stay with the person.

Association in two stages after Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every
Detection Box", ECCV 2022: tracks take confident poses first and weak ones after that, so that a person
half hidden keeps the track, while a weak pose alone starts none.

    predict -> match followed tracks -> match lost ones -> match weak poses -> match new tracks
            -> update, confirm, lose, forget -> start tracks -> smooth
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from edgepose.matching import maximum_matching
from edgepose.networks.topology import Topology
from edgepose.track.motion import Motion
from edgepose.track.one_euro import OneEuro, empty_state
from edgepose.track.similarity import (
    Bodies,
    KeypointSimilarity,
    Similarity,
    keypoint_sigmas,
)
from edgepose.types import Box, Float64Array, Int64Array, Pose

# half-life in seconds of the memory of a keypoint that is hidden, and when it is gone
MEMORY = 0.5
FORGOTTEN = 0.05
# how fast a track shrinks to a smaller body: part of a body often hides, and comes back
SHRINK = 0.2


class State(enum.IntEnum):
    """Life of a track: tentative -> confirmed <-> lost."""

    TENTATIVE = 0
    CONFIRMED = 1
    LOST = 2


@dataclass(frozen=True)
class Track:
    """One track as it is after an update.

    Attributes:
        id: number from 1; 0 while tentative.
        state: tentative, confirmed or lost.
        box: last known box, moved along while lost; image pixels.
        since, seen: times of the first and the last pose.
    """

    id: int
    state: State
    box: Box
    since: float
    seen: float


@dataclass
class _Table:
    """All tracks as arrays, one row each, oldest first."""

    ids: Int64Array
    states: Int64Array
    hits: Int64Array
    misses: Int64Array
    since: Float64Array
    seen: Float64Array
    sizes: Float64Array
    points: Float64Array  # (N, K, 3), the score fading while a keypoint is hidden
    boxes: Float64Array
    velocity: Float64Array
    covariance: Float64Array
    smooth: Float64Array  # (N, K + 2, 5): keypoints and both corners of the box

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forget the rows that are not in the mask."""
        if not mask.all():
            for column in fields(self):
                setattr(self, column.name, getattr(self, column.name)[mask])

    def append(self, rows: _Table) -> None:
        """Add rows at the end."""
        for column in fields(self):
            both = (getattr(self, column.name), getattr(rows, column.name))
            setattr(self, column.name, np.concatenate(both))


class Tracker:
    """Follows people (or hands) through the frames of one camera or film.

    Deterministic, and without a clock of its own: the time of a frame is an argument.

    Args:
        topology: of the poses; its keypoint names choose the OKS constants.
        similarity: how alike tracks and poses are, 0..1; default OKS, see `KeypointSimilarity`.
        high: pose score from which a pose is confident: it may start a track.
        low: poses with lower scores are not used.
        match: least similarity of a match. match_low: of a match with a weak pose.
        confirm: updates with a match after which a track gets its id.
        max_lost: seconds for which a track that is not seen is remembered.
        motion: constants of the prediction.
        smooth: parameters of the One-Euro filter for keypoints and boxes; None = as detected.

    >>> import numpy as np
    >>> from edgepose.networks.topology import load_topology
    >>> from edgepose.types import Pose
    >>> topology = load_topology("coco_17")
    >>> tracker = Tracker(topology)
    >>> def walker(x):
    ...     points = np.stack([x + np.arange(17), 60 + 5 * np.arange(17), np.full(17, 0.9)], axis=1)
    ...     box = (x, 60, x + 16, 140)
    ...     return Pose(0, points.astype(np.float32), topology.keypoints, score=0.9, box=box)
    >>> [tracker.update([walker(100 + frame)], now=frame / 30)[0].track for frame in range(5)]
    [None, None, 1, 1, 1]
    >>> tracker.count
    1
    """

    def __init__(
        self,
        topology: Topology,
        *,
        similarity: Similarity | None = None,
        high: float = 0.25,
        low: float = 0.05,
        match: float = 0.2,
        match_low: float = 0.3,
        confirm: int = 3,
        max_lost: float = 2.0,
        motion: Motion | None = None,
        smooth: OneEuro | None = None,
    ) -> None:
        self._keypoints = len(topology.keypoints)
        own = np.array(topology.sigmas) if topology.sigmas else None
        sigmas = keypoint_sigmas(topology.keypoints) if own is None else own
        self._similarity = similarity or KeypointSimilarity(sigmas)
        self._high, self._low = high, low
        self._match, self._match_low = match, match_low
        self._confirm = confirm
        self._max_lost = max_lost
        self._motion = motion or Motion()
        self._smooth = smooth
        self._next_id = 1
        self._now: float | None = None
        self._table = self._rows(Bodies.of((), self._keypoints), 0.0)

    @property
    def count(self) -> int:
        """How many tracks were ever confirmed."""
        return self._next_id - 1

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All tracks there are now, oldest first."""
        t = self._table
        return tuple(
            Track(int(t.ids[i]), State(int(t.states[i])), _box(t.boxes[i]), t.since[i], t.seen[i])
            for i in range(len(t))
        )

    def reset(self) -> None:
        """Forget all tracks, as at a cut; ids go on."""
        self._table.keep(np.zeros(len(self._table), bool))
        self._now = None

    def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
        """The same poses in the same order, with `track` set where a confirmed track took them.

        Args:
            poses: all poses of the next frame, image pixels.
            now: time of the frame in seconds; where it goes back (a film that starts again), all
                tracks are forgotten first.

        Raises:
            ValueError: a pose has another number of keypoints than the topology.
        """
        odd = next((len(p.points) for p in poses if len(p.points) != self._keypoints), None)
        if odd is not None:
            raise ValueError(
                f"the tracker follows poses of {self._keypoints} keypoints, found {odd}"
            )
        if self._now is not None and now < self._now:
            self.reset()
        self._predict(now)
        found = Bodies.of(poses, self._keypoints)
        scores = np.array([pose.score for pose in poses])
        rows = self._associate(found, scores)
        self._update(found, rows, now)
        rows = self._live(rows, now)
        rows = self._start(found, scores, rows, now)
        return self._answer(poses, found, rows, now)

    # the steps, in their order -----------------------------------------------------------------
    def _predict(self, now: float) -> None:
        dt = 0.0 if self._now is None else now - self._now
        self._now = now
        t = self._table
        if dt <= 0 or not len(t):
            return
        shift, t.velocity, t.covariance = self._motion.predict(
            t.velocity, t.covariance, t.sizes, t.misses > 0, dt
        )
        t.points[:, :, :2] += shift[:, None]
        t.points[:, :, 2] *= 0.5 ** (dt / MEMORY)
        t.points[t.points[:, :, 2] < FORGOTTEN] = 0.0
        t.boxes += np.tile(shift, 2)

    def _associate(self, found: Bodies, scores: Float64Array) -> Int64Array:
        """For each pose the row of its track, -1 where it has none."""
        rows = np.full(len(scores), -1, np.int64)
        t = self._table
        if not len(t) or not len(scores):
            return rows
        spread = np.sqrt(t.covariance[:, 0])
        similarity = self._similarity(Bodies(t.points, t.boxes, spread, t.sizes), found)
        confident, weak = scores >= self._high, (scores >= self._low) & (scores < self._high)
        followed = (t.states == State.CONFIRMED) & (t.misses == 0)
        lost = (t.states != State.TENTATIVE) & ~followed
        stages = (
            (followed, confident, self._match),
            (lost, confident, self._match),
            (followed | lost, weak, self._match_low),
            (t.states == State.TENTATIVE, confident, self._match),
        )
        free = np.ones(len(t), bool)
        for tracks, detections, least in stages:
            a, b = np.flatnonzero(tracks & free), np.flatnonzero(detections & (rows < 0))
            for i, j in matched(similarity[np.ix_(a, b)], least):
                rows[b[j]] = a[i]
                free[a[i]] = False
        return rows

    def _update(self, found: Bodies, rows: Int64Array, now: float) -> None:
        """Move matched tracks to where their poses are."""
        t = self._table
        j = np.flatnonzero(rows >= 0)
        i = rows[j]
        t.misses += 1
        if not len(i):
            return
        pose = found.take(j)
        error = _displacement(t.points[i], t.boxes[i], pose)
        shift, t.velocity[i], t.covariance[i] = self._motion.update(
            t.velocity[i], t.covariance[i], t.sizes[i], error
        )
        # hidden keypoints move with the body; the seen ones are as seen; all follow the filter
        points = t.points[i]
        points[:, :, :2] += error[:, None]
        points = np.where(pose.seen[:, :, None], pose.points, points)
        points[:, :, :2] += shift[:, None]
        t.points[i] = points
        t.boxes[i] = pose.boxes + np.tile(shift, 2)
        t.sizes[i] = np.maximum(pose.sizes, t.sizes[i] + SHRINK * (pose.sizes - t.sizes[i]))
        t.hits[i] += 1
        t.misses[i] = 0
        t.seen[i] = now

    def _live(self, rows: Int64Array, now: float) -> Int64Array:
        """Confirm, lose and forget tracks; the new row of each pose's track."""
        t = self._table
        ready = np.flatnonzero((t.states == State.TENTATIVE) & (t.hits >= self._confirm))
        t.ids[ready] = np.arange(self._next_id, self._next_id + len(ready))
        self._next_id += len(ready)
        t.states[ready] = State.CONFIRMED
        known = t.states != State.TENTATIVE
        t.states[known] = np.where(t.misses[known] > 0, State.LOST, State.CONFIRMED)
        old = np.where(known, now - t.seen > self._max_lost, t.misses > 1) & (t.misses > 0)
        if not old.any():
            return rows
        place = np.cumsum(~old) - 1
        t.keep(~old)
        return np.where(rows >= 0, place[rows], -1)

    def _start(
        self, found: Bodies, scores: Float64Array, rows: Int64Array, now: float
    ) -> Int64Array:
        """Start tracks for confident poses that nobody took."""
        t = self._table
        new = np.flatnonzero((rows < 0) & (scores >= self._high))
        taken = np.flatnonzero(rows >= 0)
        new = new[~self._doubles(found.take(new), found.take(taken))] if len(taken) else new
        if len(new):
            rows[new] = len(t) + np.arange(len(new))
            t.append(self._rows(found.take(new), now))
        return rows

    def _doubles(self, new: Bodies, taken: Bodies) -> NDArray[np.bool_]:
        """Which poses are a second skeleton on, or the other part of, someone who has a track."""
        if not len(new.points):
            return np.zeros(0, bool)
        alike = self._similarity(new, taken) > 0.6
        apart = ~(new.seen[:, None] & taken.seen[None]).any(axis=2)
        low = np.maximum(new.boxes[:, None, :2], taken.boxes[None, :, :2])
        high = np.minimum(new.boxes[:, None, 2:], taken.boxes[None, :, 2:])
        area = np.maximum(new.boxes[:, 2:] - new.boxes[:, :2], 1.0).prod(axis=1)
        inside = np.clip(high - low, 0, None).prod(axis=2) > 0.5 * area[:, None]
        double: NDArray[np.bool_] = (alike | (apart & inside)).any(axis=1)
        return double

    def _rows(self, found: Bodies, now: float) -> _Table:
        """Rows of tracks that start with these poses."""
        n = len(found.points)
        return _Table(
            ids=np.zeros(n, np.int64),
            states=np.full(n, State.TENTATIVE, np.int64),
            hits=np.ones(n, np.int64),
            misses=np.zeros(n, np.int64),
            since=np.full(n, now),
            seen=np.full(n, now),
            sizes=found.sizes.copy(),
            points=found.points.copy(),
            boxes=found.boxes.copy(),
            velocity=np.zeros((n, 2)),
            covariance=self._motion.start(found.sizes),
            smooth=empty_state(n, self._keypoints + 2),
        )

    def _answer(
        self, poses: Sequence[Pose], found: Bodies, rows: Int64Array, now: float
    ) -> tuple[Pose, ...]:
        t = self._table
        ids = [int(t.ids[row]) or None if row >= 0 else None for row in rows]
        if self._smooth is None or not len(poses):
            return tuple(p.with_(track=k) for p, k in zip(poses, ids, strict=True))
        points, boxes = self._smoothed(self._smooth, found, rows, now)
        return tuple(
            pose.with_(track=ids[j], points=_filled(pose, points[j]), box=_box(boxes[j]))
            if rows[j] >= 0
            else pose.with_(track=None)
            for j, pose in enumerate(poses)
        )

    def _smoothed(
        self, smooth: OneEuro, found: Bodies, rows: Int64Array, now: float
    ) -> tuple[Float64Array, Float64Array]:
        """Keypoints (M, K, 2) and boxes (M, 4) of the poses that have a track, smoothed."""
        t = self._table
        j = np.flatnonzero(rows >= 0)
        corners = found.boxes[j].reshape(-1, 2, 2)
        values = np.concatenate([found.points[j, :, :2], corners], axis=1)
        known = np.concatenate([found.seen[j], np.ones((len(j), 2), bool)], axis=1)
        state = t.smooth[rows[j]]
        filtered = smooth.step(state, values, known, now, t.sizes[rows[j]][:, None])
        t.smooth[rows[j]] = state
        points, boxes = found.points[:, :, :2].copy(), found.boxes.copy()
        points[j], boxes[j] = filtered[:, :-2], filtered[:, -2:].reshape(-1, 4)
        return points, boxes


def matched(similarity: Float64Array, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column) that are alike by at least `least`, with the largest sum of similarity."""
    if not similarity.size:
        return []
    # what is not allowed adds nothing, so that it never keeps an allowed pair apart
    scores = np.where(similarity >= least, similarity, 0.0).tolist()
    return [(i, j) for i, j in maximum_matching(scores) if scores[i][j] > 0]


def _displacement(points: Float64Array, boxes: Float64Array, pose: Bodies) -> Float64Array:
    """How far (N, 2) the poses lie from the predicted bodies: mean over common keypoints, else boxes."""
    common = (points[:, :, 2] > 0) & pose.seen
    away = (pose.points[:, :, :2] - points[:, :, :2]) * common[:, :, None]
    count = common.sum(axis=1)
    centres = (pose.boxes[:, :2] + pose.boxes[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    mean = away.sum(axis=1) / np.maximum(count, 1)[:, None]
    displacement: Float64Array = np.where((count > 0)[:, None], mean, centres)
    return displacement


def _filled(pose: Pose, xy: Float64Array) -> NDArray[np.float32]:
    """The pose's points with other places; what was not detected stays as it was."""
    points: NDArray[np.float32] = pose.points.copy()
    seen = points[:, 2] > 0
    points[seen, :2] = xy[seen]
    return points


def _box(box: Float64Array) -> Box:
    left, top, right, bottom = box.tolist()
    return (left, top, right, bottom)
