"""The oracle (what trt_pose's own C++ answered) and synthetic maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.networks.topology import Topology


@dataclass(frozen=True)
class Oracle:
    """The arrays of the oracle by name, and its topology."""

    arrays: dict[str, Any]
    topology: Topology

    def maps(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Confidence maps and fields of a frame as float32."""
        return (
            self.arrays["cmap"][frame].astype(np.float32),
            self.arrays["paf"][frame].astype(np.float32),
        )


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Oracle:
    """200 frames with what trt_pose's C++ answers for three settings."""
    path = shared / "oracle/trt_pose_parse/trt_pose_parse_oracle.npz"
    with np.load(path) as data:
        arrays = {name: data[name] for name in data}
    rows = arrays["topology"].tolist()
    names = tuple(f"keypoint {i}" for i in range(arrays["cmap"].shape[1]))
    links = tuple((a, b) for _, _, a, b in rows)
    return Oracle(arrays, Topology("person", names, links, tuple((x, y) for y, x, _, _ in rows)))
