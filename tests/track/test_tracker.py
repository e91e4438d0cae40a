"""The tracker, frame by frame on people whose identities are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walkers import NAMES, TOPOLOGY, Walker, film, follow, make_pose, straight

from edgepose.networks.topology import Topology
from edgepose.track.one_euro import OneEuro
from edgepose.track.similarity import box_similarity
from edgepose.track.tracker import State, Tracker, matched


def settled(ids: list[int | None]) -> list[int]:
    """The ids without the frames before the first one."""
    return [k for k in ids if k is not None]


def switches(ids: list[int | None]) -> int:
    """How often the id of a person changes."""
    known = settled(ids)
    return sum(a != b for a, b in pairwise(known))


# life cycle ----------------------------------------------------------------------------------------


def test_an_id_is_given_at_the_third_frame_and_stays() -> None:
    tracker = Tracker(TOPOLOGY)
    ids = follow(tracker, film([Walker(straight((300, 400), (60, 0)))], 4))[0]
    assert ids == [None, None] + [1] * 118
    assert tracker.count == 1


def test_states_follow_what_is_seen() -> None:
    tracker = Tracker(TOPOLOGY, confirm=2, max_lost=1.0)
    someone = [make_pose(Walker(straight((300, 400), (0, 0))).points(0.0))]
    states = []
    for t, poses in ((0.0, someone), (0.1, someone), (0.2, []), (1.1, []), (1.15, [])):
        tracker.update(poses, t)
        states.append([(track.id, track.state) for track in tracker.tracks])
    assert states == [
        [(0, State.TENTATIVE)],
        [(1, State.CONFIRMED)],
        [(1, State.LOST)],
        [(1, State.LOST)],
        [],
    ]


def test_a_track_knows_since_when_and_where() -> None:
    tracker = Tracker(TOPOLOGY)
    for t, _, poses in film([Walker(straight((300, 400), (90, 0)))], 1):
        tracker.update(poses, t + 5)
        box = poses[0].box
    (track,) = tracker.tracks
    assert (track.since, track.seen) == (5.0, pytest.approx(5 + 29 / 30))
    assert track.box == pytest.approx(box, abs=6)


def test_a_flash_gets_no_id_and_leaves_no_gap() -> None:
    flash = Walker(straight((900, 300), (0, 0), begin=0.5, end=0.56))
    steady = Walker(straight((300, 400), (0, 0)))
    late = Walker(straight((600, 400), (0, 0), begin=1.0))
    tracker = Tracker(TOPOLOGY)
    ids = follow(tracker, film([flash, steady, late], 2))
    assert ids[0] == [None, None]
    assert set(settled(ids[1])) == {1}
    assert set(settled(ids[2])) == {2}


def test_a_weak_pose_keeps_a_track_but_starts_none() -> None:
    path = straight((300, 400), (30, 0))
    weak = Tracker(TOPOLOGY)
    assert set(follow(weak, film([Walker(path, score=0.15)], 2))[0]) == {None}
    tracker = Tracker(TOPOLOGY)
    ids = []
    for t, _, poses in film([Walker(path)], 3):
        faded = [p.with_(score=0.15) if 1 <= t < 2 else p for p in poses]
        ids += [p.track for p in tracker.update(faded, t)]
    assert set(settled(ids)) == {1}
    assert len(settled(ids)) == 88


def test_worse_than_weak_is_not_used() -> None:
    tracker = Tracker(TOPOLOGY)
    ids = []
    for t, _, poses in film([Walker(straight((300, 400), (30, 0)))], 2):
        faded = [p.with_(score=0.01) if t >= 1 else p for p in poses]
        ids += [p.track for p in tracker.update(faded, t)]
    assert ids[29] == 1
    assert set(ids[30:]) == {None}


def test_a_second_skeleton_on_one_person_starts_no_track() -> None:
    tracker = Tracker(TOPOLOGY)
    for t, _, poses in film([Walker(straight((300, 400), (30, 0)))], 2):
        double = make_pose(poses[0].points[:, :2] + 4, 0.5, number=1)
        tracker.update([*poses, double] if t > 0.5 else poses, t)
    assert tracker.count == 1


def test_the_two_halves_of_a_broken_skeleton_are_one_person() -> None:
    walker = Walker(straight((300, 400), (30, 0)))
    upper = np.array(["hip" not in n and "knee" not in n and "ankle" not in n for n in NAMES])
    tracker = Tracker(TOPOLOGY)
    for t, _, poses in film([walker], 3):
        whole = walker.points(t)
        broken = [make_pose(whole, 0.6, upper), make_pose(whole, 0.5, ~upper, 1)]
        # the legs' box ends below the arms: a box around the whole person holds it
        broken[0] = broken[0].with_(box=poses[0].box)
        tracker.update(broken if t > 1 else poses, t)
    assert tracker.count == 1


def test_going_back_in_time_starts_anew_with_new_ids() -> None:
    walker = Walker(straight((300, 400), (30, 0)))
    tracker = Tracker(TOPOLOGY)
    first = follow(tracker, film([walker], 1))[0]
    again = follow(tracker, film([walker], 1))[0]
    assert set(settled(first)) == {1}
    assert again[:2] == [None, None]
    assert set(settled(again)) == {2}


def test_passers_by_leave_nothing_behind() -> None:
    tracker, most = Tracker(TOPOLOGY), 0
    for number in range(40):
        walker = Walker(straight((100 + number % 5 * 150, 400), (30, 0)))
        for t, _, poses in film([walker], 0.5):
            tracker.update(poses, number * 10.0 + t)
            most = max(most, len(tracker.tracks))
    assert tracker.count == 40
    assert most <= 2


def test_reset_forgets_but_never_gives_an_id_twice() -> None:
    walker = Walker(straight((300, 400), (0, 0)))
    tracker = Tracker(TOPOLOGY)
    follow(tracker, film([walker], 1))
    tracker.reset()
    assert tracker.tracks == ()
    assert set(settled(follow(tracker, film([walker], 1))[0])) == {2}


# identities ----------------------------------------------------------------------------------------


def crossing(height: float = 200.0) -> list[Walker]:
    """Two people who pass each other in the middle after two seconds."""
    left = Walker(straight((200, 420), (150, 0)), height)
    right = Walker(straight((800, 435), (-150, 0)), height * 1.05)
    return [left, right]


@pytest.mark.parametrize("fps", [5, 10, 30, 60])
def test_two_people_pass_each_other(fps: float) -> None:
    ids = follow(Tracker(TOPOLOGY), film(crossing(), 4, fps, noise=0.01, missing=0.1))
    assert [switches(v) for v in ids.values()] == [0, 0]
    assert settled(ids[0])[0] != settled(ids[1])[0]


@pytest.mark.parametrize("seed", range(6))
def test_one_of_two_is_hidden_while_they_pass(seed: int) -> None:
    walkers = crossing()
    walkers[1].hidden = ((1.75, 2.3),)
    ids = follow(Tracker(TOPOLOGY), film(walkers, 4, noise=0.01, missing=0.1, seed=seed))
    assert [switches(v) for v in ids.values()] == [0, 0]
    assert {settled(v)[0] for v in ids.values()} == {1, 2}


def test_both_are_hidden_behind_a_pillar_while_they_pass() -> None:
    walkers = crossing()
    for walker in walkers:
        walker.hidden = ((1.8, 2.2),)
    ids = follow(Tracker(TOPOLOGY), film(walkers, 4, noise=0.01))
    assert [switches(v) for v in ids.values()] == [0, 0]


@pytest.mark.parametrize("hidden", [0.2, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("speed", [0.0, 80.0, 200.0])
def test_a_walker_comes_back_after_an_occlusion(hidden: float, speed: float) -> None:
    walker = Walker(straight((100, 400), (speed, 0)), hidden=((1.5, 1.5 + hidden),))
    tracker = Tracker(TOPOLOGY)
    ids = follow(tracker, film([walker], 4, noise=0.01, missing=0.1))[0]
    assert set(settled(ids)) == {1}
    assert tracker.count == 1


def test_who_stays_away_is_someone_new() -> None:
    walker = Walker(straight((100, 400), (20, 0)), hidden=((1.0, 3.5),))
    ids = follow(Tracker(TOPOLOGY), film([walker], 5))[0]
    assert set(settled(ids)) == {1, 2}


def test_who_appears_elsewhere_is_someone_new() -> None:
    first = Walker(straight((100, 400), (0, 0), end=1.0))
    second = Walker(straight((800, 400), (0, 0), begin=1.5))
    ids = follow(Tracker(TOPOLOGY), film([first, second], 3))
    assert set(settled(ids[0])) == {1}
    assert set(settled(ids[1])) == {2}


def test_side_by_side_people_keep_apart() -> None:
    walkers = [Walker(straight((200 + 70 * i, 400), (60, 0)), 200 + 4 * i) for i in range(6)]
    noisy = film(walkers, 5, noise=0.015, missing=0.15, missed=0.05)
    ids = follow(tracker := Tracker(TOPOLOGY), noisy)
    assert [switches(v) for v in ids.values()] == [0] * 6
    assert tracker.count == 6


@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_with_noise_and_drop_outs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    walkers = []
    for i in range(10):
        x, v = (100, 1) if i % 2 else (1180, -1)
        speed = v * rng.uniform(60, 160)
        start = straight((x, 300 + 42 * i), (speed, 0), begin=rng.uniform(0, 2))
        walkers.append(Walker(start, rng.uniform(120, 240)))
    frames = film(walkers, 8, noise=0.012, missing=0.15, missed=0.08, seed=seed)
    ids = follow(tracker := Tracker(TOPOLOGY), frames)
    # people in front of each other everywhere: an exchange may happen, hardly more
    assert sum(switches(v) for v in ids.values()) <= 2
    assert 10 <= tracker.count <= 11


def test_at_one_frame_a_second_who_stays_is_followed() -> None:
    walkers = [Walker(straight((300, 400), (15, 0))), Walker(straight((700, 400), (-15, 0)))]
    ids = follow(tracker := Tracker(TOPOLOGY), film(walkers, 12, 1.0, noise=0.01))
    assert [switches(v) for v in ids.values()] == [0, 0]
    assert tracker.count == 2


def test_a_body_that_turns_is_followed_with_hardly_a_common_keypoint() -> None:
    walker = Walker(straight((300, 400), (0, 0)))
    left = np.array([n.startswith("left") for n in NAMES])
    right = np.array([n.startswith("right") for n in NAMES])
    tracker = Tracker(TOPOLOGY)
    for frame in range(90):
        points = walker.points(frame / 30)
        seen = left if frame < 30 else right if frame >= 31 else left | right
        # the box of a person, not only of the side that is seen
        pose = make_pose(points, 0.6, seen).with_(box=(280.0, 210.0, 320.0, 400.0))
        tracker.update([pose], frame / 30)
    assert tracker.count == 1


def test_hands_without_names_of_body_parts() -> None:
    hand = Topology("hand", tuple(f"k{i}" for i in range(18)), ())
    tracker = Tracker(hand)
    follow(tracker, film([Walker(straight((300, 400), (50, 10)), 80)], 2, noise=0.01))
    assert tracker.count == 1


def test_another_similarity_can_be_passed_in() -> None:
    tracker = Tracker(TOPOLOGY, similarity=box_similarity)
    ids = follow(tracker, film([Walker(straight((300, 400), (50, 0)))], 2, noise=0.01))[0]
    assert set(settled(ids)) == {1}


# what it returns -----------------------------------------------------------------------------------


def test_poses_come_back_in_order_and_otherwise_unchanged() -> None:
    tracker = Tracker(TOPOLOGY)
    for t, _, poses in film(crossing(), 1, noise=0.01, missing=0.2):
        tracked = tracker.update(poses, t)
        for before, after in zip(poses, tracked, strict=True):
            assert after.points is before.points
            assert (after.id, after.box, after.score) == (before.id, before.box, before.score)


def test_two_runs_are_alike() -> None:
    def run() -> list[tuple[int | None, bytes]]:
        tracker = Tracker(TOPOLOGY, smooth=OneEuro())
        frames = film(crossing(), 3, noise=0.02, missing=0.2, missed=0.1, seed=7)
        return [
            (p.track, p.points.tobytes())
            for t, _, poses in frames
            for p in tracker.update(poses, t)
        ]

    assert run() == run()


def test_smoothing_stills_noise_and_keeps_what_is_missing_missing() -> None:
    walker = Walker(straight((300, 400), (0, 0)))
    still = walker.points(0.0)
    walker.points = lambda t: still.copy()  # type: ignore[method-assign]
    tracker = Tracker(TOPOLOGY, smooth=OneEuro())
    raw, smoothed = [], []
    for t, _, poses in film([walker], 4, noise=0.01, missing=0.1):
        (pose,) = tracker.update(poses, t)
        assert (np.isnan(pose.points) == np.isnan(poses[0].points)).all()
        assert (pose.points[:, 2] == poses[0].points[:, 2]).all()
        raw.append(poses[0].points[:, :2] - still)
        smoothed.append(pose.points[:, :2] - still)
    noise, left = np.nanstd(raw[30:]), np.nanstd(smoothed[30:])
    assert noise == pytest.approx(2.0, rel=0.1)
    assert left < 0.55 * noise


def test_smoothing_lags_little_behind_a_walker() -> None:
    walker = Walker(straight((100, 400), (150, 0)))
    tracker = Tracker(TOPOLOGY, smooth=OneEuro())
    for t, _, poses in film([walker], 3):
        (pose,) = tracker.update(poses, t)
    hip = NAMES.index("left_hip")
    # less than two frames' way of 5 pixels, box and keypoints alike
    assert 0 <= poses[0].points[hip, 0] - pose.points[hip, 0] < 10
    assert np.abs(np.array(pose.box) - poses[0].box).max() < 14


def test_the_wrong_number_of_keypoints_is_refused() -> None:
    with pytest.raises(ValueError, match="18 keypoints, found 5"):
        Tracker(TOPOLOGY).update([make_pose(np.zeros((18, 2))).with_(points=np.zeros((5, 3)))], 0)


coordinate = st.floats(allow_nan=True, allow_infinity=True, width=32)
row = st.tuples(coordinate, coordinate, st.sampled_from([0.0, 0.5, 1.0, float("nan")]))
pose_rows = st.lists(row, min_size=2, max_size=2)
PAIR = Topology("pair", ("left_hip", "right_hip"), ())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(pose_rows, max_size=4), st.floats(-10, 10), st.booleans()), max_size=8
    )
)
def test_no_pose_breaks_it(
    frames: list[tuple[list[list[tuple[float, float, float]]], float, bool]],
) -> None:
    tracker = Tracker(PAIR, confirm=1, smooth=OneEuro())
    for rows, now, far in frames:
        box = (0.0, 0.0, 10.0, 10.0) if not far else (float("nan"), 0.0, float("inf"), 1e30)
        poses = [
            make_pose(np.zeros((2, 2))).with_(
                points=np.array(r, np.float32), box=box, names=PAIR.keypoints
            )
            for r in rows
        ]
        tracked = tracker.update(poses, now)
        assert len(tracked) == len(poses)
        ids = [p.track for p in tracked if p.track is not None]
        assert len(set(ids)) == len(ids)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_matching_is_the_best_of_all(rows: int, columns: int, seed: int) -> None:
    from itertools import permutations

    similarity = np.random.default_rng(seed).random((rows, columns))
    pairs = matched(similarity, 0.4)
    assert all(similarity[i, j] >= 0.4 for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    allowed = np.where(similarity >= 0.4, similarity, 0.0)
    wide = allowed if rows <= columns else allowed.T
    best = max(
        sum(wide[i, j] for i, j in enumerate(choice))
        for choice in permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(similarity[i, j] for i, j in pairs) == pytest.approx(best)
