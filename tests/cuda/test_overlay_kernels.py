"""The overlay kernel: equal to its twin, and the twin draws what it says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.cuda import twins
from edgepose.cuda.pictures import SHAPE_KINDS, Shape
from edgepose.errors import UsageError

numbers = st.one_of(
    st.floats(-60, 160, width=32), st.sampled_from([0.0, 0.5, math.nan, math.inf, -1e30, 1e5])
)
shapes = st.builds(
    Shape,
    st.sampled_from(SHAPE_KINDS),
    st.tuples(numbers, numbers),
    st.tuples(numbers, numbers),
    st.one_of(st.floats(0, 20, width=32), st.just(math.nan)),
    st.tuples(*[st.integers(0, 255)] * 3),
    st.floats(0, 1, width=32),
)


@given(
    st.lists(shapes, max_size=12),
    st.integers(1, 70),
    st.integers(1, 40),
    st.sampled_from([3, 4]),
    st.booleans(),
    st.integers(0, 7),
)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_kernel_equals_its_twin(
    on: Any, drawn: list[Shape], width: int, height: int, channels: int, bgr: bool, padding: int
) -> None:
    rng = np.random.default_rng(width * height)
    rows = rng.integers(0, 256, (height, width * channels + padding), np.uint8)
    picture = np.lib.stride_tricks.as_strided(
        rows, (height, width, channels), (rows.strides[0], channels, 1)
    )
    there = on.put(picture.copy() if not padding else picture)
    want = picture.copy()
    twins.overlay(want, drawn, bgr)
    on.kernels.overlay(there, drawn, bgr)
    if padding and on.device is not None:
        return  # a strided device array has no way back; the case without padding covers the GPU
    np.testing.assert_array_equal(on.get(there), want)


def test_more_shapes_than_a_block_has_threads(on: Any) -> None:
    rng = np.random.default_rng(0)
    many = [
        Shape("capsule", tuple(a), tuple(b), 2.0, tuple(c), 0.5)
        for a, b, c in zip(
            rng.uniform(0, 90, (700, 2)),
            rng.uniform(0, 90, (700, 2)),
            rng.integers(0, 256, (700, 3)).tolist(),
            strict=True,
        )
    ]
    want = np.zeros((90, 90, 3), np.uint8)
    there = on.put(want.copy())
    twins.overlay(want, many)
    on.kernels.overlay(there, many)
    np.testing.assert_array_equal(on.get(there), want)


def drawn(shape: Shape, size: int = 60) -> np.ndarray:
    """The red channel of a black picture with one shape."""
    picture = np.zeros((size, size, 3), np.uint8)
    twins.overlay(picture, [shape])
    return picture[..., 0].astype(float) / 255


def test_a_disc_has_its_area() -> None:
    disc = drawn(Shape("capsule", (30, 30), (30, 30), 10, (255, 0, 0)))
    assert disc.sum() == pytest.approx(math.pi * 100, rel=0.01)
    assert disc[30, 30] == 1
    assert disc[30, 45] == 0


def test_a_capsule_has_its_area() -> None:
    line = drawn(Shape("capsule", (10, 20), (50, 40), 3, (255, 0, 0)))
    assert line.sum() == pytest.approx(6 * math.hypot(40, 20) + math.pi * 9, rel=0.01)


def test_boxes() -> None:
    filled = drawn(Shape("filled box", (10, 12), (40, 30), 0, (255, 0, 0)))
    assert filled.sum() == pytest.approx(30 * 18, rel=0.01)
    outline = drawn(Shape("box", (40, 30), (10, 12), 1, (255, 0, 0)))  # corners in any order
    assert outline.sum() == pytest.approx(2 * 2 * (30 + 18), rel=0.03)
    assert outline[20, 25] == 0


def test_alpha_and_order() -> None:
    picture = np.full((20, 20, 3), 100, np.uint8)
    over = Shape("filled box", (0, 0), (20, 20), 2, (200, 0, 0), 0.5)
    twins.overlay(picture, [over, over])
    assert picture[10, 10].tolist() == [175, 25, 25]


def test_the_alpha_channel_of_the_picture_stays(on: Any) -> None:
    there = on.put(np.full((8, 8, 4), 7, np.uint8))
    on.kernels.overlay(there, [Shape("filled box", (0, 0), (8, 8), 1, (1, 2, 3))], bgr=True)
    assert on.get(there)[4, 4].tolist() == [3, 2, 1, 7]


def test_what_cannot_be_drawn_into(on: Any) -> None:
    with pytest.raises(UsageError, match="Cannot draw"):
        on.kernels.overlay(on.put(np.zeros((8, 8, 2), np.uint8)), [])
