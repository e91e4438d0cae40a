"""The run over pictures: perfect answers score 1, interrupted runs resume, bad files are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError, SourceError
from edgepose.eval.annotations import Annotations, LabelledPicture, load_annotations
from edgepose.eval.figures import coco_figures
from edgepose.eval.run import Journal, evaluate, journal_key, read_picture, write_rows
from edgepose.io.sources.images import read_image
from edgepose.networks.topology import Topology
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose

NAMES = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()


class Oracle:
    """Answers with the annotated people, in another order of keypoints; can stop after some."""

    def __init__(self, truth: Annotations, stop_after: int = 10**9) -> None:
        self.truth = truth
        self.order = list(reversed(range(17)))
        self.topology = Topology("person", tuple(NAMES[i] for i in self.order), ())
        self.by_file = {p.file: p.id for p in truth.pictures}
        self.asked: list[str] = []
        self.stop_after = stop_after

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        (frame,) = frames
        self.asked.append(frame.name)
        with stopwatch.stage("network"):
            image = self.by_file[frame.name]
            people = [a for a in self.truth.people if a["image_id"] == image]
        return [tuple(self._pose(i, a) for i, a in enumerate(people) if a["num_keypoints"])]

    def _pose(self, number: int, row: dict[str, Any]) -> Pose:
        points = np.array(row["keypoints"], np.float32).reshape(17, 3)[self.order]
        points[:, 2] = points[:, 2] > 0
        points[points[:, 2] == 0] = (np.nan, np.nan, 0)
        return Pose(number, points, self.topology.keypoints, score=1.0)


@pytest.fixture
def few(shared: Path) -> Annotations:
    return load_annotations(shared / "datasets/coco-mini/person_keypoints.json").limited(8)


@pytest.fixture
def images(shared: Path) -> Path:
    return shared / "datasets/coco-mini/images"


def test_perfect_answers_score_one(few: Annotations, images: Path) -> None:
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    outcome = evaluate(Oracle(few), few, images)
    figures = coco_figures(few, outcome.rows)
    assert all(v == pytest.approx(1.0) or v == -1 for v in figures.values())
    assert figures["AP"] == pytest.approx(1.0)
    assert outcome.pictures == 8
    assert outcome.speed()["total"] >= outcome.speed()["network"]
    assert "NaN" not in json.dumps(outcome.rows)


def test_an_interrupted_run_goes_on_where_it_stopped(
    few: Annotations, images: Path, tmp_path: Path
) -> None:
    key = journal_key(few, network="oracle")
    file = tmp_path / "results.json.partial"
    with Journal(file, key, resume=False) as journal, pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(few, stop_after=3), few, images, journal=journal)
    with file.open("a") as f:
        f.write('{"image_id": 99, "resul')  # the power went away in the middle of a line
    second = Oracle(few)
    with Journal(file, key, resume=True) as journal:
        assert len(journal.done) == 3
        outcome = evaluate(second, few, images, journal=journal)
        journal.remove()
    assert len(second.asked) == 5
    assert outcome.rows == evaluate(Oracle(few), few, images).rows
    assert not file.exists()


def test_a_journal_of_something_else_is_not_resumed(
    few: Annotations, images: Path, tmp_path: Path
) -> None:
    file = tmp_path / "j"
    with Journal(file, journal_key(few, threshold=0.1), resume=False) as journal:
        evaluate(Oracle(few), few, images, journal=journal)
    with Journal(file, journal_key(few, threshold=0.2), resume=True) as journal:
        assert not journal.done
    with Journal(file, journal_key(few, threshold=0.2), resume=False) as journal:
        assert not journal.done


def test_missing_and_broken_pictures_are_named(
    few: Annotations, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"has not 8 of the 8 images .* for example"):
        evaluate(Oracle(few), few, tmp_path)
    with pytest.raises(SourceError, match="not a folder"):
        evaluate(Oracle(few), few, tmp_path / "nowhere")
    for picture in few.pictures:
        shutil.copy(images / picture.file, tmp_path)
    broken = tmp_path / few.pictures[4].file
    for content, message in (
        (b"", "is empty"),
        (b"not a picture", "cannot be decoded"),
        (broken.read_bytes()[:-2000], "is cut"),
    ):
        broken.write_bytes(content)
        with pytest.raises(SourceError, match=rf"{broken.name} {message}"):
            evaluate(Oracle(few), few, tmp_path)
    cv2.imwrite(str(broken), np.zeros((3, 5, 3), np.uint8))
    with pytest.raises(SourceError, match="has 5x3 pixels; its annotation says"):
        evaluate(Oracle(few), few, tmp_path)


def test_results_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_rows([{"image_id": 1, "score": 0.5}], tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == [{"image_id": 1, "score": 0.5}]
    with pytest.raises(OutputError, match="cannot be written"):
        write_rows([], tmp_path / "no/r.json")
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_read_as_stored_or_as_shown_by_their_annotated_size(
    orientation: int, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow makes the pictures")
    pixels = np.random.default_rng(orientation).integers(0, 256, (24, 40, 3), np.uint8)
    exif = image.Exif()
    exif[274] = orientation
    file = tmp_path / "turned.png"
    image.fromarray(pixels).save(file, exif=exif)
    stored = read_picture(file, LabelledPicture(1, file.name, 40, 24))
    assert (stored == pixels).all()
    if orientation >= 5:
        shown = read_picture(file, LabelledPicture(1, file.name, 24, 40))
        assert (shown == read_image(str(file))).all()
