"""MoveNet's maps: places where people are put by hand, and what the network in the package answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.decode.movenet import CELL, MAPS, VISIBLE, decode_movenet
from edgepose.decode.one_stage import OneStageParams, decode_people
from edgepose.errors import EngineError

K = 17


def empty(height: int = 24, width: int = 32) -> dict[str, np.ndarray]:
    channels = zip(MAPS, (1, 2, 2, K, 2 * K, 2 * K), strict=True)
    return {name: np.zeros((n, height, width), np.float32) for name, n in channels}


def put(maps: dict[str, np.ndarray], y: int, x: int, score: float = 0.9, half: int = 4) -> None:
    """A person whose keypoint k lies in the cell (y + k % 3, x - k % 2), a quarter cell inside."""
    maps["center"][0, y, x] = score
    maps["box_scale"][:, y, x] = 2 * half
    for k in range(K):
        dy, dx = k % 3, -(k % 2)
        maps["kpt_regress"][2 * k : 2 * k + 2, y, x] = dy + 0.4, dx - 0.3
        maps["kpt_heatmap"][k, y + dy, x + dx] = 0.8
        maps["kpt_offset"][2 * k : 2 * k + 2, y + dy, x + dx] = 0.25, 0.5


@given(st.integers(4, 18), st.integers(4, 27), st.floats(0.25, 1.0, width=32))
def test_a_person_is_found_where_it_was_put(y: int, x: int, score: float) -> None:
    maps = empty()
    put(maps, y, x, score)
    people = decode_movenet(maps, 0.1)
    assert len(people.scores) == 1
    assert people.scores[0] == pytest.approx(score * 0.8, rel=1e-5)
    for k, (px, py, ps) in enumerate(people.points[0]):
        assert (px, py) == (CELL * (x - k % 2 + 0.5), CELL * (y + k % 3 + 0.25))
        assert ps == np.float32(0.8)
    assert people.boxes[0] == pytest.approx(
        np.clip(np.array([x - 4, y - 4, x + 4, y + 4]), 0, [32, 24, 32, 24]) * CELL
    )


def test_two_people_keep_their_own_keypoints_strongest_first() -> None:
    maps = empty()
    put(maps, 8, 6, 0.5)
    put(maps, 12, 24, 0.9)
    people = decode_movenet(maps, 0.1)
    assert people.points[:, 0, 0].tolist() == [CELL * 24.5, CELL * 6.5]
    assert people.scores[0] > people.scores[1]


def test_a_weaker_peak_within_two_cells_is_the_same_person() -> None:
    maps = empty()
    put(maps, 10, 10, 0.9)
    maps["center"][0, 11, 12] = 0.8
    assert len(decode_movenet(maps, 0.1).scores) == 1


def test_a_keypoint_outside_the_box_belongs_to_somebody_else() -> None:
    maps = empty()
    put(maps, 10, 10, half=4)
    maps["kpt_heatmap"][0, 10, 16] = 1.0  # stronger, but beyond the box
    x, _, score = decode_movenet(maps, 0.1).points[0, 0]
    assert (x, score) == (CELL * 10.5, np.float32(0.8))


def test_what_is_hardly_seen_does_not_lower_the_score() -> None:
    maps = empty()
    put(maps, 10, 10, 1.0)
    maps["kpt_heatmap"][3:][maps["kpt_heatmap"][3:] > 0] = VISIBLE / 2
    assert decode_movenet(maps, 0.1).scores[0] == pytest.approx(0.8)


def test_an_empty_map_has_nobody() -> None:
    people = decode_movenet(empty(), 0.1)
    assert people.points.shape == (0, K, 3)
    assert people.boxes.shape == (0, 4)


def test_a_box_without_extent_keeps_its_own_cell() -> None:
    maps = empty()
    put(maps, 10, 10, half=0)
    maps["kpt_heatmap"][:, 10, 10] = 0.5
    people = decode_movenet(maps, 0.1)
    assert np.isfinite(people.points).all()
    assert people.points[0, 1, 2] == np.float32(0.5)  # its map is 0.5 in the own cell


def test_another_network_is_refused_with_what_was_found() -> None:
    maps = {name: m[None] for name, m in empty().items() if name != "box_scale"}
    with pytest.raises(EngineError, match=r"expected center .* found center \[1, 1, 24, 32\]"):
        decode_people(maps, OneStageParams(kind="movenet"))
