"""Coordinates of networks are pixels of their input, or 0..1 of it: which, the manifest says."""

from __future__ import annotations

import numpy as np

from edgepose.errors import EngineError
from edgepose.types import AnyArray

# what lies within so few pixels of a corner is nobody; what is so many times as large as the input neither
_LEAST_PIXELS, _MOST_UNIT = 1.5, 8.0


def to_pixels(coordinates: AnyArray, size: tuple[int, int], unit: bool, what: str) -> AnyArray:
    """Coordinates in pixels of the network's input.

    Args:
        coordinates: finite, (..., 2) x, y or (..., 4) xyxy. size: (width, height) of the input.
        unit: they are 0..1. what: for messages.

    Raises:
        EngineError: they are plainly 0..1 and `unit` is False, or the other way round.
    """
    most = float(np.abs(coordinates).max(initial=0.0))
    if unit and most > _MOST_UNIT:
        raise EngineError(
            f"{what} of the network reach {most:.0f}, and its manifest says that they are 0..1: leave "
            '"unit" out of its decoder.'
        )
    if not unit and 0 < most <= _LEAST_PIXELS:
        raise EngineError(
            f"{what} of the network are at most {most:.2g}: 0..1 of its input, not pixels. Say so in its "
            'manifest, with "unit": true in its decoder.'
        )
    if not unit:
        return coordinates
    scaled: AnyArray = coordinates * np.resize(np.array(size, np.float32), coordinates.shape[-1])
    return scaled
