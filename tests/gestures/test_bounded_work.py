"""Gestures never delay frames: what they cost a frame is bounded, whatever happened before. Counted, not timed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from edgepose.gestures.features import MOMENTS, Features
from edgepose.gestures.finder import make_finders
from edgepose.gestures.taught import Taught, TaughtJudge
from edgepose.networks.topology import load_topology
from edgepose.types import Pose

PEOPLE = 10
Memory = Callable[[], int]
NAMES = load_topology("coco_17").keypoints


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Bytes that Python and numpy hold."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def crowd(random: np.random.Generator, first: int) -> list[Pose]:
    """Ten people whose tracks were never seen before `first`."""
    points = random.uniform(0, 300, (PEOPLE, len(NAMES), 3)).astype(np.float32)
    points[:, :, 2] = 0.9
    return [Pose(i, p, NAMES, track=first + i) for i, p in enumerate(points)]


def calls(work: Callable[[], Any]) -> int:
    """How many functions are called."""
    count = 0

    def one_more(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(one_more)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_frame_costs_the_same_after_a_long_day(memory: Memory) -> None:
    """People come and go all day; the work for a frame and what is remembered do not grow with the day."""
    finder, random = make_finders("builtin", load_topology("coco_17"))(), np.random.default_rng(0)
    worst, held = [], []
    for hour in range(4):
        most = 0
        for frame in range(250):
            poses, now = (
                crowd(random, 1 + 1000 * hour + frame // 10 * PEOPLE),
                3600.0 * hour + frame,
            )
            most = max(most, calls(partial(finder.update, poses, now)))
        worst.append(most)
        held.append(memory())
    assert max(worst) <= 1.2 * worst[0]
    assert worst[0] < 100 + 60 * PEOPLE
    assert held[-1] - held[0] < 50_000


def test_a_taught_gesture_remembers_its_window_and_no_more(memory: Memory) -> None:
    """A track that never ends."""
    count = Features(NAMES, MOMENTS).count
    random = np.random.default_rng(0)
    two, none = np.zeros((2, count)), np.zeros(2)
    taught = Taught(
        ("a", "b"), NAMES, 1.0, np.zeros(count), np.ones(count), two, none,
        random.normal(size=(2, count)), np.array([0.0, 1.0]), none + 1e6,
    )  # fmt: skip
    judge = TaughtJudge(taught, NAMES, "here")
    points = random.uniform(0, 300, (1, len(NAMES), 3))
    held = []
    for minute in range(3):
        for frame in range(600):
            judge.scores(points, [1], 60.0 * minute + frame / 10)
        held.append(memory())
    assert held[-1] - held[0] < 50_000
