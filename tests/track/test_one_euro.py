"""The One-Euro filter against its definition and on signals whose answer is known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.track.one_euro import OneEuro, empty_state


class OneEuroFilter:
    """One set of points through the filter, one call a frame; NaN where not measured."""

    def __init__(
        self, min_cutoff: float = 1.0, beta: float = 4.0, speed_cutoff: float = 1.0
    ) -> None:
        self.smooth = OneEuro(min_cutoff, beta, speed_cutoff)
        self.state: np.ndarray | None = None

    def __call__(self, points: np.ndarray, now: float, size: float = 1.0) -> np.ndarray:
        if self.state is None:
            self.state = empty_state(len(points))
        return self.smooth.step(self.state, points, np.isfinite(points).all(axis=1), now, size)


def reference(
    times: list[float], values: list[float], min_cutoff: float, beta: float, speed_cutoff: float
) -> list[float]:
    """The paper's algorithm for one coordinate, written out."""

    def alpha(cutoff: float, dt: float) -> float:
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / dt)

    out = [values[0]]
    speed = 0.0
    for (before, now), value in zip(pairwise(times), values[1:], strict=True):
        dt = now - before
        a = alpha(speed_cutoff, dt)
        speed = a * (value - out[-1]) / dt + (1 - a) * speed
        a = alpha(min_cutoff + beta * abs(speed), dt)
        out.append(a * value + (1 - a) * out[-1])
    return out


@given(
    st.lists(st.tuples(st.floats(0.005, 0.5), st.floats(-500, 500)), min_size=2, max_size=30),
    st.floats(0.1, 5),
    st.floats(0, 2),
    st.floats(0.2, 3),
)
def test_along_one_axis_it_is_the_papers(
    steps: list[tuple[float, float]], min_cutoff: float, beta: float, speed_cutoff: float
) -> None:
    times = np.cumsum([dt for dt, _ in steps]).tolist()
    values = [x for _, x in steps]
    smooth = OneEuroFilter(min_cutoff, beta, speed_cutoff)
    got = [smooth(np.array([[x, 7.0]]), t)[0] for t, x in zip(times, values, strict=True)]
    expected = reference(times, values, min_cutoff, beta, speed_cutoff)
    assert [x for x, _ in got] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert [y for _, y in got] == pytest.approx([7.0] * len(values))


def test_a_turned_signal_gives_a_turned_answer() -> None:
    rng = np.random.default_rng(3)
    path = np.cumsum(rng.normal(0, 3, (50, 2)), axis=0)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    straight, turned = OneEuroFilter(), OneEuroFilter()
    for i, point in enumerate(path):
        expected = straight(point[None], i / 30) @ turn.T
        assert turned((turn @ point)[None], i / 30) == pytest.approx(expected)


def test_noise_at_rest_is_damped_and_a_jump_is_followed() -> None:
    rng = np.random.default_rng(4)
    smooth = OneEuroFilter(min_cutoff=1.0, beta=0.02)
    rest = [smooth(rng.normal(100, 2, (1, 2)), i / 60)[0] for i in range(300)]
    assert np.std(rest[100:]) < 0.8
    after = [smooth(np.array([[400.0, 100.0]]), 5 + i / 60)[0, 0] for i in range(30)]
    assert after[-1] > 395


def test_sizes_make_near_and_far_alike() -> None:
    near, far = OneEuroFilter(), OneEuroFilter()
    for i, x in enumerate([0.0, 4.0, 9.0, 9.0, 2.0]):
        a = near(np.array([[10 * x, 0.0]]), i / 30, 100.0)
        b = far(np.array([[x, 0.0]]), i / 30, 10.0)
        assert a == pytest.approx(10 * b)


def test_missing_points_stay_missing_and_come_back() -> None:
    smooth = OneEuroFilter()
    both = np.array([[10.0, 10.0], [50.0, 50.0]])
    smooth(both, 0.0)
    gone = both.copy()
    gone[1] = np.nan
    out = smooth(gone, 0.1)
    assert out[0].tolist() == [10.0, 10.0]
    assert np.isnan(out[1]).all()
    # after a long time the old place hardly counts
    back = smooth(np.array([[10.0, 10.0], [90.0, 50.0]]), 20.0)
    assert back[1] == pytest.approx([90.0, 50.0], abs=1.0)


def test_the_same_time_twice_changes_nothing() -> None:
    smooth = OneEuroFilter()
    first = smooth(np.array([[1.0, 2.0]]), 1.0)
    assert smooth(np.array([[9.0, 9.0]]), 1.0) == pytest.approx(first)


def test_many_bodies_in_one_step_are_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0, 50, (20, 3, 4, 2))
    state = empty_state(3, 4)
    single = [OneEuroFilter() for _ in range(3)]
    for i, frame in enumerate(values):
        known = np.ones((3, 4), bool)
        together = OneEuro().step(state, frame, known, i / 30, np.array([[10.0], [20.0], [30.0]]))
        for body in range(3):
            alone = single[body](frame[body], i / 30, 10.0 * (body + 1))
            assert together[body] == pytest.approx(alone)
