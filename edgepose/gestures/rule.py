"""Rules as data: limits of measures, in degrees and body lengths, that together make a gesture.

A limit gives 0 at `no`, 1 at `yes` and in between by degrees; a way of doing a gesture is as sure as the
weakest of its limits, a gesture as the surest of its ways. What a missing keypoint hides is NaN: "cannot
tell", unless what is seen already says no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgepose.types import Float64Array

T = TypeVar("T")
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
        # limits are rows, and all ways are as long as the longest, all rules have as many ways as the one with the
        # most: a limit or a way that is there twice changes nothing, and one operation does for all of them
        ways = max(len(rule.ways) for rule in rules)
        longest = max(len(way) for rule in rules for way in rule.ways)
        padded = [[_filled(_filled(r.ways, ways)[w], longest) for r in rules] for w in range(ways)]
        limits = [
            padded[w][r][i] for i in range(longest) for w in range(ways) for r in range(len(rules))
        ]
        self._shape = longest, ways, len(rules), -1
        self._columns = np.array([measures.index(limit.measure) for limit in limits])
        # what cannot be told is NaN, and 1 where it is optional: fmin takes the number of the two
        rows = [
            (row.no, 1.0 / (row.yes - row.no), 1.0 if row.optional else np.nan) for row in limits
        ]
        self._limits = np.array(rows).T[:, :, None]
        # the same for each of so many poses, mostly as many as in the frame before: much faster than a column
        self._for = self._limits
        names = [rule.name for rule in rules]
        # 1.0 where the rule of the column is stronger than that of the row
        self._beaten = np.array([[float(n in rule.unless) for n in names] for rule in rules])

    def scores(self, measures: Float64Array) -> Float64Array:
        """Scores (N, rules) 0..1, NaN = cannot tell, of measures (N, M)."""
        met = measures.T.take(self._columns, axis=0)
        if self._for.shape[-1] != len(measures):
            self._for = np.repeat(self._limits, len(measures), axis=2)
        no, slope, unknown = self._for
        met -= no
        met *= slope
        met = np.fmin(met, unknown, out=met).reshape(self._shape)
        # of what is seen and, NaN where anything is hidden, of all: the first counts where it decides
        seen, way = np.fmin.reduce(met), np.minimum.reduce(met)
        np.copyto(way, seen, where=seen < TRUE)
        seen = np.fmax.reduce(way)
        best: Float64Array = np.maximum.reduce(way)
        sure = seen >= TRUE
        np.copyto(best, seen, where=sure)
        np.copyto(best, 0.0, where=self._beaten @ sure > 0)
        # here and not of each limit: the least of them stays the least
        np.minimum(np.maximum(best, 0.0, out=best), 1.0, out=best)
        return np.transpose(best)


def _filled(items: Sequence[T], count: int) -> list[T]:
    """The items, the last one again until there are so many."""
    return [*items, *[items[-1]] * (count - len(items))]
