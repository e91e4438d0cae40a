from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.eval.annotations import Annotations, LabelledPicture
from edgepose.eval.pck import measure, torso_length

NAMES = tuple(
    f"{side}_{kind}"
    for kind in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
# an upright person 100 px tall, facing the camera; its torso is the diagonal of 40 x 30
PERSON = np.array(
    [
        *([70, 10], [30, 10], [75, 25], [25, 25], [80, 40], [20, 40]),
        *([70, 40], [30, 40], [68, 70], [32, 70], [68, 100], [32, 100]),
    ],
    float,
)


def truth(*people: np.ndarray, **more: object) -> Annotations:
    rows = [
        {"id": i, "image_id": i, "category_id": 1, "keypoints": p.ravel().tolist(), **more}
        for i, p in enumerate(people)
    ]
    pictures = tuple(LabelledPicture(i, f"{i}.jpg", 100, 100) for i in range(len(people)))
    return Annotations(Path("truth.json"), {"annotations": rows}, NAMES, 1, pictures)


def labelled(xy: np.ndarray, v: float = 2.0) -> np.ndarray:
    return np.concatenate([xy, np.full((len(xy), 1), v)], axis=1)


def rows(*poses: np.ndarray, image: int = 0) -> list[dict[str, object]]:
    return [{"image_id": image, "keypoints": labelled(p, 0.9).ravel().tolist()} for p in poses]


def test_torso_is_the_mean_diagonal() -> None:
    assert torso_length(labelled(PERSON), NAMES) == pytest.approx(50.0)
    half = labelled(PERSON)
    half[[1, 7], 2] = 0  # no right shoulder, no right hip: the left side's height
    assert torso_length(half, NAMES) == pytest.approx(30.0)
    assert torso_length(labelled(PERSON, 0.0), NAMES) == 0


def test_the_middle_of_the_hips_is_no_joint() -> None:
    """Halpe labels a "Hip" besides LHip and RHip, which most networks lack."""
    middle = np.vstack([PERSON, [[50, 40]]])
    halpe = replace(truth(labelled(middle)), keypoints=(*NAMES, "Hip"))
    found = labelled(middle, 0.9)
    found[-1] = 0
    counts = measure(halpe, [{"image_id": 0, "keypoints": found.ravel().tolist()}])
    assert counts.figures()["PCK@0.2"] == 1.0
    assert counts.joints["hip"] == 2


def test_a_perfect_pose_and_none() -> None:
    figures = measure(truth(labelled(PERSON)), rows(PERSON)).figures()
    assert set(figures.values()) == {1.0}
    counts = measure(truth(labelled(PERSON), labelled(PERSON)), rows(PERSON))
    assert counts.figures()["PCK@0.2"] == 0.5
    assert counts.people == 2


def test_joints_count_by_their_distance() -> None:
    moved = PERSON.copy()
    moved[2] += (0, 9.9)  # left elbow just within a fifth of 50 px
    moved[4] += (10.1, 0)  # left wrist just beyond it
    moved[10] += (0, 26)  # left ankle beyond half
    figures = measure(truth(labelled(PERSON)), rows(moved)).figures()
    assert figures["PCK@0.2"] == pytest.approx(10 / 12)
    assert figures["PCK@0.5"] == pytest.approx(11 / 12)
    assert figures["PCK@0.2 wrist"] == 0.5
    assert figures["PCK@0.2 elbow"] == 1.0


def test_the_best_pose_of_the_image_counts_and_unlabelled_joints_do_not() -> None:
    seen = labelled(PERSON)
    seen[8:, 2] = 0  # knees and ankles are not labelled
    far = PERSON + 60
    counts = measure(truth(seen), rows(far, PERSON))
    assert counts.figures()["PCK@0.2"] == 1.0
    assert sum(counts.joints.values()) == 8
    assert counts.figures()["PCK@0.2 knee"] == 0.0


def test_missing_joints_are_wrong_and_sides_can_be_exchanged() -> None:
    pose = labelled(PERSON, 0.9)
    pose[0] = 0  # not found: never a hit, however near (0, 0) the joint may be
    row = [{"image_id": 0, "keypoints": pose.ravel().tolist()}]
    assert measure(truth(labelled(PERSON)), row).figures()["PCK@0.2"] == pytest.approx(11 / 12)
    swapped = PERSON.reshape(6, 2, 2)[:, ::-1].reshape(12, 2)
    figures = measure(truth(labelled(PERSON)), rows(swapped)).figures()
    assert figures["PCK@0.2"] == 0.0
    assert figures["PCK@0.2 sides exchangeable"] == 1.0


def test_the_annotations_own_torso_wins() -> None:
    moved = PERSON + np.array([9, 0])
    assert measure(truth(labelled(PERSON)), rows(moved)).figures()["PCK@0.2"] == 1.0
    small = truth(labelled(PERSON), torso=40.0)
    assert measure(small, rows(moved)).figures()["PCK@0.2"] == 0.0
    assert measure(truth(labelled(PERSON), iscrowd=1), rows(moved)).people == 0


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name.replace("_", " ").title(),
        lambda name: name.replace("left_", "L_").replace("right_", "R_"),
        lambda name: "{1}.{0}".format(*name.split("_")),
    ],
)
def test_names_count_however_they_are_spelled(spell: Callable[[str], str]) -> None:
    moved = PERSON + np.array([9.0, 0.0])
    plain = truth(labelled(PERSON))
    spelled = replace(plain, keypoints=tuple(spell(name) for name in NAMES))
    assert measure(spelled, rows(moved)) == measure(plain, rows(moved))
    crossed = PERSON[[i ^ 1 for i in range(12)]]
    assert measure(spelled, rows(crossed)).figures()["PCK@0.2 sides exchangeable"] == 1
