"""Bottom-up decoding on the GPU: peaks and line integrals from the engine's own output buffers, which are
enlarged before where the network wants it.

Only peaks and scores come back, in one copy to page-locked memory; assignment and assembly run on the
CPU. Results equal the numpy twin's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.device import DeviceRunner
from edgepose.cuda.kernels import DecodeBlock, Kernels
from edgepose.cuda.pictures import address_of
from edgepose.decode.bottom_up_numpy import BottomUpParams, Decoded, decode_rest
from edgepose.decode.host import HostDecoder
from edgepose.decode.peaks import Peaks
from edgepose.errors import BackendUnavailable, EngineError
from edgepose.networks.topology import Topology
from edgepose.types import Float32Array

if TYPE_CHECKING:
    from edgepose.cuda.buffers import DeviceArray

DecodedItem = TypeVar("DecodedItem")
Rest = Callable[[Peaks, Float32Array, Float32Array, Float32Array, tuple[int, int]], Decoded]


def unpack(
    block: DecodeBlock, words: NDArray[np.int32], far: Float32Array, width: int
) -> tuple[Peaks, Float32Array, Float32Array, Float32Array]:
    """One item of a `DecodeBlock` as peaks, positions, confidence and scores.

    Args:
        words: int32 (item_words,).
        far: the scores beyond the near ones.
        width: of the maps.
    """
    counts = np.minimum(words[: block.keypoints], block.max_peaks)
    offsets = np.zeros(block.keypoints + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    records = words[block.peaks : block.scores].reshape(block.keypoints, block.max_peaks, 4)
    found = records[np.arange(block.max_peaks) < counts[:, None]]
    cells = np.empty((len(found), 2), np.int32)
    np.divmod(found[:, 0], width, out=(cells[:, 0], cells[:, 1]))
    values = found.view(np.float32)[:, 1:]
    total = total_scores(block, words)
    scores = words[block.scores : block.scores + min(total, block.near)].view(np.float32)
    if total > block.near:
        scores = np.concatenate([scores, far[: total - block.near]])
    return Peaks(offsets, cells), values[:, :2], values[:, 2], scores


def total_scores(block: DecodeBlock, words: NDArray[np.int32]) -> int:
    """How many scores an item has."""
    return int(words[block.starts + block.links]) if block.links else 0


class Pending(Generic[DecodedItem]):
    """A decode under way on the GPU; `result` waits for it.

    Args:
        runner: whose kernels were queued.
        memory: int32 (batch, words) that they fill, copied to the host behind them and given back after.
        stream: where they were queued.
        finish: what was found, of the words of a batch; copies what it keeps.
        others: more memory to be given back.
    """

    def __init__(
        self,
        runner: DeviceRunner,
        memory: DeviceArray,
        stream: Any,
        finish: Callable[[NDArray[np.int32]], Sequence[DecodedItem]],
        others: Sequence[DeviceArray] = (),
    ) -> None:
        self._runner, self._memory, self._finish, self._others = runner, memory, finish, others
        self._host = runner.pool.pinned(memory.nbytes)
        with runner.context.active():
            host = self._host.array[: memory.nbytes]
            runner.context.driver.memcpy_dtoh_async(host, memory.address, stream)
            self._done = runner.context.mark(stream)
        self._result: list[DecodedItem] | None = None

    def wait(self) -> None:
        """Wait until the GPU is through; what is left to do is the CPU's."""
        with self._runner.context.active():
            if self._done is not None:
                self._done.synchronize()
            self._done = None  # freed here, where its context is current: bindings cannot elsewhere

    def result(self) -> list[DecodedItem]:
        """What was found in each item of the batch; safe to call again."""
        if self._result is None:
            self.wait()
            words = self._host.view(self._memory.shape, np.dtype(np.int32))
            self._result = list(self._finish(words))
            self._runner.pool.give(self._host)
            for memory in (self._memory, *self._others):
                self._runner.pool.give(memory)
        return self._result


