"""COCO's figures on the oracle's four result files, by COCO's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import UsageError
from edgepose.eval.annotations import Annotations, load_annotations, match_names
from edgepose.eval.figures import FIGURES, coco_figures, sigmas

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
    assert sigmas(["neck", "left_wing"]).tolist() == [0.079, 0.05]


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
            "annotation 7 has 2 keypoint numbers",
        ),
    ],
)
def test_broken_annotations_are_refused(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_annotations(file)
