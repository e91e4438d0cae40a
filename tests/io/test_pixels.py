"""Flips and sizes of inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import UnknownNameError, UsageError
from edgepose.io.base import SourceOptions
from edgepose.io.pixels import FLIPS, Transform, flip, size_for
from edgepose.types import Pixels

# what GStreamer's videoflip methods of these names do, said in numpy
DEFINITIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda p: p,
    "counterclockwise": lambda p: np.rot90(p, 1),
    "rotate-180": lambda p: np.rot90(p, 2),
    "clockwise": lambda p: np.rot90(p, -1),
    "horizontal": lambda p: p[:, ::-1],
    "vertical": lambda p: p[::-1],
    "upper-right-diagonal": lambda p: np.rot90(p, 2).transpose(1, 0, 2),
    "upper-left-diagonal": lambda p: p.transpose(1, 0, 2),
}


def test_all_eight_flips_are_defined() -> None:
    assert set(DEFINITIONS) == set(FLIPS)
    assert len(FLIPS) == 8


@pytest.mark.parametrize("name", DEFINITIONS)
@given(width=st.integers(1, 9), height=st.integers(1, 9))
def test_flip_equals_its_definition(name: str, width: int, height: int) -> None:
    pixels = np.random.default_rng(width * 10 + height).integers(0, 256, (height, width, 3))
    pixels = pixels.astype(np.uint8)
    flipped = flip(pixels, name)
    np.testing.assert_array_equal(flipped, DEFINITIONS[name](pixels))
    assert flipped.flags.c_contiguous


def test_names_of_flips() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(flip(pixels, "Horizontal-Flip"), pixels[:, ::-1])
    with pytest.raises(UnknownNameError, match="clockwise"):
        flip(pixels, "clokwise")


def test_sizes() -> None:
    assert size_for(640, 480, (0, 0)) == (640, 480)
    assert size_for(640, 480, (320, 0)) == (320, 240)
    assert size_for(640, 480, (0, 240)) == (320, 240)
    assert size_for(640, 480, (100, 300)) == (100, 300)
    assert size_for(1000, 1, (10, 0)) == (10, 1)


def test_flip_comes_before_the_size() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    assert Transform(SourceOptions(flip="clockwise", width=10))(pixels).shape == (20, 10, 3)
    with pytest.raises(UsageError):
        Transform(SourceOptions(width=-1))
