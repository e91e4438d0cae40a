"""Precision and recall of the built-in rules on people and hands who were labelled by eye.

    python benchmarks/gesture_figures.py                 # bodies, with the keypoints of the data sets' labels
    python benchmarks/gesture_figures.py --network fast  # with those that a network finds
    python benchmarks/gesture_figures.py --hands         # hands, as the network finds them

The pictures (coco-mini and people of EDGEPOSE_TEST_MATERIAL or ../shared) are not part of the project; the labels
are (tests/data/gesture_labels.json and hand_labels.json, which say who labelled and how).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose.geometry import box_iou
from edgepose.gestures.builtin import HAND
from edgepose.gestures.finder import make_finders
from edgepose.networks.topology import Topology
from edgepose.posenet import PoseNet
from edgepose.types import Box, Pose

ROOT = Path(__file__).resolve().parents[1]
LABELS = ROOT / "tests" / "data" / "gesture_labels.json"
HAND_LABELS = LABELS.with_name("hand_labels.json")
FILES = {"coco-mini": "coco-mini/person_keypoints.json", "people/val": "people/val.json"}
POSTURES = ("standing", "sitting", "crouching", "lying")
HANDS = {"none": set(), "one": {"left_hand_up", "right_hand_up"}, "both": {"hands_up"}}
SAME = 0.5  # IoU of a found person with the labelled box

Row = dict[str, Any]


def labels() -> list[Row]:
    """The labelled people."""
    rows: list[Row] = json.loads(LABELS.read_text())["people"]
    return rows


def material() -> Path:
    """The folder of the data sets."""
    return Path(os.environ.get("EDGEPOSE_TEST_MATERIAL") or ROOT.parent / "shared") / "datasets"


def annotated(folder: Path, which: str) -> tuple[tuple[str, ...], dict[int, tuple[Path, Pose]]]:
    """Names of the keypoints, and by annotation the picture and the labelled pose."""
    file = folder / FILES[which]
    data = json.loads(file.read_text())
    names = tuple(data["categories"][0]["keypoints"])
    pictures = {row["id"]: file.parent / "images" / row["file_name"] for row in data["images"]}
    found = {}
    for row in data["annotations"]:
        points = np.array(row["keypoints"], np.float32).reshape(-1, 3)
        points[:, 2] = points[:, 2] > 0
        points[points[:, 2] == 0, :2] = np.nan
        x, y, w, h = row["bbox"]
        pose = Pose(0, points, names, score=1.0, box=(x, y, x + w, y + h))
        found[row["id"]] = (pictures[row["image_id"]], pose)
    return names, found


def told(folder: Path, network: str) -> Iterator[tuple[Row, set[str] | None]]:
    """Each labelled person and the gestures that are told; None where nobody is found there."""
    net = PoseNet(network, gestures="builtin") if network else None
    seen: dict[Path, list[Pose]] = {}
    for which in FILES:
        names, people = annotated(folder, which)
        finder = make_finders("builtin", Topology("person", names, ()))()
        for row in labels():
            if row["set"] != which:
                continue
            picture, pose = people[row["annotation"]]
            if net is None:
                (pose,) = finder.update([pose], 0.0)
                yield row, {g.name for g in pose.gestures}
                continue
            if picture not in seen:
                seen[picture] = list(net.process(cv2.imread(str(picture))[:, :, ::-1].copy()))
            best = nearest(seen[picture], pose.box)
            yield row, None if best is None else {g.name for g in best.gestures}


def nearest(poses: list[Pose], box: Box) -> Pose | None:
    """The pose in a box; None where there is none."""
    if not poses:
        return None
    overlap = box_iou(np.array([box]), np.array([p.box for p in poses]))[0]
    return poses[int(overlap.argmax())] if overlap.max() >= SAME else None


def signs(folder: Path, limits_set: bool) -> dict[str, tuple[int, int, int]]:
    """By sign of hands: told rightly, told wrongly, missed."""
    net, seen = PoseNet("hand", gestures="builtin"), dict[str, list[Pose]]()
    rows = [
        r for r in json.loads(HAND_LABELS.read_text())["hands"] if r["limits_set"] == limits_set
    ]
    print(f"{len(rows)} hands, limits {'' if limits_set else 'not '}set on them")
    counts = {rule.name: [0, 0, 0] for rule in HAND}
    for row in rows:
        if row["image"] not in seen:
            picture = cv2.imread(str(folder / row["image"]))
            seen[row["image"]] = list(net.process(picture[:, :, ::-1].copy()))
        found = nearest(seen[row["image"]], row["box"])
        told = set() if found is None else {g.name for g in found.gestures}
        for name, count in counts.items():
            real = row["sign"] == name
            count[0] += real and name in told
            count[1] += name in told and not real
            count[2] += real and name not in told
    return {name: (count[0], count[1], count[2]) for name, count in counts.items()}


def truth(row: Row, name: str) -> bool | None:
    """Whether a person does it; None where that could not be decided by eye."""
    if name in POSTURES:
        return None if row["posture"] == "?" else row["posture"] == name
    if name in ("one hand up", "hands_up"):
        wanted = "both" if name == "hands_up" else "one"
        return None if row["hands_up"] == "?" else row["hands_up"] == wanted
    return name in row.get("also", ())


def figures(answers: list[tuple[Row, set[str] | None]]) -> dict[str, tuple[int, int, int]]:
    """By gesture: told rightly, told wrongly, missed. Who is not found is missed."""
    out = {}
    for name in (*POSTURES, "hands_up", "one hand up", "arms_crossed", "pointing", "leaning"):
        right = wrong = missed = 0
        for row, names in answers:
            real = truth(row, name)
            means = HANDS["one"] if name == "one hand up" else {name}
            said = bool(names and names & means)
            if real is not None:
                right, wrong, missed = (
                    right + (real and said),
                    wrong + (said and not real),
                    missed + (real and not said),
                )
        out[name] = (right, wrong, missed)
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="")
    parser.add_argument("--hands", action="store_true")
    asked = parser.parse_args()
    if asked.hands:
        for limits_set in (False, True):
            show(signs(material(), limits_set))
        return
    answers = list(told(material(), asked.network))
    for which in FILES:
        part = [(row, names) for row, names in answers if row["set"] == which]
        print(f"{which}: {len(part)} people, {asked.network or 'keypoints as labelled'}")
        show(figures(part))


def show(counts: dict[str, tuple[int, int, int]]) -> None:
    """Print a table."""
    print("| gesture | there | precision | recall |\n|---|---|---|---|")
    for name, (right, wrong, missed) in counts.items():
        share = [
            f"{right / n:.2f} ({right}/{n})" if n else "-" for n in (right + wrong, right + missed)
        ]
        print(f"| {name} | {right + missed} | {share[0]} | {share[1]} |")


if __name__ == "__main__":
    main()
