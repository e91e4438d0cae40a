"""Optimal one-to-one assignment, small and without dependencies.

Shortest augmenting paths after Jonker and Volgenant (1987) in the rectangular form of Crouse, "On
implementing 2D rectangular assignment algorithms" (2016). Used for the links of bottom-up poses and
for tracks; `edgepose/cuda/host_decode.cpp` does the same operations in the same order, so that ties fall alike.
"""

from __future__ import annotations


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
