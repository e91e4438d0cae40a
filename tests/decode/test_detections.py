"""Detector answers against YOLOv5's, YOLOX's and rtmlib's own post-processing (oracle/topdown)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.decode.detections import FORMATS, Boxes, DetectionParams, decode_detections
from edgepose.errors import EngineError, UnknownNameError


def answers(shared: Path, name: str) -> dict[str, Any]:
    return dict(np.load(shared / "oracle/topdown" / f"{name}.npz"))


def ragged(rows: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, np.cumsum(counts)[:-1])


@pytest.mark.parametrize(
    ("answer", "score", "overlap", "classes"),
    [("a", 0.25, 0.45, (0,)), ("b", 0.4, 0.5, (0,)), ("c", 0.25, 0.45, ())],
)
def test_yolov5_rows(
    answer: str, score: float, overlap: float, classes: tuple[int, ...], shared: Path
) -> None:
    data = answers(shared, "sithu_nms")
    widths = 5 + data["classes_per_case"]
    tables = ragged(data["pred"], data["rows_per_case"] * widths)
    expected = ragged(data[f"{answer}_det"], data[f"{answer}_count"])
    params = DetectionParams("yolov5", (640, 640), score, overlap, classes)
    for table, width, rows in zip(tables, widths, expected, strict=True):
        (found,) = decode_detections({"output": table.reshape(1, -1, width)}, params)
        assert len(found.scores) == len(rows)
        np.testing.assert_allclose(found.xyxy, rows[:, :4], atol=1e-3)
        np.testing.assert_allclose(found.scores, rows[:, 4], atol=1e-6)
        np.testing.assert_array_equal(found.labels, rows[:, 5])


@pytest.mark.parametrize(
    ("answer", "score", "overlap"),
    [("v0016_0", 0.7, 0.45), ("v0016_1", 0.3, 0.45), ("v0016_2", 0.1, 0.65)],
)
@pytest.mark.parametrize("kind", ["yolox", "rtmdet"])
def test_yolox_rows(answer: str, score: float, overlap: float, kind: str, shared: Path) -> None:
    data = answers(shared, "rtmlib_yolox_rtmdet")
    # the reference counts whole pixels of the image
    params = [
        DetectionParams(kind, (416, 416), score, overlap, (), 10_000, pixel=ratio)
        for ratio in data["raw_ratio"]
    ]
    raw = data["raw"].astype(np.float32)
    found = [decode_detections({"output": r[None]}, p)[0] for r, p in zip(raw, params, strict=True)]
    expected = zip(
        ragged(data[f"{answer}_boxes"], data[f"{answer}_count"]),
        ragged(data[f"{answer}_classes"], data[f"{answer}_count"]),
        strict=True,
    )
    for picture, ratio, (boxes, classes) in zip(found, data["raw_ratio"], expected, strict=True):
        # the reference lists class by class, each by falling score
        order = np.lexsort((-picture.scores, picture.labels))
        np.testing.assert_array_equal(picture.labels[order], classes)
        np.testing.assert_allclose(picture.xyxy[order] / ratio, boxes, atol=1e-3)


def test_yolox_with_suppression_inside(shared: Path) -> None:
    data = answers(shared, "rtmlib_yolox_rtmdet")
    tables = ragged(data["built_in"], data["built_in_count"])
    expected = ragged(data["built_in_answer_boxes"], data["built_in_answer_count"])
    params = DetectionParams("yolox", (416, 416), 0.3)
    for table, ratio, boxes in zip(tables, data["built_in_ratio"], expected, strict=True):
        before = table.copy()
        (found,) = decode_detections({"dets": table[None]}, params)
        np.testing.assert_array_equal(table, before)
        order = np.argsort(-table[table[:, 4] > 0.3, 4], kind="stable")
        np.testing.assert_allclose(found.xyxy / ratio, boxes[order], atol=1e-3)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three boxes (xyxy), their scores and classes: two people, and a dog on one of them."""
    boxes = np.array([[10, 20, 60, 120], [100, 40, 140, 160], [12, 22, 60, 118]], np.float32)
    return boxes, np.array([0.6, 0.9, 0.8], np.float32), np.array([0, 0, 16])


