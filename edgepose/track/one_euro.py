"""The One-Euro filter: smooth while still, quick while moving.

Casiez, Roussel and Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems", CHI 2012. A low-pass filter whose cut-off frequency rises with the speed.
Here the speed is that of the point in the plane, so both axes are smoothed alike, and it is measured
in sizes of the body a second, so that near and far people are smoothed alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Float64Array


@dataclass(frozen=True)
class OneEuro:
    """Parameters, and one step of the filter for any number of points.

    Attributes:
        min_cutoff: cut-off in Hz for points at rest; less = smoother.
        beta: Hz added for each body size a second of speed; more = quicker.
        speed_cutoff: cut-off in Hz for the speed itself.
    """

    min_cutoff: float = 1.0
    beta: float = 4.0
    speed_cutoff: float = 1.0

    def step(
        self,
        state: Float64Array,
        values: Float64Array,
        known: NDArray[np.bool_],
        now: float,
        sizes: Float64Array | float = 1.0,
    ) -> Float64Array:
        """Filter points.

        Args:
            state: float64 (..., 5): x, y, speed in x, speed in y, time; changed in place. A time of
                NaN marks points that were never seen; the filter starts with their first value.
            values: float64 (..., 2).
            known: (...): which of them were measured; the state of others stays.
            now: seconds.
            sizes: body size in pixels, broadcast against (...).

        Returns:
            float64 (..., 2): filtered points where known, `values` elsewhere.
        """
        elapsed = now - state[..., 4]
        first = ~(elapsed >= 0)  # never seen (NaN), or time ran backwards
        dt = np.where(first, 0.0, elapsed)
        place, speed = state[..., :2], state[..., 2:4]
        moved = values - place
        measured = moved / np.maximum(dt, 1e-9)[..., None]
        speed = speed + _weight(self.speed_cutoff, dt)[..., None] * (measured - speed)
        rate = np.sqrt(speed[..., 0] ** 2 + speed[..., 1] ** 2) / sizes
        place = place + _weight(self.min_cutoff + self.beta * rate, dt)[..., None] * moved
        place = np.where(first[..., None], values, place)
        speed = np.where(first[..., None], 0.0, speed)
        at = known[..., None]
        state[..., :2] = np.where(at, place, state[..., :2])
        state[..., 2:4] = np.where(at, speed, state[..., 2:4])
        state[..., 4] = np.where(known, now, state[..., 4])
        out: Float64Array = np.where(at, place, values)
        return out


def _weight(cutoff: Float64Array | float, dt: Float64Array) -> Float64Array:
    """Weight of a new value in a first-order low-pass with this cut-off after `dt` seconds."""
    weight: Float64Array = dt / (dt + 1 / (2 * math.pi * np.asarray(cutoff)))
    return weight


def empty_state(*shape: int) -> Float64Array:
    """State (*shape, 5) of points that were never seen."""
    state = np.zeros((*shape, 5))
    state[..., 4] = np.nan
    return state
