"""Bottom-up decoding against trt_pose's own C++ and against hand-made maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgepose.decode.bottom_up_numpy import BottomUpParams, Stages
from edgepose.decode.paf import pair_starts
from edgepose.errors import EngineError, UsageError
from edgepose.networks.topology import Topology

SETTINGS = {
    "": BottomUpParams(),
    "w11_": BottomUpParams(0.05, 0.1, 11, 7),
    "hand_": BottomUpParams(0.15, 0.15, 5, 7),
}
PAIR = Topology("pair", ("a", "b"), ((0, 1),))


def compare(oracle: Any, prefix: str, frame: int, got: Stages) -> None:
    """Peaks, connections and objects exactly; positions and scores to 1e-5."""
    want = {
        name: oracle.answer(prefix + name, frame)
        for name in ("peak_counts", "peaks", "normalized_peaks", "connections", "objects")
    }
    counts = want["peak_counts"].tolist()
    np.testing.assert_array_equal(np.diff(got.peaks.offsets), counts)
    cells = np.concatenate([want["peaks"][k, :n] for k, n in enumerate(counts)])
    np.testing.assert_array_equal(got.peaks.cells, cells)
    positions = np.concatenate([want["normalized_peaks"][k, :n] for k, n in enumerate(counts)])
    np.testing.assert_allclose(got.positions, positions, rtol=0, atol=1e-5)
    table = oracle.topology.table
    starts = pair_starts(table, got.peaks.offsets)
    for k, (_, _, a, b) in enumerate(table.tolist()):
        na, nb = counts[a], counts[b]
        np.testing.assert_array_equal(got.connections[k, 0, :na], want["connections"][k, 0, :na])
        np.testing.assert_array_equal(got.connections[k, 1, :nb], want["connections"][k, 1, :nb])
        if not prefix:
            scores = oracle.answer("score_graph", frame)[k, :na, :nb]
            block = got.scores[starts[k] : starts[k + 1]].reshape(na, nb)
            np.testing.assert_allclose(block, scores, rtol=0, atol=1e-5)
    objects = want["objects"][: oracle.answer(prefix + "object_counts", frame)]
    np.testing.assert_array_equal(got.objects, objects)


@pytest.mark.parametrize("prefix", SETTINGS)
def test_equals_trt_pose_on_all_frames(oracle: Any, backend: Any, prefix: str) -> None:
    for frame in oracle.rows:
        stages = backend.stages(*oracle.maps(frame), oracle.topology, SETTINGS[prefix])
        compare(oracle, prefix, frame, stages)


def test_decoded_follows_the_objects_of_trt_pose(oracle: Any, backend: Any) -> None:
    decode = backend.decoder(oracle.topology)
    for frame in (0, 50, 120, 199):
        cmap, paf = oracle.maps(frame)
        decoded = decode(cmap, paf)
        count = oracle.answer("object_counts", frame)
        objects = oracle.answer("objects", frame)[:count]
        np.testing.assert_array_equal(decoded.keypoints[..., 2] > 0, objects >= 0)
        for n, k in np.argwhere(objects >= 0):
            y, x = oracle.answer("normalized_peaks", frame)[k, objects[n, k]]
            row, column = oracle.answer("peaks", frame)[k, objects[n, k]]
            want = (np.clip(x, 0, 1), np.clip(y, 0, 1), min(cmap[k, row, column], 1))
            np.testing.assert_allclose(decoded.keypoints[n, k], want, rtol=0, atol=1e-5)


def test_links_are_those_that_were_matched(oracle: Any, backend: Any) -> None:
    decoded = backend.decoder(oracle.topology)(*oracle.maps(150))
    connections, scores = oracle.answer("connections", 150), oracle.answer("score_graph", 150)
    objects = oracle.answer("objects", 150)[: oracle.answer("object_counts", 150)]
    for n, row in enumerate(objects):
        for k, (_, _, a, b) in enumerate(oracle.topology.table):
            matched = row[a] >= 0 and connections[k, 0, row[a]] == row[b] >= 0
            score = scores[k, row[a], row[b]] if matched else 0
            assert decoded.links[n, k] == pytest.approx(min(score, 1), abs=1e-5)


def bump(height: int, width: int, y: float, x: float, top: float = 1.0) -> np.ndarray:
    """A smooth hill with its summit at (y, x) in cells."""
    rows, columns = np.mgrid[:height, :width]
    hill = top * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2)
    return hill.astype(np.float32)


def test_one_link_on_a_map_of_any_size(backend: Any) -> None:
    cmap = np.stack([bump(20, 31, 4, 6, 0.9), bump(20, 31, 4, 24, 0.7)])
    paf = np.zeros((2, 20, 31), np.float32)
    paf[1, 4, 6:25] = 0.8  # channel 2k + 1 is x
    decoded = backend.decoder(PAIR)(cmap, paf)
    want = [[[6.5 / 31, 4.5 / 20, 0.9], [24.5 / 31, 4.5 / 20, 0.7]]]
    np.testing.assert_allclose(decoded.keypoints, want, atol=1e-6)
    np.testing.assert_allclose(decoded.links, [[0.8]], atol=1e-6)


def test_a_link_needs_more_than_the_threshold(backend: Any) -> None:
    cmap = np.stack([bump(20, 20, 4, 4), bump(20, 20, 4, 14)])
    paf = np.zeros((2, 20, 20), np.float32)
    paf[1, 4] = 0.5
    alone = backend.decoder(PAIR, BottomUpParams(link_threshold=0.6))(cmap, paf)
    assert alone.keypoints.shape == (2, 2, 3)
    assert not alone.links.any()


def test_a_peak_on_the_border_stays_inside_the_picture(backend: Any) -> None:
    cmap = np.zeros((2, 8, 8), np.float32)
    cmap[0, 0, 0], cmap[1, 7, 7] = 0.5, 0.5
    decoded = backend.decoder(PAIR)(cmap, np.zeros((2, 8, 8), np.float32))
    found = decoded.keypoints[decoded.keypoints[..., 2] > 0]
    assert len(found) == 2
    assert (found[:, :2] >= 0).all()
    assert (found[:, :2] <= 1).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_maps_that_are_not_finite_neither_hang_nor_crash(value: float, backend: Any) -> None:
    decode = backend.decoder(PAIR)
    full = np.full((2, 12, 12), value, np.float32)
    assert np.isfinite(decode(full, full).keypoints).all()
    cmap = np.stack([bump(12, 12, 3, 3), bump(12, 12, 8, 8)])
    cmap[0, 3, 4] = value
    decoded = decode(cmap, full)
    assert np.isfinite(decoded.keypoints).all()
    assert np.isfinite(decoded.links).all()


def test_nan_hides_no_peak(backend: Any) -> None:
    cmap = np.stack([bump(12, 12, 3, 3), bump(12, 12, 8, 8)])
    cmap[0, 4, 4] = np.nan
    decoded = backend.decoder(PAIR)(cmap, np.zeros((2, 12, 12), np.float32))
    np.testing.assert_allclose(decoded.keypoints[0, 0], [3.5 / 12, 3.5 / 12, 1], atol=1e-6)


def test_full_maps_are_capped_in_row_order(backend: Any) -> None:
    params = BottomUpParams(max_peaks=7, max_objects=3)
    flat = np.full((2, 30, 30), 0.5, np.float32)
    stages = backend.stages(flat, flat, PAIR, params)
    np.testing.assert_array_equal(stages.peaks.cells[:7], [[0, i] for i in range(7)])
    np.testing.assert_array_equal(stages.peaks.offsets, [0, 7, 14])
    assert len(stages.objects) == 3


def test_nothing_to_see(backend: Any) -> None:
    decoded = backend.decoder(PAIR)(*[np.zeros((2, 9, 9), np.float32)] * 2)
    assert decoded.keypoints.shape == (0, 2, 3)
    assert decoded.links.shape == (0, 1)


def test_a_topology_without_links_gives_objects_of_one_keypoint(backend: Any) -> None:
    topology = Topology("points", ("a",), ())
    cmap = np.maximum(bump(16, 16, 4, 4), bump(16, 16, 12, 12))[None]
    decoded = backend.decoder(topology)(cmap, np.zeros((0, 16, 16), np.float32))
    assert decoded.keypoints.shape == (2, 1, 3)
    assert decoded.links.shape == (2, 0)


@pytest.mark.parametrize(
    ("cmap", "paf"),
    [((1, 8, 8), (2, 8, 8)), ((2, 8, 8), (1, 8, 8)), ((2, 8, 8), (2, 8, 9)), ((2, 64), (2, 64))],
)
def test_maps_that_do_not_fit_are_named(
    cmap: tuple[int, ...], paf: tuple[int, ...], backend: Any
) -> None:
    with pytest.raises(EngineError, match=r"needs \(2, H, W\)"):
        backend.decoder(PAIR)(np.zeros(cmap, np.float32), np.zeros(paf, np.float32))


def test_a_background_channel_is_ignored(backend: Any) -> None:
    cmap = np.concatenate([np.zeros((2, 8, 8)), np.ones((1, 8, 8))]).astype(np.float32)
    assert not len(backend.decoder(PAIR)(cmap, cmap).keypoints)


@pytest.mark.parametrize(
    "bad",
    [{"keypoint_threshold": math.nan}, {"link_threshold": -1}, {"window": 0}, {"samples": 1}],
)
def test_parameters_that_cannot_be_meant(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(bad))):
        BottomUpParams(**bad)