def centre_form(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def one_hot(scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    table = np.zeros((len(scores), classes), np.float32)
    table[np.arange(len(scores)), labels] = scores
    return table


def exported(kind: str) -> dict[str, np.ndarray]:
    """The scene as a network of that format answers it."""
    boxes, scores, labels = scene()
    flat = np.concatenate([centre_form(boxes), one_hot(scores, labels, 80)], axis=1)
    many = np.concatenate([flat, np.zeros((397, 84), np.float32)])
    ends = np.concatenate([boxes, scores[:, None], labels[:, None]], axis=1).astype(np.float32)
    return {
        "yolov8": {"output0": many.T[None]},
        "yolov8, rows first": {"output0": many[None]},
        "yolo11, suppressed inside": {"output0": ends[None]},
        "yolov5, suppressed inside": {"output0": ends[None]},
        "nms, picture numbers": {
            "output": np.concatenate(
                [np.zeros((3, 1)), boxes, labels[:, None], scores[:, None]], axis=1
            ).astype(np.float32)
        },
        "nms, boxes and labels": {"dets": ends[None, :, :5], "labels": labels[None]},
        "rtmdet, boxes and labels": {"labels": labels[None], "dets": ends[None, :, :5]},
        "nms, four tensors": {
            "num_dets": np.array([[3]], np.int32),
            "det_boxes": np.pad(boxes, ((0, 7), (0, 0)))[None],
            "det_scores": np.pad(scores, (0, 7))[None],
            "det_classes": np.pad(labels, (0, 7))[None].astype(np.int32),
        },
        "ssd": {
            "detection_out": np.concatenate(
                [
                    np.concatenate([np.zeros((3, 1)), labels[:, None], scores[:, None]], axis=1),
                    boxes / 640,
                ],
                axis=1,
            )[None, None].astype(np.float32)
        },
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "yolov8",
        "yolov8, rows first",
        "yolo11, suppressed inside",
        "yolov5, suppressed inside",
        "nms, picture numbers",
        "nms, boxes and labels",
        "rtmdet, boxes and labels",
        "nms, four tensors",
        "ssd",
    ],
)
def test_every_export_of_one_scene_gives_the_same_boxes(kind: str) -> None:
    boxes, scores, _ = scene()
    params = DetectionParams(kind.split(",")[0], (640, 640), 0.5, 0.5, (0,))
    (found,) = decode_detections(exported(kind), params)
    np.testing.assert_allclose(found.xyxy, boxes[[1, 0]], atol=1e-3)
    np.testing.assert_allclose(found.scores, scores[[1, 0]], atol=1e-6)
    everything = DetectionParams(kind.split(",")[0], (640, 640), 0.5, 0.5, ())
    assert decode_detections(exported(kind), everything)[0].labels.tolist() == [0, 16, 0]


def test_yolox_and_yolov5_raw_rows_by_hand() -> None:
    # a 32 x 32 input has 16 + 4 + 1 cells; the last is the cell of stride 32
    raw = np.zeros((1, 21, 6), np.float32)
    raw[0, 20] = [0.5, 0.25, np.log(0.5), np.log(0.25), 0.8, 0.9]
    (found,) = decode_detections({"o": raw}, DetectionParams("yolox", (32, 32), 0.5))
    np.testing.assert_allclose(found.xyxy, [[8, 4, 24, 12]], atol=1e-4)
    assert found.scores[0] == pytest.approx(0.72)
    raw = np.pad(raw, ((0, 0), (0, 0), (0, 1)))  # two classes
    raw[0, 20, :4] = [16, 8, 16, 8]
    (found,) = decode_detections({"o": raw}, DetectionParams("yolov5", (32, 32), 0.5))
    np.testing.assert_allclose(found.xyxy, [[8, 4, 24, 12]], atol=1e-4)


def test_ssd_list_ends_at_a_negative_picture_and_pictures_without_boxes_count() -> None:
    rows = np.zeros((1, 1, 4, 7), np.float32)
    rows[0, 0, 0] = [1, 1, 0.9, 0, 0, 0.5, 0.5]
    rows[0, 0, 1] = [-1, 0, 0, 0, 0, 0, 0]
    rows[0, 0, 2] = [0, 1, 0.9, 0, 0, 1, 1]  # beyond the end: left over from a former run
    params = DetectionParams("ssd", (544, 320), 0.4, classes=(1,))
    found = decode_detections({"detection_out": rows}, params, 3)
    assert [len(b.scores) for b in found] == [0, 1, 0]
    assert found[1].xyxy.tolist() == [[0, 0, 272, 160]]


def test_limit_order_and_impossible_numbers() -> None:
    table = np.zeros((1, 300, 6), np.float32)
    table[0, :, 2:4] = 10
    table[0, :, 0] = np.arange(300) * 20
    table[0, :, 4] = 1
    table[0, :, 5] = np.linspace(0.5, 0.9, 300)
    table[0, 7, :4] = np.nan
    table[0, 8, 2] = np.inf
    table[0, 9, 3] = -10  # upside down
    params = DetectionParams("yolov5", (640, 640), 0.1, limit=200)
    # 6 columns and at most 300 rows could be read as suppressed rows: one row more is not
    table = np.concatenate([table, np.zeros((1, 1, 6), np.float32)], axis=1)
    (found,) = decode_detections({"o": table}, params)
    assert isinstance(found, Boxes)
    assert len(found.scores) == 200
    assert (np.diff(found.scores) < 0).all()
    (every,) = decode_detections({"o": table}, DetectionParams("yolov5", (640, 640), 0.1, limit=0))
    assert len(every.scores) == 297


@pytest.mark.parametrize("kind", list(FORMATS))
def test_wrong_heads_are_named(kind: str) -> None:
    heads = {"cmap": np.zeros((1, 18, 56, 56), np.float32), "paf": np.zeros((1, 42, 56, 56))}
    with pytest.raises(EngineError, match=r"cmap \[1, 18, 56, 56\].*--detector"):
        decode_detections(heads, DetectionParams(kind))


def test_yolox_rows_of_another_input_size_are_refused() -> None:
    with pytest.raises(EngineError, match="8400 rows for"):
        decode_detections({"output": np.zeros((1, 3549, 85), np.float32)}, DetectionParams("yolox"))


def test_unknown_format() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'yolox'"):
        decode_detections({}, DetectionParams("yolo-x"))


def test_yolox_with_other_strides() -> None:
    raw = np.zeros((1, 5, 6), np.float32)  # 64 x 64 with strides 32 and 64: 4 cells and 1
    raw[0, 4] = [0.5, 0.5, 0, 0, 1, 0.9]
    params = DetectionParams("yolox", (64, 64), 0.5, strides=(32, 64))
    (found,) = decode_detections({"o": raw}, params)
    np.testing.assert_allclose(found.xyxy, [[0, 0, 64, 64]])


def raw_v8(rows: int) -> np.ndarray:
    """One class: centre, size, score of one box."""
    table = np.zeros((rows, 5), np.float32)
    table[0] = (30, 30, 20, 40, 0.9)
    return table


@pytest.mark.parametrize(("size", "rows"), [((640, 640), 8400), ((64, 64), 84), ((32, 64), 42)])
@pytest.mark.parametrize("first", ["rows", "columns"])
def test_one_class_with_the_rows_first_is_not_read_as_a_suppressed_list(
    size: tuple[int, int], rows: int, first: str
) -> None:
    table = raw_v8(rows) if first == "rows" else raw_v8(rows).T
    params = DetectionParams("yolov8", size, classes=())
    (found,) = decode_detections({"output0": table[None]}, params)
    np.testing.assert_allclose(found.xyxy, [[20, 10, 40, 50]])


def test_raw_rows_of_yolov5_for_a_small_input_are_not_a_list() -> None:
    table = np.zeros((252, 6), np.float32)
    table[0] = (30, 30, 20, 40, 1.0, 0.9)
    (found,) = decode_detections({"o": table[None]}, DetectionParams("yolov5", (64, 64)))
    np.testing.assert_allclose(found.xyxy, [[20, 10, 40, 50]])


@pytest.mark.parametrize("boxes", [0, 1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("shuffled", [False, True])
def test_efficient_nms_of_any_batch_and_number_of_boxes(
    boxes: int, batch: int, shuffled: bool
) -> None:
    """All four tensors may have the batch's size; names, else their order, say which is which."""
    n = max(boxes, 1)
    at = np.tile(np.arange(n, dtype=np.float32)[:, None] + [0, 1, 10, 20], (batch, 1, 1))
    outputs = {
        "num_dets": np.full((batch, 1), boxes, np.float32),
        "det_boxes": at,
        "det_scores": np.full((batch, n), 0.9, np.float32),
        "det_classes": np.zeros((batch, n), np.float32),
    }
    if shuffled:
        outputs = dict(reversed(outputs.items()))
    else:
        outputs = {f"output{i}": t for i, t in enumerate(outputs.values())}
    found = decode_detections(outputs, DetectionParams("nms"), batch)
    assert [len(f.scores) for f in found] == [boxes] * batch
    for picture in found:
        np.testing.assert_allclose(picture.xyxy, at[0, :boxes])
