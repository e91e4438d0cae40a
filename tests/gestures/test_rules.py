"""The built-in rules: what they tell of figures whose gestures are known, wherever and however large those are."""

from __future__ import annotations

from functools import cache
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import UnknownNameError, UsageError
from edgepose.gestures.builtin import BODY, HAND, Judge, make_builtin
from edgepose.gestures.finder import make_finders
from edgepose.gestures.rule import Limit, Rule, Table
from edgepose.networks.keypoint_names import hand_order, mirror_numbers
from edgepose.networks.topology import Topology
from edgepose.types import Pose
from tests.gestures.hands3d import NAMES, OTHERS, seen
from tests.gestures.hands3d import SIGNS as HAND_SIGNS
from tests.gestures.people import (
    BODIES,
    FIGURES,
    HANDS,
    SIGNS,
    Points,
    figure,
    pose,
    renamed,
    topology_of,
)

EXPECTED = {
    "standing": {"standing"},
    "walking": {"standing"},
    "sitting to the camera": {"sitting"},
    "sitting": {"sitting"},
    "crouching": {"crouching"},
    "lying": {"lying"},
    "leaning": {"leaning", "standing"},
}


def told(points: Points, topology: str, **how: object) -> set[str]:
    """The gestures of one pose."""
    found = make_finders("builtin", topology_of(topology))()
    (answer,) = found.update([pose(points, topology, **how)], 0.0)  # type: ignore[arg-type]
    return {gesture.name for gesture in answer.gestures}


@cache
def judge_of(names: tuple[str, ...]) -> Judge:
    judge = make_builtin(names)
    assert judge is not None
    return judge


def scores(points: Points, topology: str, **how: object) -> np.ndarray:
    one = pose(points, topology, **how)  # type: ignore[arg-type]
    judge = judge_of(one.names)
    with np.errstate(all="ignore"):
        return judge.scores(one.points[None].astype(float), [None], 0.0)[0]


@pytest.mark.parametrize("topology", BODIES)
@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_has_its_gestures(name: str, topology: str) -> None:
    expected = EXPECTED.get(name, {name, "standing"})
    assert told(FIGURES[name], topology) == expected


@pytest.mark.parametrize("name", ["standing", "walking"])
@pytest.mark.parametrize("steep", [0.55, 0.7, 0.85])
def test_who_stands_below_a_high_camera_does_not_sit(name: str, steep: float) -> None:
    """Heights look short from above, widths do not."""
    seen = {part: (x, y * steep) for part, (x, y) in FIGURES[name].items()}
    assert told(seen, "coco_17") <= {"standing"}
    assert steep < 0.7 or told(seen, "coco_17") == {"standing"}


@pytest.mark.parametrize("topology", HANDS)
@pytest.mark.parametrize("name", SIGNS)
def test_each_hand_makes_its_sign(name: str, topology: str) -> None:
    assert told(renamed(SIGNS[name], topology), topology) == {name}


@given(
    st.sampled_from([*(("coco_17", n) for n in FIGURES), *(("mediapipe_hand", n) for n in SIGNS)]),
    st.floats(0.5, 500),
    st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)),
)
def test_place_and_size_do_not_matter(
    which: tuple[str, str], size: float, at: tuple[float, float]
) -> None:
    topology, name = which
    points = {**FIGURES, **SIGNS}[name] if topology == "mediapipe_hand" else FIGURES[name]
    # keypoints are float32: far from the origin a small figure has few digits left
    size = max(size, np.hypot(*at) / 1000)
    np.testing.assert_allclose(
        scores(points, topology, size=size, at=at), scores(points, topology), atol=0.02
    )


angles = st.floats(-179, 179)
pairs = st.tuples(angles, angles)
bodies = st.builds(figure, angles, pairs, pairs, pairs, pairs, st.floats(0.1, 0.9))
hidden = st.sets(st.sampled_from(topology_of("coco_17").keypoints), max_size=9).map(tuple)


