"""Gestures begin, last and end; falls, told from people who lie down, with the real tracker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.gestures.finder import GestureFinder, make_finders
from edgepose.gestures.past import AWAY, Past
from edgepose.gestures.steady import Steady
from edgepose.track.tracker import Tracker
from edgepose.types import Pose
from tests.gestures.people import FIGURES, Points, pose, topology_of

RATE = 15
UP, DOWN = FIGURES["standing"], FIGURES["lying"]


def between(a: Points, b: Points, part: float) -> Points:
    """A figure on its way from one to another, feet first on the floor."""
    moved = {n: (x + part * (b[n][0] - x), y + part * (b[n][1] - y)) for n, (x, y) in a.items()}
    floor = max(y for _, y in moved.values())
    return {n: (x, y - floor) for n, (x, y) in moved.items()}


def film(*steps: tuple[Points, float], noise: float = 0.02) -> list[Pose]:
    """Poses of a person who takes so many seconds to come to each figure, noise in torsos."""
    random = np.random.default_rng(3)
    poses, last = [], steps[0][0]
    for figure, seconds in steps:
        count = max(1, round(seconds * RATE))
        poses += [pose(between(last, figure, (i + 1) / count), size=80) for i in range(count)]
        last = figure
    for one in poses:
        one.points[:, :2] += random.normal(0, 80 * noise, (17, 2))
    return poses


def names_over(poses: list[Pose], what: str = "builtin") -> list[set[str]]:
    """The gestures frame by frame, through the tracker."""
    tracker, finder = Tracker(topology_of("coco_17")), make_finders(what, topology_of("coco_17"))()
    found = []
    for i, one in enumerate(poses):
        tracked = tracker.update([one], i / RATE)
        (answer,) = finder.update(tracked, i / RATE)
        found.append({g.name for g in answer.gestures if answer.track is not None})
    return found


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.2])
def test_who_falls_and_stays_down_has_fallen(seconds: float) -> None:
    found = names_over(film((UP, 3), (DOWN, seconds), (DOWN, 5)))
    began = next(i for i, names in enumerate(found) if "fallen" in names) / RATE
    assert 3 + seconds + 1.5 < began < 3 + seconds + 3.2
    assert "fallen" in found[-1]


@pytest.mark.parametrize(
    "steps",
    [
        ((UP, 2), (FIGURES["sitting"], 1), (FIGURES["sitting"], 3), (DOWN, 6), (DOWN, 5)),  # lies down
        ((DOWN, 8),),  # lay there from the start
        ((UP, 3), (DOWN, 0.6), (DOWN, 0.8), (UP, 0.8), (UP, 3)),  # is up again at once
        ((UP, 3), (FIGURES["crouching"], 0.6), (FIGURES["crouching"], 4)),
        ((UP, 3), (FIGURES["sitting"], 0.6), (FIGURES["sitting"], 4)),
        ((UP, 2), (FIGURES["leaning"], 0.5), (FIGURES["leaning"], 4)),
    ],
)  # fmt: skip
def test_who_does_not_fall_has_not_fallen(steps: tuple[tuple[Points, float], ...]) -> None:
    assert not any("fallen" in names for names in names_over(film(*steps)))


def test_who_gets_up_has_not_fallen_any_more() -> None:
    found = names_over(film((UP, 3), (DOWN, 0.6), (DOWN, 5), (UP, 1), (UP, 3)), "fallen")
    assert {"fallen"} in found
    assert found[-1] == set()


def test_a_fall_survives_keypoints_that_come_and_go() -> None:
    poses = film((UP, 3), (DOWN, 0.7), (DOWN, 6))
    random = np.random.default_rng(5)
    for one in poses[4 * RATE :]:
        one.points[random.random(17) < 0.4] = (np.nan, np.nan, 0)
    assert "fallen" in names_over(poses)[-1]


def found(
    finder: GestureFinder, figure: Points, now: float, track: int | None = 1
) -> dict[str, float]:
    (answer,) = finder.update([pose(figure, track=track)], now)
    return {g.name: g.seconds for g in answer.gestures}


def test_a_gesture_begins_and_ends_after_a_moment_and_tells_how_long_it_lasts() -> None:
    finder = make_finders("hands_up", topology_of("coco_17"))()
    up, down = FIGURES["hands_up"], FIGURES["standing"]
    assert found(finder, up, 0.0) == {}
    assert found(finder, up, 0.2) == {}
    assert found(finder, up, 0.4) == {"hands_up": pytest.approx(0.4)}
    assert found(finder, down, 0.5) == {"hands_up": pytest.approx(0.5)}
    assert found(finder, up, 0.6) == {"hands_up": pytest.approx(0.6)}
    assert found(finder, down, 0.7) != {}
    assert found(finder, down, 1.1) == {}


def test_a_score_in_between_begins_nothing_and_ends_nothing() -> None:
    steady = Steady([0.3], [1.0])

    def on(score: float, *times: float) -> bool:
        return [bool(steady.update([1], np.array([[score]]), now)[0]) for now in times][-1]

    assert not on(0.5, 0.0, 0.5, 1.0)
    assert on(0.7, 1.1, 1.5)
    assert on(0.5, 2.0, 2.5, 3.0)
    assert not on(0.3, 3.1, 3.5)


def test_what_cannot_be_told_goes_on_for_a_while() -> None:
    finder = make_finders("hands_up", topology_of("coco_17"))()
    up = FIGURES["hands_up"]
    hidden = {n: at for n, at in up.items() if "wrist" not in n}
    for now in (0.0, 0.5):
        found(finder, up, now)
    assert found(finder, hidden, 1.2) != {}
    found(finder, hidden, 1.6)
    assert found(finder, hidden, 2.0) == {}


def test_what_is_only_remembered_gives_way_to_what_is_seen_instead() -> None:
    finder = make_finders("builtin", topology_of("coco_17"))()
    short, stands = FIGURES["sitting to the camera"], FIGURES["standing"]
    for now in (0.0, 0.5):
        found(finder, short, now)
    without_feet = {n: at for n, at in stands.items() if "ankle" not in n}
    told = [set(found(finder, without_feet, 0.6 + i / 10)) for i in range(9)]
    assert told[-1] == {"standing"}
    assert {"sitting", "standing"} not in told


def test_without_a_track_each_picture_is_judged_by_itself() -> None:
    finder = make_finders("hands_up", topology_of("coco_17"))()
    assert found(finder, FIGURES["hands_up"], 0.0, None) == {"hands_up": 0.0}
    assert found(finder, FIGURES["standing"], 0.0, None) == {}
    answer = finder.update(
        [pose(FIGURES["hands_up"], track=t) for t in (None, 4, None)], 1.0
    )  # tracked ones and others together
    assert [p.gesture for p in answer] == ["hands_up", "", "hands_up"]


def test_a_film_that_starts_again_forgets() -> None:
    finder = make_finders("hands_up", topology_of("coco_17"))()
    for now in (5.0, 5.5):
        found(finder, FIGURES["hands_up"], now)
    assert found(finder, FIGURES["hands_up"], 0.0) == {}
    assert finder.update([], 0.1) == ()


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3), st.dictionaries(st.integers(1, 60), st.sampled_from([0.0, 0.5, 1.0, np.nan]))
        ),
        max_size=25,
    )
)  # fmt: skip
def test_tracks_do_not_disturb_each_other(frames: list[tuple[float, dict[int, float]]]) -> None:
    together, alone, now = Steady([0.3], [1.0]), {}, 0.0
    for pause, seen in frames:
        now += pause
        if not seen:
            continue
        tracks, scores = list(seen), np.array(list(seen.values()))[:, None]
        on, score, since = together.update(tracks, scores.copy(), now)
        for i, track in enumerate(tracks):
            own = alone.setdefault(track, Steady([0.3], [1.0]))
            expected = own.update([track], scores[i : i + 1].copy(), now)
            assert on[i] == expected[0][0]
            if on[i]:
                assert (score[i], since[i]) == (expected[1][0], expected[2][0])


def test_a_window_holds_what_was_seen_nearest_to_its_moments() -> None:
    """People who come, go, and come again, at an uneven rate; against the poses of each, one by one."""
    random = np.random.default_rng(0)
    past, seen, now = Past(0.6, 2), dict[int, list[tuple[float, np.ndarray]]](), 0.0
    for frame in range(600):
        now += random.choice([0.02, 0.033, 0.1, 0.4, 2.5], p=[0.3, 0.55, 0.1, 0.04, 0.01])
        tracks = [
            t for t in range(20 * (frame // 150), 20 * (frame // 150) + 20) if random.random() < 0.7
        ]
        poses = random.random((len(tracks), 2, 2))
        windows = past.update(tracks, poses, now)
        for track, one, window in zip(tracks, poses, windows, strict=True):
            own = seen.setdefault(track, [])
            if own and now - own[-1][0] > AWAY:
                own.clear()
            own.append((now, one))
            recent = [(t, p) for t, p in own if now - t <= 1.5 * 0.6 + 0.2]
            for moment, found in enumerate(window):
                wanted = now - moment * 0.2
                when, nearest = min(recent, key=lambda row: abs(row[0] - wanted))
                expected = nearest if abs(when - wanted) <= 0.1 else np.full((2, 2), np.nan)
                np.testing.assert_array_equal(found, expected)


def test_a_film_that_starts_again_makes_nobody_fall() -> None:
    """Who stood at the end and lies at the start has not fallen, even if the track is the same."""
    finder = make_finders("fallen", topology_of("coco_17"))()
    for i in range(30):
        found(finder, UP, 100 + i / 10)
    assert [found(finder, DOWN, i / 10) for i in range(60)] == [{}] * 60
