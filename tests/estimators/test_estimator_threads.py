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


def shifted(pixels: np.ndarray) -> list[Frame]:
    """Eight pictures with other contents and of other sizes, so that no two have the same poses."""
    return [
        Frame(np.ascontiguousarray(np.roll(pixels, 3 * i, axis=1)[: pixels.shape[0] - 2 * i]))
        for i in range(THREADS)
    ]


def rows(poses: tuple[Pose, ...]) -> np.ndarray:
    return np.array([p.points for p in poses])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("family", ["bottom-up", "top-down", "one-stage"])
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
    more: dict[str, Any] = {"min_keypoints": 1}
    network: Network
    if family == "bottom-up":
        network, frames = spots.network(tmp_path / "s.onnx", batch=batch), shifted(spots.picture())
    elif family == "top-down":
        network = pose_network(make_pose("simcc", batch), "simcc", split=1.0)
        more["detector"] = detector_network(make_detector([LEFT, RIGHT]))
        frames = shifted(picture())
    else:
        network = one_stage(constant_network(tmp_path / "n.onnx", answers("rtmo")), "rtmo")
        frames = shifted(picture())
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
