"""People are followed by their keypoints, and the detector looks every few frames, or where that may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose import PoseNet
from edgepose.engines import EngineOptions
from edgepose.errors import UsageError
from edgepose.estimators import EstimatorOptions
from edgepose.estimators.base import Finish
from edgepose.estimators.expected import Expecting
from edgepose.estimators.top_down import TopDown
from edgepose.eval.loss import nearest
from edgepose.io.base import SourceOptions
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.pipeline import Pipeline
from edgepose.serve.engines import SharedEstimator
from edgepose.timing import Stopwatch
from edgepose.types import Float64Array, Frame, Pose
from tests.conftest import Material
from tests.estimators.test_top_down import (
    LEFT,
    RIGHT,
    detector_network,
    options,
    picture,
    pose_network,
    xy,
)

NAMES = ("head", "hand", "foot")
PIXELS = np.zeros((200, 1000, 3), np.uint8)
People = Callable[
    [str, int], dict[float, float]
]  # source, frame -> x of each person: score of keypoints


def person(number: int, x: float, score: float, box: Sequence[float]) -> Pose:
    points = np.array([[x, 60, score], [x + 20, 100, score], [x, 140, score]], np.float32)
    return Pose(number, points, NAMES, score=score, box=(box[0], box[1], box[2], box[3]))


class World:
    """Finds people where they are; those that are expected only in the box that is expected."""

    manifest = Manifest(name="world", family="top-down")
    topology = Topology("person", NAMES, ())
    engine_name, threshold = "none", 0.0

    def __init__(self, people: People, every: int = 5) -> None:
        self._people, self.detect_every = people, every
        self.looked: list[tuple[str, int]] = []
        self.expected: list[Float64Array] = []

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        with stopwatch.stage("network"):
            return [self._poses(frame) for frame in frames]

    def _poses(self, frame: Frame) -> tuple[Pose, ...]:
        there = self._people(frame.source, frame.index)
        if frame.expected is None:
            self.looked.append((frame.source, frame.index))
            boxes = [(x - 20, 50, x + 40, 150, s) for x, s in there.items()]
        else:
            self.expected.append(frame.expected)
            boxes = [tuple(row) for row in frame.expected.tolist()]
        found = [
            (x, score, box)
            for box in boxes
            for x, score in there.items()
            if box[0] < x and x + 20 < box[2] and score > 0.1
        ]
        return tuple(person(i, *who) for i, who in enumerate(found))

    def close(self) -> None:
        pass


def film(frames: int = 20, source: str = "film", first: int = 0) -> list[Frame]:
    return [Frame(PIXELS, i, i / 10, source) for i in range(first, first + frames)]


def follow(world: World, frames: Sequence[Frame]) -> list[tuple[Pose, ...]]:
    expecting = Expecting(world, world.detect_every)
    return [expecting.estimate([frame], Stopwatch())[0] for frame in frames]


def places(found: Sequence[Sequence[Pose]]) -> list[list[float]]:
    return [sorted(float(p["head"].x) for p in poses) for poses in found]


def walking(source: str, index: int) -> dict[float, float]:
    return {100.0 + 15 * index: 0.9}


@pytest.mark.parametrize("every", [2, 5, 10])
def test_who_walks_is_followed_and_the_detector_looks_every_n_frames(every: int) -> None:
    world = World(walking, every)
    found = follow(world, film(21))
    assert places(found) == [[100 + 15 * i] for i in range(21)]
    # the second look confirms the first
    assert [i for _, i in world.looked] == [0, *range(1, 21, every)]
    for row in world.expected:
        assert 60 < row[0, 2] - row[0, 0] < 80
        assert row[0, 4] == pytest.approx(1)
    for i, (pose,) in enumerate(found):  # the box goes along, and is not the larger one
        np.testing.assert_allclose(pose.box, (80 + 15 * i, 50, 140 + 15 * i, 150), atol=0.1)


@pytest.mark.parametrize("entry", range(3, 9))
def test_who_enters_is_found_within_n_frames(entry: int) -> None:
    def people(source: str, index: int) -> dict[float, float]:
        return {**walking(source, index), **({900.0: 0.8} if index >= entry else {})}

    found = follow(World(people), film())
    first = next(i for i, poses in enumerate(found) if len(poses) == 2)
    assert entry <= first < entry + 5
    assert all(len(poses) == 2 for poses in found[first:])


def test_an_empty_room_is_looked_at_every_n_frames() -> None:
    world = World(lambda source, index: {500.0: 0.8} if index > 12 else {})
    found = follow(world, film())
    assert [i for _, i in world.looked] == [0, 1, 6, 11, 16, 17]
    assert [len(poses) for poses in found] == [0] * 16 + [1] * 4


@pytest.mark.parametrize(
    ("people", "again"),
    [
        # gone
        (lambda s, i: {300.0: 0.9} if i != 8 else {}, [6, 8, 9, 10, 15]),
        # half of the keypoints' scores: somebody else may be there
        (lambda s, i: {300.0: 0.9 if i < 8 else 0.5}, [6, 8, 13, 18]),
        # a jump, and from there on at rest
        (lambda s, i: {300.0 if i < 8 else 700.0: 0.9}, [6, 8, 9, 14, 19]),
    ],
)
def test_a_pose_that_is_lost_or_weak_makes_the_detector_look_at_once(
    people: People, again: list[int]
) -> None:
    world = World(people)
    found = follow(world, film())
    assert [i for _, i in world.looked] == sorted({0, 1, 6, *again})
    assert places(found) == [sorted(people("", i)) for i in range(20)]


def test_the_detector_looks_while_boxes_meet() -> None:
    world = World(lambda source, index: {100.0 + 20 * index: 0.9, 400.0: 0.8})
    found = follow(world, film(30))
    assert all(len(poses) == 2 for poses in found[:14])
    looked = {i for _, i in world.looked}
    assert set(range(13, 17)) <= looked  # 60 pixels wide, 20 apart at most
    assert len(looked & set(range(12))) <= 4


def test_time_that_goes_back_or_passes_makes_the_detector_look() -> None:
    world = World(walking)
    times = [0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 0.0, 0.1]
    follow(world, [Frame(PIXELS, i, t, "film") for i, t in enumerate(times)])
    assert [i for _, i in world.looked] == [0, 1, 4, 7]


def test_pictures_and_other_sizes_are_looked_at() -> None:
    world = World(lambda source, index: {300.0: 0.9})
    follow(world, [Frame(PIXELS, i, None, "folder") for i in range(6)])
    assert len(world.looked) == 6
    small = np.zeros((150, 800, 3), np.uint8)
    frames = film(12)
    follow(world, [*frames[:4], Frame(small, 4, 0.4, "film"), *frames[5:]])
    assert [i for _, i in world.looked[6:]] == [0, 1, 4, 5, 10]


def test_two_sources_never_share_boxes() -> None:
    def people(source: str, index: int) -> dict[float, float]:
        return {(200.0 if source == "left" else 700.0): 0.9}

    world = World(people)
    expecting = Expecting(world, 5)
    pairs = zip(film(12, "left"), film(12, "right"), strict=True)
    for pair in pairs:
        left, right = expecting.estimate(pair, Stopwatch())
        assert places([left, right]) == [[200], [700]]
    assert {(s, i) for s, i in world.looked} == {
        (s, i) for s in ("left", "right") for i in (0, 1, 6, 11)
    }


def test_channels_of_a_server_share_the_network_and_no_boxes() -> None:
    world = World(lambda source, index: {(200.0 if source == "left" else 700.0): 0.9})
    shared = SharedEstimator(world)
    ways = {name: Expecting(shared, shared.detect_every) for name in ("left", "right")}
    for i in range(12):
        for name, way in ways.items():
            watch = Stopwatch()
            (poses,) = way.estimate([film(12, name)[i]], watch)
            assert places([poses]) == [[200.0 if name == "left" else 700.0]]
            assert watch.stages
    assert len(world.looked) == 8


class Lanes(World):
    """As an engine on a CPU makes it for films: several frames may be under way."""

    ahead = 1

    def begin(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> Finish:
        found = self.estimate(frames, stopwatch)
        return lambda: found


@pytest.mark.parametrize("kind", [World, Lanes], ids=["one", "several"])
def test_the_pipeline_follows_films_and_only_where_it_is_asked_for(kind: type[World]) -> None:
    class Film:
        live, stills, rate, name, length = False, False, 10.0, "film", 12

        def __iter__(self) -> Iterator[Frame]:
            return iter(film(12))

        def close(self) -> None:
            pass

    for every, looks in ((5, 4), (1, 12)):
        world = kind(walking, every)
        summary = Pipeline(Film(), world).run()
        assert (len(world.looked), summary.poses) == (looks, 12)


def test_a_top_down_network_needs_no_detector_for_people_it_expects(
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boxes = detector_network(make_detector([LEFT, RIGHT]))
    network = pose_network(make_pose("simcc"), "simcc", split=1.0)
    estimator = TopDown.load(network, options(boxes, detect_every=3))
    assert estimator.detect_every == 3
    frame = Frame(picture())
    (looked,) = estimator.estimate([frame], Stopwatch())
    expected = frame.expecting(np.array([LEFT, RIGHT], float))
    mixed = estimator.estimate([expected, frame, frame.expecting(np.zeros((0, 5)))], Stopwatch())
    for poses in mixed[:2]:
        np.testing.assert_allclose(xy(poses), xy(looked), atol=1e-3)
        np.testing.assert_allclose([p.score for p in poses], [p.score for p in looked], atol=1e-6)
    assert mixed[2] == ()

    def look(*args: Any) -> None:
        raise AssertionError("the detector ran")

    monkeypatch.setattr(estimator.detector, "detect", look)
    assert len(estimator.estimate([expected], Stopwatch())[0]) == 2


def test_a_number_of_frames_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="detect_every is 0"):
        EstimatorOptions(detect_every=0)


def test_hands_are_always_looked_for(tmp_path: Path) -> None:
    with PoseNet("hand", ["--detect-every", "5"], engine=EngineOptions(threads=1)) as net:
        assert net._estimator.detect_every == 1  # type: ignore[attr-defined]


def test_the_same_people_are_in_a_film(shared: Material) -> None:
    """The start of the first of six visits: a corridor, and somebody comes in."""
    path = str(shared / "media/one-by-one-person-detection.mp4")
    found = {}
    for every in ("1", "5"):
        with PoseNet("accurate", ["--detect-every", every], engine=EngineOptions(threads=1)) as net:
            asked = SourceOptions(start=54, frames=24)
            found[every] = [tuple(poses) for _, poses in net.stream(path, options=asked)]
    ones, fives = found["1"], found["5"]
    assert any(ones)
    assert not all(ones)
    entry = next(i for i, poses in enumerate(ones) if poses)
    apart = [i for i, (a, b) in enumerate(zip(ones, fives, strict=True)) if len(a) != len(b)]
    assert set(apart) <= set(range(entry, entry + 4))
    for (one,), (five,) in zip(ones[entry + 5 :], fives[entry + 5 :], strict=True):
        assert nearest(one, [five])[0] < 0.05
