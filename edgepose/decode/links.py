"""Optimal one-to-one assignment of the peaks at both ends of a link.

`edgepose/cuda/host_decode.cpp` does the same operations as `edgepose.matching` in the same order, so that ties
fall alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.matching import maximum_matching
from edgepose.types import Float32Array, Int32Array

IndexArray = NDArray[np.int64]


def assign(
    scores: Float32Array,
    starts: IndexArray,
    table: Int32Array,
    offsets: Int32Array,
    threshold: float,
) -> tuple[Int32Array, Float32Array]:
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