class DeviceDecoder:
    """The decoder of one topology on the GPU.

    Args:
        topology, params: as of `BottomUpDecoder`.
        kernels: on a `DeviceRunner`; for one thread at a time.
        factor: by which maps and fields are enlarged first; see `cuda.twins.enlarge`.

    Raises:
        BackendUnavailable: the kernels do not run on a GPU.
    """

    def __init__(
        self, topology: Topology, params: BottomUpParams, kernels: Kernels, factor: int = 1
    ) -> None:
        self.topology, self.params, self._kernels = topology, params, kernels
        self._factor = factor
        if not isinstance(kernels.runner, DeviceRunner):
            raise BackendUnavailable("The device decoder needs kernels on a GPU.")
        self.runner = kernels.runner
        self.block = DecodeBlock(len(topology.keypoints), len(topology.links), params.max_peaks)
        self._table = self.runner.pool.device((max(len(topology.links), 1), 4), np.int32)
        if len(topology.links):
            self.runner.context.put(self._table.address, np.ascontiguousarray(topology.table))
        self.rest = self._choose_rest()

    def _choose_rest(self) -> Rest:
        """Assignment and assembly by the compiled library where it was built, else by numpy."""
        table, params = self.topology.table, self.params
        try:
            return HostDecoder(table, params).rest
        except BackendUnavailable:
            return lambda peaks, positions, confidence, scores, size: decode_rest(
                peaks, positions, confidence, scores, table, params, size
            )

    def start(self, cmap: Any, paf: Any, stream: Any = None) -> Pending[Decoded]:
        """Queue the decode behind the inference on the same stream and return.

        Args:
            cmap: float32 (batch, K or more, H, W) on the GPU, anything with the CUDA array interface
                whose channels lie one after the other; further channels are ignored.
            paf: float32 (batch, C, H, W), likewise; `channels` takes both from one tensor.
            stream: of the binding; that of the kernels where it is None.

        Raises:
            EngineError: the maps do not fit the topology.
        """
        where = stream or self.runner.stream
        maps, maps_step = batch_of(cmap, "maps")
        fields, fields_step = batch_of(paf, "fields")
        table = self.topology.table
        channels = int(table[:, :2].max()) + 1 if len(table) else 0
        if (
            maps[0] != fields[0]
            or maps[2:] != fields[2:]
            or maps[1] < self.block.keypoints
            or fields[1] < channels
        ):
            raise EngineError(
                f"Cannot decode maps of shape {maps} and fields of shape {fields} with the topology "
                f"{self.topology.name!r}; it needs {self.block.keypoints} and {channels} channels."
            )
        batch, size = maps[0], (maps[2] * self._factor, maps[3] * self._factor)
        there = [(address_of(cmap), maps_step), (address_of(paf), fields_step)]
        spare: list[DeviceArray] = []
        if self._factor > 1:
            counts = (self.block.keypoints, max(channels, 1))
            spare = [
                self._enlarged(*one, (batch, n, maps[2], maps[3]), where)
                for one, n in zip(there, counts, strict=True)
            ]
            there = [(larger.address, math.prod(larger.shape[1:])) for larger in spare]
        block, pool = self.block, self.runner.pool
        memory = pool.device((batch, block.item_words), np.int32)
        far = pool.device((batch, block.far_words), np.float32)
        params = self.params
        self._kernels.peaks(
            there[0][0],
            batch,
            there[0][1],
            size,
            params.keypoint_threshold,
            params.window,
            block,
            memory.address,
            where,
        )
        self._kernels.line_scores(
            there[1][0],
            batch,
            there[1][1],
            size,
            self._table.address,
            params.samples,
            block,
            memory.address,
            far.address,
            where,
        )

        def finish(words: NDArray[np.int32]) -> list[Decoded]:
            return self._finish(words, far, where, size)

        return Pending(self.runner, memory, where, finish, [far, *spare])

    def _enlarged(
        self, address: int, step: int, shape: tuple[int, int, int, int], stream: Any
    ) -> DeviceArray:
        """Queue the enlargement of so many maps of each item."""
        *items, height, width = shape
        size = (height * self._factor, width * self._factor)
        larger = self.runner.pool.device((*items, *size), np.float32)
        self._kernels.enlarge(address, shape, step, self._factor, larger.address, stream)
        return larger

    def _finish(
        self, words: NDArray[np.int32], far: DeviceArray, stream: Any, size: tuple[int, int]
    ) -> list[Decoded]:
        """Assignment and assembly of each item; the far scores are fetched where a crowd needs them."""
        block, more = self.block, np.zeros((len(words), 0), np.float32)
        if any(total_scores(block, item) > block.near for item in words):
            more = self.runner.download(far, stream)
        return [
            self.rest(*unpack(block, item, rest, size[1]), size)
            for item, rest in zip(words, more, strict=True)
        ]

    def __call__(self, cmap: Any, paf: Any, stream: Any = None) -> list[Decoded]:
        """`start` and wait."""
        return self.start(cmap, paf, stream).result()


class _Channels:
    """Some channels of a tensor on the GPU, without a copy."""

    def __init__(self, tensor: Any, first: int, count: int) -> None:
        interface = tensor.__cuda_array_interface__
        batch, _, height, width = (int(n) for n in interface["shape"])
        strides = interface.get("strides") or tuple(4 * n for n in _steps(interface["shape"]))
        self._tensor = tensor  # keeps the memory
        self.__cuda_array_interface__ = {
            **interface,
            "shape": (batch, count, height, width),
            "strides": strides,
            "data": (address_of(tensor) + first * int(strides[1]), interface["data"][1]),
        }


def channels(tensor: Any, first: int, count: int) -> Any:
    """Channels [first, first + count) of a float32 tensor (batch, C, H, W) on the GPU, as a view."""
    return _Channels(tensor, first, count)


def batch_of(maps: Any, what: str) -> tuple[tuple[int, ...], int]:
    """Shape of maps on the GPU, and values from item to item of the batch.

    Raises:
        EngineError: no maps that the kernels read.
    """
    interface = maps.__cuda_array_interface__
    shape = tuple(int(n) for n in interface["shape"])
    strides = tuple(int(n) for n in interface.get("strides") or ())
    return shape, _item_step(shape, strides, interface["typestr"], what)


@lru_cache(64)
def _item_step(shape: tuple[int, ...], strides: tuple[int, ...], kind: str, what: str) -> int:
    """Values from item to item of a batch of maps.

    Raises:
        EngineError: no maps that the kernels read.
    """
    if len(shape) != 4 or 0 in shape or kind != "<f4":
        raise EngineError(
            f"The decoder needs {what} of float32 and shape (batch, channels, H, W); found {kind} {shape}."
        )
    steps = tuple(n // 4 for n in strides) or _steps(shape)
    if steps[1:] != _steps(shape)[1:]:
        raise EngineError(f"The decoder needs {what} whose channels lie one after the other.")
    return steps[0]


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements from one index to the next along each axis, in C order."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
