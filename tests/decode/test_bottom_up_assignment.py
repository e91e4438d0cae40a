"""The assignment is optimal: compared with trying every possibility."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgepose.matching import maximum_matching

scores = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.one_of(
        st.floats(-1, 1, width=32), st.sampled_from([0.0, 0.25, 0.5, -0.5])
    ),  # the second kind makes ties
)


def best_sum(score: np.ndarray) -> float:
    """The largest sum of a one-to-one matching, by trying all."""
    rows, columns = score.shape
    if rows > columns:
        return best_sum(score.T)
    return max(
        float(sum(score[i, j] for i, j in enumerate(choice)))
        for choice in itertools.permutations(range(columns), rows)
    )


@given(scores)
@settings(max_examples=150, deadline=None)
def test_the_sum_is_the_largest_possible(score: np.ndarray) -> None:
    score = score.astype(np.float64)
    pairs = maximum_matching(score.tolist())
    assert len(pairs) == min(score.shape)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert abs(sum(score[i, j] for i, j in pairs) - best_sum(score)) < 1e-9


def test_a_large_problem_is_solved_with_certainty() -> None:
    """On a permuted sum of potentials with a bonus on a hidden permutation the answer is known."""
    rng = np.random.default_rng(3)
    n = 60
    hidden = rng.permutation(n)
    score = rng.uniform(-1, 0, (n, n))
    score[np.arange(n), hidden] = 0.01
    score += rng.uniform(-1, 1, n)[:, None] + rng.uniform(-1, 1, n)[None]
    assert maximum_matching(score.tolist()) == list(enumerate(hidden.tolist()))
