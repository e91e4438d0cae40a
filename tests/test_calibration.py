"""Calibration pictures: found, spread, prepared as frames are, and identified by a digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.calibration import calibration
from edgepose.errors import UsageError
from edgepose.estimators.preparation import WholePictures
from edgepose.networks.manifest import InputSpec
from edgepose.preprocess import fit, to_tensor

SPEC = InputSpec(width=32, height=24, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(12):
        picture = np.random.default_rng(i).integers(0, 255, (40, 60, 3), np.uint8)
        target = tmp_path / ("more" if i % 2 else "") / f"picture{i}.png"
        target.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(target), picture)
    return tmp_path


def test_prepared_as_frames_are(folder: Path) -> None:
    made = calibration(folder, WholePictures(SPEC, "maps"), "input")
    feeds = list(made.batches())
    assert len(feeds) == made.count == 12
    first = cv2.cvtColor(cv2.imread(str(folder / "more/picture1.png")), cv2.COLOR_BGR2RGB)
    expected = to_tensor([first], [fit(SPEC, 60, 40)], SPEC)[0]
    assert feeds[0]["input"].shape == (1, 3, 24, 32)
    np.testing.assert_array_equal(feeds[0]["input"][0], expected)
    np.testing.assert_array_equal(next(made.batches())["input"], feeds[0]["input"])


def test_another_size(folder: Path) -> None:
    made = calibration(folder, WholePictures(replace(SPEC, width=64, height=48), "maps"), "x")
    assert next(made.batches())["x"].shape == (1, 3, 48, 64)


def test_spread_over_the_folder(folder: Path) -> None:
    made = calibration(folder, WholePictures(SPEC, "maps"), "x", most=4)
    assert made.count == len(list(made.batches())) == 4
    assert made.digest != calibration(folder, WholePictures(SPEC, "maps"), "x").digest


def test_the_digest_follows_pictures_and_preparation(folder: Path) -> None:
    before = calibration(folder, WholePictures(SPEC, "maps"), "x").digest
    assert calibration(folder, WholePictures(SPEC, "maps"), "x").digest == before
    assert (
        calibration(folder, WholePictures(replace(SPEC, color="bgr"), "maps"), "x").digest != before
    )
    assert (
        calibration(folder, WholePictures(replace(SPEC, width=64, height=48), "maps"), "x").digest
        != before
    )
    cv2.imwrite(str(folder / "picture0.png"), np.zeros((5, 5, 3), np.uint8))
    assert calibration(folder, WholePictures(SPEC, "maps"), "x").digest != before


def test_broken_pictures_are_left_out(folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 cut")
    (folder / "notes.txt").write_text("no picture")
    made = calibration(folder, WholePictures(SPEC, "maps"), "x")
    assert len(list(made.batches())) == 12


def test_nothing_to_calibrate_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        calibration(tmp_path / "none", WholePictures(SPEC, "maps"), "x")
    with pytest.raises(UsageError, match="holds no pictures"):
        calibration(tmp_path, WholePictures(SPEC, "maps"), "x")