@given(bodies, hidden)
def test_a_mirrored_person_does_the_same_with_the_other_side(
    points: Points, missing: tuple[str, ...]
) -> None:
    names = topology_of("coco_17").keypoints
    mirror = mirror_numbers(names)
    other = {n: names[m] for n, m in zip(names, mirror, strict=True) if m is not None}
    turned = {other[n]: (-x, y) for n, (x, y) in points.items() if n in other}
    before = scores(points, "coco_17", missing=missing)
    after = scores(turned, "coco_17", missing=tuple(other[n] for n in missing))
    rules = [rule.name for rule in BODY]
    left, right = rules.index("left_hand_up"), rules.index("right_hand_up")
    after[[left, right]] = after[[right, left]]
    np.testing.assert_allclose(after, before, atol=0.01)


@pytest.mark.parametrize("name", SIGNS)
def test_a_hand_and_its_mirror_image_make_the_same_sign(name: str) -> None:
    turned = {n: (-x, y) for n, (x, y) in SIGNS[name].items()}
    assert told(turned, "mediapipe_hand") == {name}


@given(bodies, hidden)
def test_a_score_is_a_part_of_one_or_cannot_be_told(
    points: Points, missing: tuple[str, ...]
) -> None:
    found = scores(points, "coco_17", missing=missing)
    assert np.all(np.isnan(found) | ((found >= 0) & (found <= 1)))


def without(*parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts for side in ("left", "right"))


@pytest.mark.parametrize(
    ("name", "missing", "unknown"),
    [
        ("standing", without("hip", "knee", "ankle"), {"standing", "sitting", "crouching", "lying", "leaning"}),
        ("hands_up", without("wrist"), {"hands_up", "left_hand_up", "right_hand_up", "arms_crossed"}),
        ("sitting", without("knee"), {"sitting"}),
    ],
)  # fmt: skip
def test_what_is_hidden_cannot_be_told(
    name: str, missing: tuple[str, ...], unknown: set[str]
) -> None:
    assert unknown <= untold(FIGURES[name], "coco_17", missing)


def untold(points: Points, topology: str, missing: tuple[str, ...]) -> set[str]:
    """The rules that cannot tell."""
    found = scores(points, topology, missing=missing)
    rules = judge_of(topology_of(topology).keypoints).rules
    return {rule.name for rule, score in zip(rules, found, strict=True) if np.isnan(score)}


# what each rule looks at: where it is hidden in who does it, the rule cannot tell
NEEDS = {
    "fallen": ("lying", without("hip")),
    "hands_up": ("hands_up", without("wrist")),
    "left_hand_up": ("left_hand_up", ("left_wrist",)),
    "right_hand_up": ("right_hand_up", ("right_wrist",)),
    "arms_crossed": ("arms_crossed", without("wrist")),
    "pointing": ("pointing", ("left_wrist", "left_elbow")),
    "leaning": ("leaning", without("hip")),
    "lying": ("lying", without("shoulder")),
    "crouching": ("crouching", without("knee")),
    "sitting": ("sitting", without("knee")),
    "standing": ("standing", without("knee", "ankle")),
}
HAND_NEEDS = {
    "pinch": "thumb_tip",
    "open_hand": "little_finger_tip",
    "victory": "middle_finger_tip",
    "pointing": "index_finger_tip",
    "thumb_up": "thumb_tip",
    "fist": "thumb_tip",
}


@pytest.mark.parametrize("rule", [rule.name for rule in BODY])
def test_no_body_rule_guesses_what_it_needs(rule: str) -> None:
    name, missing = NEEDS[rule]
    assert rule in untold(FIGURES[name], "coco_17", missing)


@pytest.mark.parametrize("rule", [rule.name for rule in HAND])
def test_no_hand_rule_guesses_what_it_needs(rule: str) -> None:
    assert rule in untold(SIGNS[rule], "mediapipe_hand", (HAND_NEEDS[rule],))


