"""Rules as data: limits of measures, in degrees and body lengths, that together make a gesture.

A limit gives 0 at `no`, 1 at `yes` and in between by degrees; a way of doing a gesture is as sure as the
weakest of its limits, a gesture as the surest of its ways. What a missing keypoint hides is NaN: "cannot
tell", unless what is seen already says no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.types import Float64Array

TRUE = 0.5  # a gesture is there from this score on


@dataclass(frozen=True)
class Limit:
    """What a measure must be.

    Attributes:
        measure: its name. no, yes: where it is not at all enough, and where it is (either may be the larger).
        optional: where it cannot be told, it is taken as fulfilled.
    """

    measure: str
    no: float
    yes: float
    optional: bool = False


@dataclass(frozen=True)
class Rule:
    """A gesture.

    Attributes:
        name: as it is written everywhere. text: one sentence for people.
        ways: each a set of limits; one of them is enough.
        unless: gestures beside which it is not told.
        hold: seconds for which it must be seen, or not be seen, until it counts as begun or ended.
        memory: seconds for which it goes on while it cannot be told.
    """

    name: str
    text: str
    ways: tuple[tuple[Limit, ...], ...]
    unless: tuple[str, ...] = ()
    hold: float = 0.3
    memory: float = 1.0


class Table:
    """Rules made ready to be evaluated for many poses at once.

    Args:
        rules: in the order of the scores. measures: names of the columns that `scores` gets.
    """

    def __init__(self, rules: Sequence[Rule], measures: Sequence[str]) -> None:
        ways = [way for rule in rules for way in rule.ways]
        limits = [limit for way in ways for limit in way]
        self._columns = np.array([measures.index(limit.measure) for limit in limits])
        self._no = np.array([[limit.no] for limit in limits])
        self._slope = 1.0 / np.array([[limit.yes - limit.no] for limit in limits])
        # what cannot be told is NaN, and 1 where it is optional: fmin takes the number of the two
        self._unknown = np.array([[1.0 if limit.optional else np.nan] for limit in limits])
        self._way_starts = _starts([len(way) for way in ways])
        self._rule_starts = _starts([len(rule.ways) for rule in rules])
        names = [rule.name for rule in rules]
        # 1.0 where the rule of the column is stronger than that of the row
        self._beaten = np.array([[float(n in rule.unless) for n in names] for rule in rules])

    def scores(self, measures: Float64Array) -> Float64Array:
        """Scores (N, rules) 0..1, NaN = cannot tell, of measures (N, M)."""
        met = measures.T.take(self._columns, axis=0)
        met -= self._no
        met *= self._slope
        np.fmin(met, self._unknown, out=met)
        np.minimum(np.maximum(met, 0.0, out=met), 1.0, out=met)
        # of what is seen and, NaN where anything is hidden, of all: the first counts where it decides
        seen = np.fmin.reduceat(met, self._way_starts)
        way = np.minimum.reduceat(met, self._way_starts)
        np.copyto(way, seen, where=seen < TRUE)
        seen = np.fmax.reduceat(way, self._rule_starts)
        best: Float64Array = np.maximum.reduceat(way, self._rule_starts)
        sure = seen >= TRUE
        np.copyto(best, seen, where=sure)
        best[self._beaten @ sure > 0] = 0.0
        return np.transpose(best)


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)
