"""Eight threads share one estimator: each gets the poses of its own pictures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.engines import EngineOptions
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.networks.resolve import Network
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose
from tests.estimators import spots
from tests.estimators.test_one_stage_estimator import answers, constant_network
from tests.estimators.test_one_stage_estimator import network as one_stage
from tests.estimators.test_top_down import LEFT, RIGHT, detector_network, picture, pose_network

THREADS = 8
FAMILIES = ("bottom-up", "top-down", "one-stage")


def shifted(pixels: np.ndarray) -> list[Frame]:
    """Eight pictures with other contents and of other sizes, so that no two have the same poses."""
    return [
        Frame(np.ascontiguousarray(np.roll(pixels, 3 * i, axis=1)[: pixels.shape[0] - 2 * i]))
        for i in range(THREADS)
    ]


def rows(poses: tuple[Pose, ...]) -> np.ndarray:
    return np.array([p.points for p in poses])


def small_network(
    family: str,
    folder: Path,
    batch: int | str,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
) -> tuple[Network, list[Frame], dict[str, Any]]:
    """A network of a family, pictures for it, and what else it needs."""
    more: dict[str, Any] = {"min_keypoints": 1}
    if family == "bottom-up":
        network = spots.network(folder / "s.onnx", batch=batch)
        return network, shifted(spots.picture()), more
    if family == "top-down":
        more["detector"] = detector_network(make_detector([LEFT, RIGHT]))
        return pose_network(make_pose("simcc", batch), "simcc", split=1.0), shifted(picture()), more
    network = one_stage(constant_network(folder / "n.onnx", answers("rtmo")), "rtmo")
    return network, shifted(picture()), more


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", ["n", 3])
def test_eight_threads_get_their_own_poses(
    family: str,
    engine: str,
    batch: int | str,
    tmp_path: Path,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    network, frames, more = small_network(family, tmp_path, batch, make_detector, make_pose)
    options = EstimatorOptions(engine=EngineOptions(engine=engine, threads=1), batch=4, **more)
    estimator = make_estimator(network, options)
    alone = [rows(estimator.estimate([f], Stopwatch())[0]) for f in frames]
    assert all(len(found) for found in alone)

    def ask(number: int) -> list[np.ndarray]:
        pair = [frames[number], frames[(number + 3) % THREADS]]
        return [rows(poses) for poses in estimator.estimate(pair, Stopwatch())]

    with ThreadPoolExecutor(THREADS) as pool:
        turns = [i % THREADS for i in range(10 * THREADS)]
        for number, (first, second) in zip(turns, pool.map(ask, turns), strict=True):
            np.testing.assert_allclose(first, alone[number], atol=1e-3)
            np.testing.assert_allclose(second, alone[(number + 3) % THREADS], atol=1e-3)
    estimator.close()
