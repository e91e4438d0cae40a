"""MoveNet's maps: places where people are put by hand, and what the network in the package answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.decode import movenet
from edgepose.decode.movenet import (
    CELL,
    MAPS,
    MOST,
    SPREAD,
    VISIBLE,
    MovenetPeople,
    decode_movenet,
    decode_numpy,
)
from edgepose.decode.one_stage import OneStageParams, decode_people
from edgepose.errors import EngineError
from edgepose.paths import data_networks
from tests.decode.movenet_maps import K, empty, put, random_maps


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


# --- TensorFlow.js, and the compiled decoder against numpy's


@pytest.fixture(params=[decode_numpy, decode_movenet])
def decoder(request: pytest.FixtureRequest) -> Any:
    """Each decoder; the compiled one where the host library is built or can be."""
    if request.param is decode_movenet:
        request.getfixturevalue("compiled")
    return request.param


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Pixels of a picture, TensorFlow.js's six people in it, and the maps of the network in the package."""
    import onnxruntime

    data = dict(np.load(Path(__file__).parents[1] / "data" / "movenet-tfjs.npz"))
    session = onnxruntime.InferenceSession(str(data_networks() / "movenet-multipose.onnx"))
    picture = np.ascontiguousarray(data["pixels"].transpose(2, 0, 1)[None], np.float32)
    maps = dict(zip(MAPS, session.run(list(MAPS), {"input": picture}), strict=True))
    return {**data, "maps": {name: m[0] for name, m in maps.items()}}


def test_people_are_those_of_tensorflow(decoder: Any, recorded: dict[str, Any]) -> None:
    people, answer = decoder(recorded["maps"], 0.0), recorded["answer"]
    height, width = recorded["pixels"].shape[:2]
    places = answer[:, :51].reshape(6, 17, 3)[..., :2] * (height, width)
    np.testing.assert_allclose(people.points[:6, :, [1, 0]], places, atol=0.02)
    boxes = answer[:, 51:55] * (height, width, height, width)
    np.testing.assert_allclose(people.boxes[:6, [1, 0, 3, 2]], boxes, atol=0.02)
    assert (answer[:, 55] > 0.2).sum() == (people.scores > 0.2).sum() == 2


def same(found: MovenetPeople, wanted: MovenetPeople) -> None:
    """Boxes and points have the same bits; the scores are sums, in another order."""
    np.testing.assert_array_equal(found.boxes, wanted.boxes)
    np.testing.assert_array_equal(found.points, wanted.points)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)


@pytest.mark.usefixtures("compiled")
@given(random_maps())
def test_the_compiled_decoder_is_numpys(maps: dict[str, np.ndarray]) -> None:
    same(decode_movenet(maps, 0.02), decode_numpy(maps, 0.02))


@given(st.floats(0, 400, width=32), st.integers(1, 512))
def test_the_weight_falls_as_the_exponential_does(apart: float, side: int) -> None:
    spread = np.float32(SPREAD) * np.float32(side)
    found = float(movenet.falloff(np.array([apart], np.float32), spread)[0])
    exact = np.exp(-(float(np.float32(apart)) ** 2) / float(spread))
    assert found == pytest.approx(exact, rel=1e-5, abs=1e-37)
    further = float(movenet.falloff(np.array([apart + 1], np.float32), spread)[0])
    assert further < found or found == 0


@pytest.mark.usefixtures("compiled")
def test_the_compiled_decoder_on_a_real_answer(recorded: dict[str, Any]) -> None:
    same(decode_movenet(recorded["maps"], 0.0), decode_numpy(recorded["maps"], 0.0))


def test_flat_maps_end(decoder: Any) -> None:
    maps = {name: np.full_like(m, 0.5) for name, m in empty().items()}
    assert len(decoder(maps, 0.1).scores) == MOST
