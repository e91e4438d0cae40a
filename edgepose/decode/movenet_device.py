"""MoveNet's maps decoded on the GPU, in the engine's own output buffers; a few kilobytes come back.

Boxes and points equal `movenet.decode_numpy`'s bit for bit, scores are computed from them by the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.device import DeviceRunner
from edgepose.cuda.kernels import MAX_SIDE, Kernels, PeopleBlock
from edgepose.cuda.pictures import address_of
from edgepose.decode.device import Pending, batch_of
from edgepose.decode.movenet import MAPS, MOST, MovenetPeople, people_of
from edgepose.errors import BackendUnavailable, EngineError


def unpack_people(block: PeopleBlock, words: NDArray[np.int32]) -> MovenetPeople:
    """The people of one item of a `PeopleBlock`, int32 (item_words,)."""
    count = min(int(words[0]), block.most)
    values = words.view(np.float32)
    people = values[block.people : block.points].reshape(block.most, 6)[:count]
    points = values[block.points :].reshape(block.most, block.keypoints, 3)[:count]
    return people_of(people[:, 2:], people[:, 1], points.copy())


class MovenetDecoder:
    """The decoder of MoveNet MultiPose on the GPU.

    Args:
        keypoints: how many a person has.
        least: people score more than this.
        kernels: on a `DeviceRunner`; for one thread at a time.

    Raises:
        BackendUnavailable: the kernels do not run on a GPU.
    """

    def __init__(self, keypoints: int, least: float, kernels: Kernels) -> None:
        self._kernels, self._least = kernels, least
        if not isinstance(kernels.runner, DeviceRunner):
            raise BackendUnavailable("The device decoder needs kernels on a GPU.")
        self._runner = kernels.runner
        self._block = PeopleBlock(keypoints, MOST)

    def start(self, maps: Mapping[str, Any], stream: Any = None) -> Pending[MovenetPeople]:
        """Queue the decode behind the inference on the same stream and return.

        Args:
            maps: `MAPS`, each float32 (batch, channels, H, W) on the GPU without gaps, anything with the
                CUDA array interface.
            stream: of the binding; that of the kernels where it is None.

        Raises:
            EngineError: the maps do not fit each other.
        """
        where = stream or self._runner.stream
        batch, size = self._checked(maps)
        block, pool = self._block, self._runner.pool
        memory = pool.device((batch, block.item_words), np.int32)
        candidates = pool.device((batch, *size), np.int32)
        addresses = {name: address_of(maps[name]) for name in MAPS}
        self._kernels.people(
            addresses, batch, size, self._least, block, memory.address, candidates.address, where
        )

        def finish(words: NDArray[np.int32]) -> Sequence[MovenetPeople]:
            return [unpack_people(block, item) for item in words]

        return Pending(self._runner, memory, where, finish, [candidates])

    def _checked(self, maps: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
        """How many pictures, and the maps' (height, width)."""
        k = self._block.keypoints
        channels = dict(zip(MAPS, (1, 2, 2, k, 2 * k, 2 * k), strict=True))
        found = {name: batch_of(maps[name], name) for name in MAPS}
        batch, _, height, width = found["center"][0]
        for name, (shape, step) in found.items():
            if shape != (batch, channels[name], height, width) or step != shape[1] * height * width:
                raise EngineError(
                    f"Cannot decode {name} of shape {shape} with centres of {found['center'][0]}."
                )
        if max(height, width) > MAX_SIDE:
            raise EngineError(f"Maps of {width}x{height} cells are larger than {MAX_SIDE} a side.")
        return batch, (height, width)
