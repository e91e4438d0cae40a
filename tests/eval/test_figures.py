"""COCO's figures on the oracle's four result files, by COCO's own code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import SourceError, UsageError
from edgepose.eval.annotations import Annotations, find_pictures, load_annotations, match_names
from edgepose.eval.figures import FIGURES, coco_figures, parse_sigmas, sigmas, spread
from edgepose.eval.pck import measure
from edgepose.networks.topology import parse_topology

COCO_17 = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()


@pytest.fixture(scope="module")
def truth(shared: Path) -> Annotations:
    return load_annotations(shared / "oracle/topdown/coco_gt.json")


@pytest.fixture(scope="module")
def answers(shared: Path) -> dict[str, Any]:
    return dict(np.load(shared / "oracle/topdown/coco_figures.npz"))


@pytest.mark.parametrize("name", ["noisy", "perfect", "ties", "half"])
def test_figures_are_the_oracles(
    name: str, truth: Annotations, answers: dict[str, Any], shared: Path
) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    rows = json.loads((shared / f"oracle/topdown/coco_dt_{name}.json").read_text())
    figures = coco_figures(truth, rows)
    assert tuple(figures) == FIGURES
    np.testing.assert_allclose(list(figures.values()), answers[f"{name}_pycocotools"], atol=1e-6)


def test_sigmas_are_cocos(answers: dict[str, Any]) -> None:
    np.testing.assert_allclose(sigmas(COCO_17), answers["sigmas"])
    assert sigmas(["neck", "left_wing"]) == (0.079, 0.05)


def test_no_results_are_nought(truth: Annotations) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    assert set(coco_figures(truth, []).values()) == {0.0}


def test_results_for_other_pictures_do_not_count(truth: Annotations, shared: Path) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    few = truth.limited(5)
    ids = {p.id for p in few.pictures}
    rows = json.loads((shared / "oracle/topdown/coco_dt_noisy.json").read_text())
    mine = [r for r in rows if r["image_id"] in ids]
    assert coco_figures(few, mine)["AP"] > 0


def test_names_are_matched_not_positions() -> None:
    openpose = ["nose", "neck", "Right Shoulder", "r_elbow", "left-wrist"]
    wanted = ["left_wrist", "right_elbow", "nose", "left_ear", "right_shoulder", "neck"]
    assert match_names(openpose, wanted) == (4, 3, 0, -1, 2, 1)
    with pytest.raises(UsageError, match="no keypoint in common"):
        match_names(["thumb_tip"], COCO_17)


def test_the_top_of_a_head_is_no_nose() -> None:
    """CrowdPose and Halpe label it; a nose there would be wrong by half a head."""
    assert match_names(COCO_17, ["left_knee", "head", "neck"]) == (13, -1, -1)
    assert match_names([*COCO_17, "neck"], ["Nose", "LEye", "Head", "Neck"]) == (0, 1, -1, 17)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a COCO keypoint file"),
        ('{"images": [], "annotations": [], "categories": []}', "not a COCO keypoint file"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "keypoints": ["a"]}]}',
            "names no image",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg", "width": 2, "height": 2}], "annotations": '
            '[{"id": 7, "image_id": 1, "keypoints": [1, 2]}], '
            '"categories": [{"id": 1, "keypoints": ["a"]}]}',
            "annotation 7 has 2 keypoints numbers",
        ),
    ],
)
def test_broken_annotations_are_refused(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_annotations(file)


@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda name: name.replace("_", " ").title(),
        lambda name: name.replace("left_", "l_").replace("right_", "R_"),
    ],
)
def test_figures_do_not_hang_on_the_spelling(
    spell: Callable[[str], str], truth: Annotations, shared: Path
) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    rows = json.loads((shared / "oracle/topdown/coco_dt_noisy.json").read_text())
    spelled = replace(truth, keypoints=tuple(spell(name) for name in truth.keypoints))
    assert match_names(COCO_17, spelled.keypoints) == match_names(COCO_17, truth.keypoints)
    assert coco_figures(spelled, rows) == coco_figures(truth, rows)
    strict = coco_figures(replace(spelled, sigmas=(0.01,) * 17), rows)
    assert strict["AP"] < coco_figures(truth, rows)["AP"]


WHOLE: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 2, "height": 2}],
    "annotations": [
        {
            "id": 7,
            "image_id": 1,
            "category_id": 1,
            "keypoints": [1, 2, 2],
            "bbox": [0, 0, 2, 2],
            "area": 4,
        }
    ],
    "categories": [{"id": 1, "keypoints": ["a"]}],
}
ODD: tuple[Any, ...] = (
    *(None, "x", "", [], {}, [[]], True, 0, -1, 0.5, 1e300, 10**24, [1], {"id": 1}, [None] * 3),
)


def items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    for key, child in items(value):
        yield from paths(child, (*at, key))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    made = {k: changed(v, at[1:], new) if k == at[0] else v for k, v in items(value)}
    return made if isinstance(value, dict) else list(made.values())


@pytest.mark.parametrize("at", list(paths(WHOLE))[1:], ids=lambda at: "-".join(map(str, at)))
def test_any_change_of_the_file_is_read_or_refused(at: tuple[Any, ...], tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    file = tmp_path / "truth.json"
    for new in ODD:
        file.write_text(json.dumps(changed(WHOLE, at, new)))
        try:
            read = load_annotations(file)
        except UsageError:
            continue
        points = [1.0, 2.0, 0.5] * len(read.keypoints)
        row = {"image_id": read.pictures[0].id, "keypoints": points, "score": 0.5}
        coco_figures(read, [{"category_id": read.category, **row}])
        measure(read, [row])


def with_person(**fields: Any) -> dict[str, Any]:
    return {**WHOLE, "annotations": [{**WHOLE["annotations"][0], **fields}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_person(image_id="1"), "image_id '1' is written 1 elsewhere"),
        (with_person(category_id="1"), "category_id '1' is written 1 elsewhere"),
        (with_person(category_id=2), "label nobody"),
        (with_person(image_id=2), "label nobody"),
        (with_person(iscrowd="0"), "iscrowd is 0 or 1"),
        (with_person(area=-4), "area is below 0"),
        (with_person(area=None, bbox=[2, 2, -2, -2]), "bbox is below 0"),
        ({**WHOLE, "images": WHOLE["images"] * 2}, "two images have one id"),
        ({**WHOLE, "categories": [{"id": 1, "keypoints": ["a", "a"]}]}, "a keypoint twice"),
        (with_person(area=None, bbox=None), "neither area nor bbox"),
    ],
    ids=str,
)
def test_what_would_leave_people_out_in_silence_is_refused(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        coco_figures(load_annotations(file), [])


def test_categories_with_the_same_keypoints_are_measured_as_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    first = WHOLE["annotations"][0]
    content = {
        **WHOLE,
        "annotations": [
            first,
            {**first, "id": 8, "category_id": 2, "keypoints": [40, 50, 2]},
            {**first, "id": 9, "category_id": 3, "keypoints": [1, 1, 2, 2, 2, 2]},
        ],
        "categories": [
            {"id": 1, "name": "cat", "keypoints": ["a"]},
            {"id": 2, "name": "dog", "keypoints": ["a"]},
            {"id": 3, "name": "car", "keypoints": ["a", "b"]},
        ],
    }
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    truth = load_annotations(file)
    assert [a["id"] for a in truth.people] == [7, 8]
    assert "car" in caplog.text
    rows = [
        {"image_id": 1, "category_id": 1, "keypoints": [*at, 0.9], "score": 0.9}
        for at in ((1.0, 2.0), (40.0, 50.0))
    ]
    assert coco_figures(truth, rows)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "", ".", "/" + "b/" * 3000])
def test_a_file_name_that_is_none_is_a_missing_picture(name: str, tmp_path: Path) -> None:
    image = {**WHOLE["images"][0], "file_name": name}
    (tmp_path / "truth.json").write_text(json.dumps({**WHOLE, "images": [image]}))
    with pytest.raises(SourceError, match="has not 1 of the 1 images"):
        find_pictures(load_annotations(tmp_path / "truth.json"), tmp_path)


@pytest.mark.parametrize("text", ['{"images": Infinity}', "[" * 100_000, "9" * 5000, '"\\ud800"'])
def test_json_thpictureno_one_can_use_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(text)
    with pytest.raises(UsageError, match="is not JSON"):
        load_annotations(tmp_path / "truth.json")


def test_own_sigmas_come_from_a_topology_or_an_option(truth: Annotations, tmp_path: Path) -> None:
    names = [n.replace("_", " ").title() for n in reversed(COCO_17)]
    own = [0.01 * (i + 1) for i in range(17)]
    topology = parse_topology({"keypoints": names, "skeleton": [], "sigmas": own}, "here")
    assert spread(truth, topology) == tuple(reversed(own))
    assert spread(truth, replace(topology, sigmas=())) == ()
    (tmp_path / "s.json").write_text(json.dumps(own))
    for text in (",".join(map(str, own)), str(tmp_path / "s.json")):
        assert parse_sigmas(text, COCO_17) == tuple(own)
    assert parse_sigmas("", COCO_17) == ()
    for wrong in ("0.1", "a,b", "nan" + ",1" * 16, str(tmp_path / "absent.json")):
        with pytest.raises(UsageError, match="--sigmas"):
            parse_sigmas(wrong, COCO_17)
