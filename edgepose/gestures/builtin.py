"""The built-in rules, for the bodies and the hands that a topology has by the names of its keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edgepose.gestures import body, hand
from edgepose.gestures.falls import Falls
from edgepose.gestures.rule import Rule, Table
from edgepose.networks.keypoint_names import COCO_PERSON, hand_order, places
from edgepose.types import Float64Array

BODY = (body.FALLEN, *body.RULES)
HAND = hand.RULES
_TILT, _LYING = body.MEASURES.index("trunk_aim"), [r.name for r in body.RULES].index("lying")


class Judge(Protocol):
    """What tells gestures from keypoints; one for each source, as it may remember tracks."""

    @property
    def rules(self) -> Sequence[Rule]:
        """What the columns of the scores mean."""
        ...

    @property
    def work(self) -> int:
        """Multiplications for a pose, where they are many; else 0."""
        ...

    def scores(
        self, points: Float64Array, tracks: Sequence[int | None], now: float
    ) -> Float64Array:
        """Scores (N, rules) 0..1, NaN = cannot be told, of points (N, K, 3) in image pixels."""
        ...


def make_builtin(names: Sequence[str]) -> Judge | None:
    """The rules for poses with these keypoints; None where they are neither a body nor a hand."""
    found = places(names, COCO_PERSON)
    if all(found[COCO_PERSON.index(f"{side}_shoulder")] is not None for side in ("left", "right")):
        return _BodyJudge(found)
    order = hand_order(names)
    return _HandJudge(order) if order is not None else None


class _BodyJudge:
    rules, work = BODY, 0

    def __init__(self, numbers: Sequence[int | None]) -> None:
        self._take = _Take(numbers)
        self._table = Table(body.RULES, body.MEASURES)
        self._falls = Falls()

    def scores(
        self, points: Float64Array, tracks: Sequence[int | None], now: float
    ) -> Float64Array:
        measures = body.measures(self._take(points))
        out = np.empty((len(points), len(BODY)))
        out[:, 1:] = self._table.scores(measures)
        lying, tilt = out[:, 1 + _LYING].tolist(), measures[:, _TILT].tolist()
        out[:, 0] = self._falls.update(tracks, lying, tilt, now)
        return out


class _HandJudge:
    rules, work = HAND, 0

    def __init__(self, numbers: Sequence[int]) -> None:
        self._take = _Take(numbers)
        self._table = Table(hand.RULES, hand.MEASURES)

    def scores(
        self, points: Float64Array, tracks: Sequence[int | None], now: float
    ) -> Float64Array:
        return self._table.scores(hand.measures(self._take(points)))


class _Take:
    """Keypoints of a topology in another order: (N, K, 3) in, places (N, numbers, 2) out, NaN = missing."""

    def __init__(self, numbers: Sequence[int | None]) -> None:
        self._numbers = np.array([0 if n is None else n for n in numbers])
        # a score must be above it
        self._least = np.array([[np.inf if n is None else 0.0] for n in numbers])

    def __call__(self, points: Float64Array) -> Float64Array:
        taken = points.T.take(self._numbers, axis=1)
        places, scores = taken[:2], taken[2]
        there = np.isfinite(places[0] + places[1])
        there &= scores > self._least
        np.copyto(places, np.nan, where=~there)
        return np.transpose(places)
