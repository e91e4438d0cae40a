"""Optimal one-to-one assignment of the peaks at both ends of a link.

Shortest augmenting paths after Jonker and Volgenant (1987) in the rectangular form of Crouse, "On
implementing 2D rectangular assignment algorithms" (2016). `edgepose/cuda/host.cpp` does the same
operations in the same order, so that ties fall alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
IndexArray = NDArray[np.int64]


def assign(
    scores: FloatArray,
    starts: IndexArray,
    table: IntArray,
    offsets: IntArray,
    threshold: float,
) -> tuple[IntArray, FloatArray]:
    """Match the peaks of every link so that the sum of scores is largest, then drop the weak.

    Args:
        scores, starts: of `paf.line_scores` and `paf.pair_starts`; finite.
        table: int32 (L, 4), see `paf.line_scores`.
        offsets: int32 (K + 1,) of `Peaks`.
        threshold: matches must score more than this. It is applied after the assignment, as in
            trt_pose: a weak pair may still keep others apart.

    Returns:
        connections int32 (L, 2, M): [k, 0, a] = b and [k, 1, b] = a for matched peaks (numbers
        within their keypoint), -1 elsewhere, M the largest number of peaks of a keypoint;
        and the scores float32 (L, M) of the matched peaks a, 0 elsewhere.
    """
    counts = np.diff(offsets).tolist()
    links, widest = len(table), max(counts, default=0)
    connections = np.full((links, 2, widest), -1, np.int32)
    matched = np.zeros((links, widest), np.float32)
    limit = float(np.float32(threshold))
    bounds = starts.tolist()
    for k, (_, _, a, b) in enumerate(table.tolist()):
        if bounds[k] == bounds[k + 1]:
            continue
        rows = scores[bounds[k] : bounds[k + 1]].reshape(counts[a], counts[b]).tolist()
        for i, j in maximum_matching(rows):
            if rows[i][j] > limit:
                connections[k, 0, i], connections[k, 1, j] = j, i
                matched[k, i] = rows[i][j]
    return connections, matched


def maximum_matching(score: list[list[float]]) -> list[tuple[int, int]]:
    """Pairs (row, column) of a one-to-one matching with the largest sum of scores.

    Every row or every column, whichever are fewer, is matched. Scores must be finite.
    """
    if len(score) > len(score[0]):
        flipped = [list(column) for column in zip(*score, strict=True)]
        return sorted((row, column) for column, row in enumerate(_match_rows(flipped)))
    return list(enumerate(_match_rows(score)))


def _match_rows(score: list[list[float]]) -> list[int]:
    """The column of each row; there are at least as many columns as rows."""
    best = [max(row) for row in score]
    column_of = [-1] * len(score)
    row_of = [-1] * len(score[0])
    for i, row in enumerate(score):  # a row whose best column is still free takes it
        j = row.index(best[i])
        if row_of[j] < 0:
            row_of[j], column_of[i] = i, j
    if -1 not in column_of:  # every row has its best: no better sum exists
        return column_of
    u = [-value for value in best]
    v = [0.0] * len(row_of)
    for i, j in enumerate(column_of):
        if j < 0:
            _augment(score, i, u, v, column_of, row_of)
    return column_of


def _augment(
    score: list[list[float]],
    start: int,
    u: list[float],
    v: list[float],
    column_of: list[int],
    row_of: list[int],
) -> None:
    """Match row `start` along the cheapest alternating path and keep the potentials u, v valid."""
    columns = len(v)
    distance = [float("inf")] * columns
    path = [-1] * columns
    remaining = list(range(columns))
    scanned: list[int] = []
    i, reached = start, 0.0
    while True:
        row, base = score[i], reached - u[i]
        lowest, nearest = float("inf"), -1
        for j in remaining:
            d = (base - row[j]) - v[j]
            if d < distance[j]:
                distance[j], path[j] = d, i
            else:
                d = distance[j]
            if d < lowest or (d == lowest and row_of[j] < 0 <= row_of[nearest]):
                lowest, nearest = d, j
        reached = lowest
        if row_of[nearest] < 0:
            break
        remaining.remove(nearest)
        scanned.append(nearest)
        i = row_of[nearest]
    u[start] += reached
    for j in scanned:
        u[row_of[j]] += reached - distance[j]
        v[j] -= reached - distance[j]
    j = nearest
    while True:
        i = path[j]
        row_of[j] = i
        column_of[i], j = j, column_of[i]
        if i == start:
            return
