"""Names of keypoints mean the same however they are spelled."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.networks import keypoint_names
from edgepose.networks.keypoint_names import (
    COCO_PERSON,
    coco_order,
    mirror_numbers,
    part_name,
    place_name,
    places,
    plain_name,
)
from edgepose.networks.topology import load_topology, shipped_topologies

PARTS = st.lists(
    st.sampled_from(("eye", "big", "toe", "paw", "hip", "knee")), min_size=1, max_size=3
)
SPELLINGS = (
    lambda side, words: "_".join((side, *words)),
    lambda side, words: " ".join(w.title() for w in (side, *words)),
    lambda side, words: "".join(w.title() for w in (side, *words)),
    lambda side, words: side + "".join(w.title() for w in words),
    lambda side, words: "-".join((*words, side)).upper(),
    lambda side, words: f"{side[0]}_{'_'.join(words)}",
    lambda side, words: f"{side[0].upper()} {' '.join(words)}",
    lambda side, words: side[0] + "".join(w.title() for w in words),
    lambda side, words: f"{'_'.join(words)}.{side[0].upper()}",
    lambda side, words: side[0].upper() + "".join(w.title() for w in words),
)


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(keypoint_names).failed == 0


@given(st.sampled_from(("left", "right")), PARTS, st.sampled_from(SPELLINGS))
def test_every_spelling_is_the_same_name(side: str, words: list[str], spell: object) -> None:
    name = spell(side, words)  # type: ignore[operator]
    assert plain_name(name) == "_".join((side, *words))
    assert part_name(name) == "_".join(words)


@given(st.text())
def test_any_text_has_one_plain_name(name: str) -> None:
    plain = plain_name(name)
    assert plain_name(plain) == plain
    assert part_name(name) in plain
    assert place_name(name) in (plain, *keypoint_names.SYNONYMS.values())


@given(st.lists(st.text(max_size=8), unique=True), st.lists(PARTS, max_size=4))
def test_mirror_images_point_back(names: list[str], parts: list[list[str]]) -> None:
    sides = [f"{side}_{'_'.join(p)}" for p in parts for side in ("L", "Right")]
    mirror = mirror_numbers([*names, *dict.fromkeys(sides)])
    assert all(m is None or mirror[m] == i for i, m in enumerate(mirror))


@pytest.mark.parametrize(
    ("names", "mirror"),
    [
        (("Left_Hand", "Right_Hand"), (1, 0)),
        (("L_Hand", "R_Hand"), (1, 0)),
        (("l_hand", "r_hand"), (1, 0)),
        (("left", "right"), (1, 0)),
        (("l_hand", "Left Hand", "r_hand"), (None, None, None)),
        (("left_hand", "nose"), (None, 1)),
        (("upper_left", "lower_left", "upper_right", "lower_right"), (2, 3, 0, 1)),
        (("leye", "reye"), (0, 1)),
        (tuple(f"point_{c}" for c in "abcdefghijklmnopqrs"), tuple(range(19))),
    ],
)
def test_mirror_images(names: tuple[str, ...], mirror: tuple[int | None, ...]) -> None:
    assert mirror_numbers(names) == mirror


@pytest.mark.parametrize("name", ["bright_spot", "cleft_lip", "upright", "left_right"])
def test_words_that_hold_a_side_have_none(name: str) -> None:
    assert plain_name(name) == part_name(name) == name


def test_a_place_is_its_own_name_before_a_synonym() -> None:
    names = ("Throat", "Head", "Neck", "Nose")
    assert places(names, ("neck", "nose", "throat", "head")) == (2, 3, 0, 1)
    assert places(("throat", "head"), ("neck", "nose")) == (0, None)


def test_shipped_topologies_are_whole() -> None:
    for name in shipped_topologies():
        topology = load_topology(name)
        assert topology.one_sided == ()
        is_person = "hand" not in name
        assert (coco_order(topology.keypoints) is not None) == is_person
    assert coco_order([n.replace("_", " ").title() for n in COCO_PERSON]) == tuple(range(17))
    assert coco_order(COCO_PERSON[:16]) is None
