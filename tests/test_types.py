"""Poses as mappings, as jetson-inference's objects, and their links."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.types import Frame, Link, Pose

NAMES = ("nose", "left_eye", "right_eye", "neck")


@pytest.fixture
def pose() -> Pose:
    points = np.array([[1, 2, 0.9], [np.nan, np.nan, 0], [5, 6, 0.5], [7, 8, 0.25]], np.float32)
    return Pose(0, points, NAMES, (Link(0, 2, 0.8), Link(3, 0, 0.7)), 0.5, (1, 2, 7, 8))


def test_a_pose_is_a_mapping_of_its_detected_keypoints(pose: Pose) -> None:
    assert list(pose) == ["nose", "right_eye", "neck"]
    assert len(pose) == 3
    assert "left_eye" not in pose
    assert (pose["neck"].x, pose["neck"].y, pose["neck"].score) == (7, 8, 0.25)
    assert pose.get("left_eye") is None


def test_jetson_inference_spellings(pose: Pose) -> None:
    assert pose.ID == 0
    assert pose.ROI == (pose.Left, pose.Top, pose.Right, pose.Bottom) == (1, 2, 7, 8)
    assert [k.ID for k in pose.Keypoints] == [0, 2, 3]
    assert pose.Links == [(0, 1), (2, 0)]
    assert pose.FindKeypoint("right_eye") == 1
    assert pose.FindKeypoint(2) == 1
    assert pose.FindKeypoint("left_eye") == -1
    assert pose.FindLink("right_eye", "nose") == 0
    assert pose.FindLink(0, 1) == -1
    with pytest.raises(KeyError, match="no keypoint named 'tail'"):
        pose.FindKeypoint("tail")


def test_frames_know_their_size() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8))
    assert (frame.width, frame.height, frame.on_device) == (6, 4, False)
