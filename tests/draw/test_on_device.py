"""The overlay by the kernel is the overlay by OpenCV, but for the edges; on the kernels' host build."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepose.draw.on_device import DevicePainter
from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.errors import BackendUnavailable
from edgepose.networks.topology import load_topology
from edgepose.types import Link, Pose

BODY = load_topology("human_pose")


class Image:
    """A picture that only tells its address, as jetson-utils' images do."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.array.__array_interface__, "typestr": "|u1"}


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch, compiled: None) -> DevicePainter:
    from edgepose.cuda.host_kernels import HostRunner
    from edgepose.cuda.kernels import Kernels

    runner: Any = HostRunner()
    runner.context = SimpleNamespace(active=nullcontext, wait=lambda stream: None)
    runner.stream = SimpleNamespace()
    monkeypatch.setattr("edgepose.cuda.device.device_kernels", lambda: Kernels(runner))
    return DevicePainter()


def pose(seed: int) -> Pose:
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform(30, 290, (18, 2)), np.ones((18, 1))], axis=1)
    points[seed % 18] = (np.nan, np.nan, 0)
    points[(seed + 5) % 18, :2] = (-4000, 90)  # far outside
    links = tuple(Link(a, b, 0.9) for a, b in BODY.links)
    box = (40.0 + seed, 50.0, 200.5, 280.25)
    return Pose(seed, points.astype(np.float32), BODY.keypoints, links, 0.9, box, track=seed)


@pytest.mark.parametrize("words", ["links", "keypoints", "links,keypoints", "boxes", "all three"])
def test_the_kernel_draws_what_opencv_draws(words: str, painter: DevicePainter) -> None:
    chosen = parse_overlay("links,keypoints,boxes" if words == "all three" else words)
    overlay = Overlay(BODY, chosen, line_width=10, keypoint_scale=0.04)
    background = np.random.default_rng(1).integers(0, 256, (320, 320, 3), np.uint8)
    host, device = background.copy(), Image(background.copy())
    poses = [pose(2), pose(7)]
    overlay.draw(host, poses)
    assert painter.draw(overlay, device, poses)
    drawn = (host != background).any(axis=2)
    assert drawn.mean() > 0.01
    off = np.abs(host.astype(int) - device.array).max(axis=2)
    # anti-aliased edges differ, the insides do not
    assert (off > 40).sum() < 0.12 * drawn.sum()
    inside = (off[drawn] <= 3).mean()
    assert inside > 0.75
    assert ((device.array != background).any(axis=2) & ~drawn).sum() < 0.12 * drawn.sum()


def test_text_and_translucent_skeletons_are_left_to_the_host(painter: DevicePainter) -> None:
    picture = Image(np.zeros((320, 320, 3), np.uint8))
    for overlay in (
        Overlay(BODY, parse_overlay("links,ids")),
        Overlay(BODY, parse_overlay("stats")),
        Overlay(BODY, alpha=100),
        SimpleNamespace(draw=None),
    ):
        assert not painter.draw(overlay, picture, [pose(1)])
    assert not picture.array.any()
    assert painter.draw(Overlay(BODY), picture, [])
    assert not picture.array.any()


def test_without_a_gpu_the_host_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def broken() -> None:
        tries.append(1)
        raise BackendUnavailable("no GPU.")

    monkeypatch.setattr("edgepose.cuda.device.device_kernels", broken)
    painter = DevicePainter()
    for _ in range(3):
        assert not painter.draw(Overlay(BODY), Image(np.zeros((9, 9, 3), np.uint8)), [pose(1)])
    assert tries == [1]
    painter.close()
    painter.close()