def test_any_hand_is_told_the_same_wherever_how_large_and_mirrored() -> None:
    """Hands in space, turned any way: every score is that of the hand moved, enlarged and mirrored."""
    random = np.random.default_rng(11)
    signs = [*HAND_SIGNS, *OTHERS]
    hands = np.stack([seen(signs[i % len(signs)], random, angle=60).points for i in range(400)])
    hands = hands.astype(np.float64)
    hands[random.random(hands.shape[:2]) < 0.1] = (np.nan, np.nan, 0)
    moved = hands * [-3.7, 3.7, 1] + [5000, -200, 0]
    judge, tracks = judge_of(NAMES), [None] * len(hands)
    with np.errstate(all="ignore"):
        before, after = (judge.scores(points, tracks, 0.0) for points in (hands, moved))
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert np.count_nonzero(before > 0.5) > 10  # they do make signs


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("standing", without("ankle", "ear", "eye")),
        ("standing", ("left_hip", "left_knee", "left_ankle", "left_shoulder")),
        ("sitting", without("ankle", "wrist", "elbow")),
        ("sitting to the camera", ("right_hip", "right_knee", "right_shoulder")),
        ("lying", without("knee")),
        ("left_hand_up", ("right_wrist", "right_elbow", "nose", *without("ankle"))),
    ],
)
def test_what_is_not_needed_may_be_hidden(name: str, missing: tuple[str, ...]) -> None:
    expected = EXPECTED.get(name, {name, "standing"})
    assert told(FIGURES[name], "coco_17", missing=missing) == expected


def test_a_pose_without_keypoints_and_one_with_infinite_ones_have_no_gestures() -> None:
    empty = pose(FIGURES["standing"], missing=topology_of("coco_17").keypoints)
    broken = pose(FIGURES["standing"])
    broken.points[:, 0] = np.inf
    finder = make_finders("builtin", topology_of("coco_17"))()
    assert [p.gestures for p in finder.update([empty, broken], 0.0)] == [(), ()]


def test_names_select_gestures() -> None:
    topology = topology_of("coco_17")
    for text in ("hands_up", "builtin,hands_up", " hands_up , fallen"):
        (found,) = make_finders(text, topology)().update([pose(FIGURES["hands_up"])], 0.0)
        assert [g.name for g in found.gestures] == ["hands_up"]
        assert found.gesture == "hands_up"


@pytest.mark.parametrize(
    ("text", "topology", "kind", "words"),
    [
        ("hand_up", "coco_17", UnknownNameError, "hands_up"),
        ("fist", "coco_17", UsageError, "not among the gestures of bodies"),
        ("fallen", "hand_pose", UsageError, "not among the gestures of hands"),
    ],
)
def test_a_name_that_cannot_be_meant_is_an_error(
    text: str, topology: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        make_finders(text, topology_of(topology))


def test_a_topology_that_is_neither_body_nor_hand_is_an_error() -> None:
    with pytest.raises(UsageError, match="Teach gestures of your own"):
        make_finders("builtin", Topology("face", ("nose", "chin"), ()))


def test_every_rule_says_what_it_means_and_its_name_is_plain() -> None:
    for rule in chain(BODY, HAND):
        assert rule.text.endswith(".")
        assert set(rule.name) <= set("abcdefghijklmnopqrstuvwxyz_")


def test_limits_ways_and_what_excludes_what() -> None:
    rules = (
        Rule("high", "", ((Limit("a", 0, 1),), (Limit("b", 0, 1, optional=True),))),
        Rule("low", "", ((Limit("a", 1, 0), Limit("b", 0, 1)),), unless=("high",)),
    )
    nan = np.nan
    measures = np.array([[0.2, 0.4], [0.9, nan], [0.1, nan], [nan, 0.2], [0.6, 0.3]])
    np.testing.assert_allclose(
        Table(rules, ("a", "b")).scores(measures),
        [[0.4, 0.4], [1, 0], [1, 0], [nan, 0.2], [0.6, 0]],
    )


def test_hands_are_known_by_many_names() -> None:
    whole_body = ["left_hand_root"] + [
        f"left_{finger}{i}"
        for finger in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
        for i in range(1, 5)
    ]
    assert hand_order(whole_body) == tuple(range(21))
    from_tip = hand_order(topology_of("hand_pose").keypoints)
    assert (from_tip or ())[:5] == (0, 4, 3, 2, 1)
    assert hand_order(topology_of("coco_17").keypoints) is None
    assert hand_order(["wrist"] * 21) is None
    assert make_builtin(["wrist"] * 21) is None


def test_a_pose_keeps_its_gestures_and_refuses_other_fields() -> None:
    one: Pose = pose(FIGURES["standing"])
    assert len(one.keypoints) == 17
    changed = one.with_(track=3)
    assert (changed.track, changed.keypoints, changed.gesture) == (3, one.keypoints, "")
    with pytest.raises(TypeError, match="tracks"):
        one.with_(tracks=3)
