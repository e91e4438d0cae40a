"""Training targets as trt_pose defines them, in numpy: the definition the fast version is held to.

A confidence map is exp(-d^2 / s^2) around a keypoint, d in map cells from the cell's centre, the
larger value where people overlap. A part affinity field is the unit vector from a link's first to
its second keypoint, times the same bell over the distance to the segment, summed over people;
channel 2k holds the row (y) component and 2k + 1 the column (x) component of link k.
(Cao et al., CVPR 2017; the exact bell, without the factor 2, is trt_pose's.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import LINKS

Array = NDArray[Any]
STDEV = 1.8  # in cells; trt_pose's own 0.025 of the map's side is 1.6 on 64 cells


def confidence_maps(keypoints: Array, height: int, width: int, stdev: float = STDEV) -> Array:
    """(18, height, width) float32 from keypoints (people, 18, 3) in map cells."""
    maps = np.zeros((keypoints.shape[1], height, width), np.float32)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    for person, c in np.argwhere(keypoints[:, :, 2] > 0):
        x, y = keypoints[person, c, :2]
        bell = np.outer(
            np.exp(-((rows - y) ** 2) / stdev**2), np.exp(-((columns - x) ** 2) / stdev**2)
        )
        np.maximum(maps[c], bell, out=maps[c])
    return maps


def affinity_fields(keypoints: Array, height: int, width: int, stdev: float = STDEV) -> Array:
    """(42, height, width) float32 from keypoints (people, 18, 3) in map cells."""
    fields = np.zeros((2 * len(LINKS), height, width), np.float32)
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width)[None] + 0.5
    for k, (a, b) in enumerate(LINKS):
        for person in np.flatnonzero((keypoints[:, a, 2] > 0) & (keypoints[:, b, 2] > 0)):
            start, end = keypoints[person, a, :2], keypoints[person, b, :2]
            length = float(np.hypot(*(end - start))) + 1e-5
            ux, uy = (end - start) / length
            along = (rows - start[1]) * uy + (columns - start[0]) * ux
            across = (rows - start[1]) * ux - (columns - start[0]) * uy
            beyond = along - np.clip(along, 0, length)
            bell = np.exp(-(beyond**2 + across**2) / stdev**2)
            fields[2 * k] += bell * uy
            fields[2 * k + 1] += bell * ux
    return fields
