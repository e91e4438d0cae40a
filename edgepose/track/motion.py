"""Where a body will be: a Kalman filter with constant velocity for each, many at once.

The state is the place and the velocity of the body as a whole, not of each keypoint: arms and legs
swing back, a body goes on. x and y share one covariance, so three numbers hold it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Float64Array


@dataclass(frozen=True)
class Motion:
    """Constants in body sizes, so that near and far people are treated alike.

    Attributes:
        speed: standard deviation of the velocity of someone new, sizes a second.
        change: how fast velocities change: the square root of the noise density, sizes / s^1.5.
        noise: standard deviation of a measured place, sizes.
        coast: seconds in which the velocity of someone unseen falls to 1/e.
    """

    speed: float = 2.0
    change: float = 1.5
    noise: float = 0.03
    coast: float = 2.0

    def start(self, sizes: Float64Array) -> Float64Array:
        """Covariance (N, 3) [place, place-velocity, velocity] of bodies seen for the first time."""
        zero = np.zeros_like(sizes)
        return np.stack([(self.noise * sizes) ** 2, zero, (self.speed * sizes) ** 2], axis=1)

    def predict(
        self,
        velocity: Float64Array,
        covariance: Float64Array,
        sizes: Float64Array,
        unseen: NDArray[np.bool_],
        dt: float,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Shift (N, 2) in pixels, velocity (N, 2) and covariance (N, 3) after `dt` seconds."""
        if dt <= 0:
            return np.zeros_like(velocity), velocity, covariance
        fading = np.exp(-dt / self.coast)
        travelled = np.where(unseen, self.coast * (1 - fading), dt)
        shift = velocity * travelled[:, None]
        velocity = velocity * np.where(unseen, fading, 1.0)[:, None]
        place, both, speed = covariance.T
        q = (self.change * sizes) ** 2
        moved = np.stack(
            [
                place + dt * (2 * both + dt * speed) + q * dt**3 / 3,
                both + dt * speed + q * dt**2 / 2,
                speed + q * dt,
            ],
            axis=1,
        )
        return shift, velocity, moved

    def update(
        self,
        velocity: Float64Array,
        covariance: Float64Array,
        sizes: Float64Array,
        error: Float64Array,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Take in measurements that lie `error` (N, 2) pixels from the prediction.

        Returns:
            the shift (N, 2) from the measured to the filtered place, velocity and covariance.
        """
        place, both, speed = covariance.T
        total = place + (self.noise * sizes) ** 2
        gain, gain_speed = place / total, both / total
        after = np.stack([place * (1 - gain), both * (1 - gain), speed - gain_speed * both], axis=1)
        return (gain - 1)[:, None] * error, velocity + gain_speed[:, None] * error, after
