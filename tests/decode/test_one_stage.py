"""One-stage answers: RTMO against rtmlib's own (oracle/topdown), YOLO-pose exports by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.decode.one_stage import ONE_STAGE_FORMATS, OneStageParams, decode_people
from edgepose.errors import EngineError, UnknownNameError


def answers(shared: Path, name: str) -> dict[str, Any]:
    return dict(np.load(shared / "oracle/topdown" / f"{name}.npz"))


def ragged(rows: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, np.cumsum(counts)[:-1])


@pytest.mark.parametrize(
    ("number", "score", "overlap"), [(0, 0.7, 0.45), (1, 0.3, 0.45), (2, 0.1, 0.65)]
)
def test_rtmo_is_rtmlibs(number: int, score: float, overlap: float, shared: Path) -> None:
    data = answers(shared, "rtmlib_rtmo")
    answer = f"v0016_{number}"
    counts = data[f"{answer}_count"]
    cases = zip(
        ragged(data["dets"], data["count"]),
        ragged(data["keypoints"], data["count"]),
        ragged(data[f"{answer}_keypoints"], counts),
        ragged(data[f"{answer}_scores"], counts),
        data["ratio"],
        strict=True,
    )
    people = 0
    for dets, keypoints, points, scores, ratio in cases:
        params = OneStageParams("rtmo", 17, score, overlap, 1000, pixel=ratio)
        (found,) = decode_people({"dets": dets[None], "keypoints": keypoints[None]}, params)
        if not len(found.scores):
            # the reference invents one person of zeros where nobody is left
            assert not points.any()
            continue
        people += len(found.scores)
        np.testing.assert_allclose(found.points[..., :2] / ratio, points, atol=1e-3)
        np.testing.assert_allclose(found.points[..., 2], scores, atol=1e-6)
    assert people > 70


def person(x: float, y: float, score: float, k: int = 17) -> tuple[list[float], np.ndarray]:
    """Centre form box and score, and K keypoints of a made-up person."""
    points = np.stack([x + np.arange(k), y - np.arange(k), np.linspace(0.1, 0.9, k)], axis=1)
    return [x, y, 40.0, 80.0, score], points.astype(np.float32)


def table(rows: list[tuple[list[float], np.ndarray]], objectness: bool = False) -> np.ndarray:
    out = []
    for (x, y, w, h, s), points in rows:
        scores = [0.9, s / 0.9] if objectness else [s]
        out.append(np.concatenate([[x, y, w, h, *scores], points.ravel()]))
    return np.array(out, np.float32)


ROWS = [person(100, 200, 0.6), person(300, 200, 0.85), person(102, 201, 0.5), person(9, 9, 0.1)]


def as_export(kind: str) -> dict[str, np.ndarray]:
    if kind == "yolov7-pose":
        return {"output": table(ROWS, objectness=True)[None]}
    rows = table(ROWS)
    if kind == "suppressed":
        corners = np.concatenate(
            [rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], 1
        )
        inside = np.concatenate([corners, rows[:, 4:5], np.zeros((4, 1)), rows[:, 5:]], axis=1)
        return {"output0": inside[[1, 0, 3]][None].astype(np.float32)}
    return {"output0": rows.T[None] if kind == "yolo-pose" else rows[None]}


@pytest.mark.parametrize("kind", ["yolo-pose", "rows first", "suppressed", "yolov7-pose"])
def test_yolo_pose_exports_give_the_same_people(kind: str) -> None:
    name = kind if kind in ONE_STAGE_FORMATS else "yolo-pose"
    (found,) = decode_people(as_export(kind), OneStageParams(name, 17, 0.3, 0.5))
    np.testing.assert_allclose(found.scores, [0.85, 0.6], atol=1e-6)
    np.testing.assert_allclose(found.boxes, [[280, 160, 320, 240], [80, 160, 120, 240]], atol=1e-3)
    for points, (_, expected) in zip(found.points, [ROWS[1], ROWS[0]], strict=True):
        np.testing.assert_allclose(points, expected, atol=1e-4)


def test_a_box_of_negative_size_is_nobody() -> None:
    rows = table(ROWS)
    rows[1, 2] = -40
    (found,) = decode_people({"output0": rows.T[None]}, OneStageParams("yolo-pose", 17, 0.3, 0.5))
    np.testing.assert_allclose(found.scores, [0.6], atol=1e-6)


def test_nobody() -> None:
    (found,) = decode_people(
        {"o": np.zeros((1, 56, 8400), np.float32)}, OneStageParams("yolo-pose")
    )
    assert found.points.shape == (0, 17, 3)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("kind", list(ONE_STAGE_FORMATS))
def test_wrong_heads_are_named(kind: str) -> None:
    heads = {"simcc_x": np.zeros((1, 17, 384), np.float32), "simcc_y": np.zeros((1, 17, 512))}
    with pytest.raises(EngineError, match=r"simcc_x \[1, 17, 384\]"):
        decode_people(heads, OneStageParams(kind))


def test_another_number_of_keypoints_is_refused() -> None:
    with pytest.raises(EngineError, match="21, 3"):
        decode_people(
            {"dets": np.zeros((1, 5, 5)), "keypoints": np.zeros((1, 5, 17, 3))},
            OneStageParams("rtmo", 21),
        )


def test_unknown_format() -> None:
    with pytest.raises(UnknownNameError, match="yolo-pose"):
        decode_people({}, OneStageParams("yolopose"))


def layout(
    classes: int = 1, values: int = 3, objectness: bool = False, rows: int = 8400
) -> np.ndarray:
    """Raw rows of YOLO-pose with so many classes (the last one is meant) and values a keypoint."""
    out = np.zeros((rows, 4 + objectness + classes + values * 17), np.float32)
    for row, ((x, y, w, h, score), points) in zip(out, ROWS, strict=False):
        row[:4] = x, y, w, h
        if objectness:
            row[4] = 1
        row[3 + objectness + classes] = score
        row[4 + objectness + classes :] = points[:, :values].ravel()
    return out


@pytest.mark.parametrize("first", ["rows", "columns"])
@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("values", [2, 3])
@pytest.mark.parametrize("kind", ["yolo-pose", "yolov7-pose"])
def test_classes_and_keypoints_without_a_score_by_manifest(
    kind: str, values: int, classes: int, first: str
) -> None:
    table = layout(classes, values, objectness=kind == "yolov7-pose")
    params = OneStageParams(kind, 17, 0.3, 0.5, classes=classes, values=values)
    (found,) = decode_people({"o": (table if first == "rows" else table.T)[None]}, params)
    np.testing.assert_allclose(found.scores, [0.85, 0.6], atol=1e-6)
    np.testing.assert_allclose(found.boxes, [[280, 160, 320, 240], [80, 160, 120, 240]], atol=1e-3)
    for points, (_, expected) in zip(found.points, [ROWS[1], ROWS[0]], strict=True):
        np.testing.assert_allclose(points[:, :2], expected[:, :2], atol=1e-4)
        if values == 3:
            np.testing.assert_allclose(points[:, 2], expected[:, 2], atol=1e-4)
        else:
            assert (points[:, 2] == 1).all()


@pytest.mark.parametrize(
    "more", [{"classes": 2}, {"values": 2}, {"classes": 3, "values": 2}], ids=str
)
def test_a_layout_that_the_manifest_does_not_say_is_refused(more: dict[str, int]) -> None:
    for table in (layout(**more).T, layout(**more)):
        with pytest.raises(EngineError, match="class_count"):
            decode_people({"o": table[None]}, OneStageParams("yolo-pose", 17, 0.3, 0.5))


@pytest.mark.parametrize(("size", "rows"), [((640, 640), 25200), ((64, 64), 252)])
def test_the_layout_of_yolov7_is_not_read_as_a_suppressed_list(
    size: tuple[int, int], rows: int
) -> None:
    """Both are 6 + 3K wide; the number of rows tells: 252 are three anchors a cell of 64 x 64."""
    table = {"o": layout(objectness=True, rows=rows)[None]}
    with pytest.raises(EngineError, match='"type" to yolov7-pose'):
        decode_people(table, OneStageParams("yolo-pose", 17, 0.3, 0.5, size=size))
    (found,) = decode_people(table, OneStageParams("yolov7-pose", 17, 0.3, 0.5, size=size))
    np.testing.assert_allclose(found.scores, [0.85, 0.6], atol=1e-6)


def test_two_tensors_in_one_role_are_refused() -> None:
    boxes, points = np.zeros((1, 5, 5)), np.zeros((1, 5, 17, 3))
    with pytest.raises(EngineError, match="weak"):
        decode_people({"weak": boxes, "dets": boxes, "keypoints": points}, OneStageParams("rtmo"))
