"""From matched links to objects: which peaks belong to one person (or hand)."""

from __future__ import annotations

from collections import deque

import numpy as np

from edgepose.types import Int32Array


def assemble(
    connections: Int32Array, table: Int32Array, offsets: Int32Array, max_objects: int
) -> Int32Array:
    """Grow objects breadth first over the matched links, as trt_pose does.

    Args:
        connections: int32 (L, 2, M) of `links.assign`.
        table: int32 (L, 4), see `paf.line_scores`.
        offsets: int32 (K + 1,) of `Peaks`.
        max_objects: the search stops at so many.

    Returns:
        int32 (N, K): for each object the number of its peak within each keypoint, -1 = none, in
        the order of the lowest keypoint and peak. A peak without links is an object of its own;
        where links of one object reach two peaks of a keypoint, the one reached later stays.
    """
    first = offsets.tolist()
    keypoints, total = len(first) - 1, first[-1]
    keypoint_of = np.repeat(np.arange(keypoints), np.diff(offsets)).tolist()
    neighbours: list[list[int]] = [[] for _ in range(total)]
    link, a = np.nonzero(connections[:, 0] >= 0)
    starts = offsets[table[link, 2]] + a, offsets[table[link, 3]] + connections[link, 0, a]
    for p, q in zip(starts[0].tolist(), starts[1].tolist(), strict=True):
        neighbours[p].append(q)
        neighbours[q].append(p)
    visited = [False] * total
    objects: list[list[int]] = []
    for seed in range(total):
        if visited[seed]:
            continue
        if len(objects) >= max_objects:
            break
        row = [-1] * keypoints
        queue = deque((seed,))
        while queue:
            peak = queue.popleft()
            if visited[peak]:
                continue
            visited[peak] = True
            row[keypoint_of[peak]] = peak - first[keypoint_of[peak]]
            queue.extend(neighbours[peak])
        objects.append(row)
    return np.array(objects, np.int32).reshape(-1, keypoints)
