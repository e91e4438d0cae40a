"""The oracle (what trt_pose's own C++ answered) and synthetic maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.decode.bottom_up_numpy import BottomUpParams, Stages, stages_numpy
from edgepose.decode.host import HostDecoder
from edgepose.networks.topology import Topology


@dataclass(frozen=True)
class Oracle:
    """The arrays of the oracle by name, and its topology.

    Attributes:
        rows: where each frame is in the arrays: all 200, or the twenty that the repository brings.
    """

    arrays: dict[str, Any]
    topology: Topology
    rows: dict[int, int]

    def maps(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Confidence maps and fields of a frame as float32."""
        row = self.rows[frame]
        return self.arrays["cmap"][row].astype(np.float32), self.arrays["paf"][row].astype(
            np.float32
        )

    def answer(self, name: str, frame: int) -> Any:
        """What trt_pose answers for a frame."""
        return self.arrays[name][self.rows[frame]]


@dataclass(frozen=True)
class Backend:
    """One way to decode: whole and in stages."""

    name: Any

    def decoder(self, topology: Topology, params: BottomUpParams | None = None) -> BottomUpDecoder:
        """A decoder that runs on this backend."""
        return BottomUpDecoder(topology, params, self.name)

    def stages(
        self, cmap: np.ndarray, paf: np.ndarray, topology: Topology, params: BottomUpParams
    ) -> Stages:
        """All stages."""
        if self.name == "host":
            return HostDecoder(topology.table, params).stages(cmap, paf)
        return stages_numpy(cmap, paf, topology.table, params)


@pytest.fixture(params=["numpy", "host"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that decodes on the CPU."""
    if request.param == "host":
        request.getfixturevalue("compiled")
    return Backend(request.param)


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Oracle:
    """Frames with what trt_pose's C++ answers for three settings."""
    path = shared / "oracle/trt_pose_parse/trt_pose_parse_oracle.npz"
    with np.load(path) as data:
        arrays = {name: data[name] for name in data}
    rows = arrays["topology"].tolist()
    names = tuple(f"keypoint {i}" for i in range(arrays["cmap"].shape[1]))
    links = tuple((a, b) for _, _, a, b in rows)
    numbers = arrays.get("frames", np.arange(len(arrays["cmap"]))).tolist()
    topology = Topology("person", names, links, tuple((x, y) for y, x, _, _ in rows))
    return Oracle(arrays, topology, {frame: row for row, frame in enumerate(numbers)})
