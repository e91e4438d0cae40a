"""MoveNet MultiPose: six maps at a quarter of the input become the keypoints of all people.

Google's MoveNet (2021) follows CenterNet (Zhou et al., "Objects as Points", arXiv 1904.07850): a peak in
the map of centres is a person; the box and a first guess of every keypoint are read at that place, and
each keypoint is the strongest place of its own map near the guess and inside the box.

| map | channels | what |
|---|---|---|
| center | 1 | 0..1, a person's centre |
| box_scale, box_offset | 2, 2 | height and width of the box, and the centre's shift y, x; in cells |
| kpt_heatmap | K | 0..1 |
| kpt_regress | 2K | y, x from the centre's cell to each keypoint, in cells |
| kpt_offset | 2K | y, x of the keypoint inside its cell |

Places are those of the published TensorFlow.js graph. Its score of a keypoint is weighted by the
distance to the guess; here it is the map's own value, which ranks people better (AP .33 against .30).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda import host
from edgepose.errors import BackendUnavailable
from edgepose.types import Float32Array

CELL = 4  # input pixels to a cell
SPREAD = 0.3  # variance of the weight around the guess, times the shorter side in cells
VISIBLE = 0.127  # keypoints above count for a person's score
MOST = 100  # people of one picture; the network was made for six
# of the polynomial that is exp on [-ln 2 / 2, ln 2 / 2], from x**5 on down (S. Moshier's Cephes)
POWERS = np.array(
    [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5],
    np.float32,
)
MAPS = ("center", "box_scale", "box_offset", "kpt_heatmap", "kpt_regress", "kpt_offset")


class MovenetPeople(NamedTuple):
    """People of one picture, by falling score of their centres.

    Attributes:
        boxes: float32 (N, 4) xyxy, pixels of the network's input.
        scores: float32 (N,), the centre's times the mean of the visible keypoints.
        points: float32 (N, K, 3) x, y, score; same pixels.
    """

    boxes: Float32Array
    scores: Float32Array
    points: Float32Array


def decode_movenet(maps: Mapping[str, Float32Array], least: float) -> MovenetPeople:
    """People of one picture, by the compiled decoder where it was built; see `decode_numpy`."""
    try:
        library = host.library()
    except BackendUnavailable:
        return decode_numpy(maps, least)
    return _compiled(library, maps, least)


def decode_numpy(maps: Mapping[str, Float32Array], least: float) -> MovenetPeople:
    """People of one picture, at most `MOST`.

    Args:
        maps: `MAPS` of one picture, each (channels, H, W).
        least: people score more than this; a person never scores more than its centre.
    """
    cells, centres = _centres(maps["center"][0], least)
    boxes = _boxes(maps, cells)
    points = np.zeros((len(cells), len(maps["kpt_heatmap"]), 3), np.float32)
    for person, cell, box in zip(points, cells, boxes, strict=True):
        person[:] = _keypoints(maps, cell, box)
    return people_of(boxes, centres, points)


def people_of(boxes: Float32Array, centres: Float32Array, points: Float32Array) -> MovenetPeople:
    """People of boxes (N, 4) top, left, bottom, right in cells, scores of centres (N,) and points (N, K, 3)."""
    seen = points[..., 2] > VISIBLE
    means = (points[..., 2] * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return MovenetPeople(boxes[:, [1, 0, 3, 2]] * CELL, centres * means, points)


def _centres(center: Float32Array, least: float) -> tuple[NDArray[np.intp], Float32Array]:
    """(N, 2) cells y, x and (N,) scores of the peaks: nothing within two cells is higher."""
    highest = _highest(_highest(center).T).T
    peaks = np.flatnonzero((center >= highest) & (center > least))
    peaks = peaks[np.argsort(-center.ravel()[peaks], kind="stable")[:MOST]]
    cells = np.stack(np.unravel_index(peaks, center.shape), axis=1)
    return cells, center.ravel()[peaks]


def _highest(rows: Float32Array) -> Float32Array:
    """The maximum of each cell and of its two neighbours above and below."""
    padded = np.pad(rows, ((2, 2), (0, 0)), constant_values=-1)
    highest: Float32Array = np.maximum.reduce([padded[i : i + len(rows)] for i in range(5)])
    return highest


def _boxes(maps: Mapping[str, Float32Array], cells: NDArray[np.intp]) -> Float32Array:
    """(N, 4) top, left, bottom, right in cells, inside the map."""
    y, x = cells.T
    half = np.maximum(maps["box_scale"][:, y, x].T, 0) / 2
    middle = cells.astype(np.float32) + maps["box_offset"][:, y, x].T
    limit = np.array(maps["center"].shape[1:], np.float32)
    corners = [np.clip(side, 0, limit) for side in (middle - half, middle + half)]
    return np.asarray(np.concatenate(corners, axis=1), np.float32)


def _keypoints(
    maps: Mapping[str, Float32Array], cell: NDArray[np.intp], box: Float32Array
) -> Float32Array:
    """(K, 3) x, y in input pixels and score of one person."""
    heat = maps["kpt_heatmap"]
    count, height, width = heat.shape
    y, x = cell
    guess = cell.astype(np.float32) + maps["kpt_regress"][:, y, x].reshape(count, 2)
    first = np.ceil(box[:2]).astype(int)  # cells whose number lies in [first, last)
    last = np.ceil(box[2:]).astype(int)
    if (last <= first).any():
        first, last = cell, cell + 1
    (top, left), (bottom, right) = first, last
    spread = np.float32(SPREAD) * np.float32(min(height, width))
    rows, columns = (np.arange(*ends, dtype=np.float32) for ends in ((top, bottom), (left, right)))
    near = heat[:, top:bottom, left:right] * falloff(rows - guess[:, :1], spread)[:, :, None]
    near *= falloff(columns - guess[:, 1:], spread)[:, None, :]
    best = near.reshape(count, -1).argmax(axis=1)
    at_y, at_x = best // (right - left) + top, best % (right - left) + left
    k = np.arange(count)
    inside = maps["kpt_offset"].reshape(count, 2, height, width)[k, :, at_y, at_x]
    places = [at.astype(np.float32) + inside[:, i] for at, i in ((at_x, 1), (at_y, 0))]
    return np.stack([*(place * CELL for place in places), heat[k, at_y, at_x]], axis=1)


def falloff(apart: Float32Array, spread: np.float32) -> Float32Array:
    """exp(-apart**2 / spread) in float32, by the operations of cuda/movenet.h: the same bits everywhere."""
    f32 = np.float32
    with np.errstate(over="ignore"):
        u = apart * apart / spread
    counts = u <= 87
    u = np.where(counts, u, f32(0))
    twos = np.floor(u * f32(1.44269504) + f32(0.5))
    x = twos * f32(-2.12194440e-4) - (u - twos * f32(0.693359375))
    y = np.full_like(x, POWERS[0])
    for power in POWERS[1:]:
        y = y * x + power
    scale = ((127 - twos.astype(np.int32)) << 23).view(np.float32)
    near: Float32Array = np.where(counts, (y * (x * x) + x + f32(1)) * scale, f32(0))
    return near


class _Maps(ctypes.Structure):
    """`MoveNet` of cuda/movenet.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in MAPS),
        *((name, ctypes.c_int) for name in ("keypoints", "rows", "columns", "people")),
        ("center_threshold", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("points", "boxes", "scores", "scratch")),
    )


def _compiled(
    library: ctypes.CDLL, maps: Mapping[str, Float32Array], least: float
) -> MovenetPeople:
    kept = [np.ascontiguousarray(maps[name], np.float32) for name in MAPS]
    k, (rows, columns) = len(maps["kpt_heatmap"]), maps["center"].shape[1:]
    points, boxes = np.empty((MOST, k, 3), np.float32), np.empty((MOST, 4), np.float32)
    scores = np.empty(MOST, np.float32)
    job = _Maps(*(m.ctypes.data for m in kept), k, rows, columns, MOST, least)
    job.points, job.boxes, job.scores = (a.ctypes.data for a in (points, boxes, scores))
    library.movenet_scratch_words.restype = ctypes.c_longlong
    scratch = np.empty(library.movenet_scratch_words(ctypes.byref(job)), np.int64)
    job.scratch = scratch.ctypes.data
    count = library.decode_movenet(ctypes.byref(job))
    return MovenetPeople(boxes[:count].copy(), scores[:count].copy(), points[:count].copy())
