"""What the names of keypoints mean, however they are spelled: side, body part, place in COCO's order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

COCO_PERSON = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
# spread of each part in the labels of many people, from COCO's own evaluation code; the neck, which
# COCO lacks, is the middle of the shoulders
COCO_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "neck": 0.079,
}
# names of the same place in other label sets; their "head" is its top, far from the nose
SYNONYMS = {"throat": "neck", "palm": "wrist"}
HAND_KEYPOINTS = (
    "wrist", "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    *(f"{f}_finger_{j}" for f in ("index", "middle", "ring", "little") for j in ("mcp", "pip", "dip", "tip")),
)  # fmt: skip
HAND_ROOTS = ("wrist", "palm", "root", "hand_root")
_FINGERS = {
    "thumb": 0, "index": 1, "fore": 1, "middle": 2, "ring": 3, "little": 4, "pinky": 4, "baby": 4,
}  # fmt: skip
_JOINTS = {"cmc": 0, "mcp": 1, "pip": 2, "ip": 2, "dip": 3, "tip": 4}
_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
_OTHER = {"left": "right", "right": "left"}


def plain_name(name: str) -> str:
    """One spelling of a name: lower case, words joined by "_", the side first.

    >>> [plain_name(n) for n in ("Left Eye", "LeftEye", "L_Eye", "lEye", "eye.l", "EYE-LEFT", "lefteye")]
    ['left_eye', 'left_eye', 'left_eye', 'left_eye', 'left_eye', 'left_eye', 'left_eye']

    Only what is certain is a side: "leye" stays as it is, and so does a name with two sides in it.
    """
    return "_".join(word for word in _split(name) if word)


def part_name(name: str) -> str:
    """The plain name without its side: "shoulder" for "L_Shoulder"."""
    return _split(name)[1]


def place_name(name: str) -> str:
    """The plain name, with the words of other label sets for the same place replaced."""
    plain = plain_name(name)
    return SYNONYMS.get(plain, plain)


def mirror_numbers(names: Sequence[str]) -> tuple[int | None, ...]:
    """For each keypoint the number of its mirror image: itself where its name has no side, None where
    its name has one and there is no keypoint of the other side."""
    split = _split_all(names)
    return tuple(_mirror(split, i) for i in range(len(split)))


def coco_order(names: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers of COCO's 17 keypoints of a person among `names`; None where they are not all there."""
    numbers = {plain_name(name): i for i, name in reversed(list(enumerate(names)))}
    found = [numbers.get(name) for name in COCO_PERSON]
    return tuple(n for n in found if n is not None) if None not in found else None


def _mirror(split: list[tuple[str, str]], i: int) -> int | None:
    side, part = split[i]
    if not side:
        return i
    there = [j for j, other in enumerate(split) if other == (_OTHER[side], part)]
    return there[0] if len(there) == 1 and split.count((side, part)) == 1 else None


def _split_all(names: Sequence[str]) -> list[tuple[str, str]]:
    """Side and part of every name; letters that number points (point_a ... point_r) are no sides."""
    words = [_words(name) for name in names]
    letters = Counter(tuple(w[:-1]) for w in words if len(w) > 1 and re.fullmatch("[a-z]", w[-1]))
    return [
        ("", "_".join(w)) if w[-1:] in (["l"], ["r"]) and letters[tuple(w[:-1])] > 2 else _split(n)
        for w, n in zip(words, names, strict=True)
    ]


def _words(name: str) -> list[str]:
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    text = re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", text)  # LEye
    words = re.findall(r"[^\W_]+", text.lower())
    # three letters at least: not the left of "cleft", the right of "bright"
    parted = (re.fullmatch(r"(left|right)(\w{3,})|(\w{3,}?)(left|right)", w) for w in words)
    return [
        part
        for word, match in zip(words, parted, strict=True)
        for part in ([p for p in match.groups() if p] if match else [word])
    ]


def _split(name: str) -> tuple[str, str]:
    """("left", "right" or "", the rest)."""
    words = _words(name)
    ends = {0, len(words) - 1}
    at = [i for i, w in enumerate(words) if w in _SIDES and (len(w) > 1 or i in ends)]
    if len(at) != 1 or words in (["l"], ["r"]):
        return "", "_".join(words) or name
    return _SIDES[words[at[0]]], "_".join(w for i, w in enumerate(words) if i != at[0])


def places(names: Sequence[str], wanted: Sequence[str]) -> tuple[int | None, ...]:
    """For each wanted place its number among `names`, however they spell it; None where it is not there."""
    numbers = _numbers(names)
    return tuple(numbers.get(plain_name(name), numbers.get(place_name(name))) for name in wanted)


def _numbers(names: Sequence[str]) -> dict[str, int]:
    """The number of each plain name, of the first of two, and of the places that only synonyms name."""
    numbered = list(enumerate(names))
    found = {place_name(name): i for i, name in reversed(numbered)}
    return found | {plain_name(name): i for i, name in reversed(numbered)}


def hand_order(names: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers of a hand's 21 keypoints among `names`: the wrist, then thumb, index, middle, ring and
    little finger, each from its base to its tip; None where they are not all there, or there twice.

    Joints are told by their names (mcp, pip, dip, tip) or numbers, which count from the base; in
    trt_pose's hand, whose root is the "palm", they count from the tip.
    """
    split = [_finger(name) for name in names]
    fingers = {
        finger: sorted((j, i) for i, (f, j) in enumerate(split) if f == finger)
        for finger in range(5)
    }
    roots = [i for i, name in enumerate(names) if part_name(name) in HAND_ROOTS]
    if len(names) != 21 or len(roots) != 1 or any(len(found) != 4 for found in fingers.values()):
        return None
    if any(len({joint for joint, _ in found}) != 4 for found in fingers.values()):
        return None
    step = -1 if part_name(names[roots[0]]) == "palm" else 1
    return (roots[0], *(i for finger in range(5) for _, i in fingers[finger][::step]))


def _finger(name: str) -> tuple[int, int]:
    """(finger 0..4, joint) of a name; (-1, 0) where it names no joint of a finger."""
    match = re.fullmatch(
        rf"({'|'.join(_FINGERS)})_?(?:finger_?)?(\d|{'|'.join(_JOINTS)})", part_name(name)
    )
    if not match:
        return -1, 0
    finger, joint = _FINGERS[match[1]], match[2]
    return finger, int(joint) if joint.isdecimal() else _JOINTS[joint]
