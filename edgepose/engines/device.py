"""Engines on a GPU: buffers in slots, copies, streams. TensorRT and ONNX Runtime's CUDA share it.

A slot is everything that one frame needs: input and output buffers on the device, pinned host
arrays, a stream of its own. Two slots make frame n+1 be preprocessed while n is inferred:

    slot stream A   preprocess n    .             peaks n, copy back
    engine stream        .       network n     network n+1
    slot stream B        .       preprocess n+1   .          peaks n+1, copy back

The network itself runs on one stream, in the order of `run`; events tie the streams together.
What CUDA must offer is written down here as protocols; `edgepose.cuda` implements them.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.base import Choice, Feeds, Outputs, check_feeds, check_outputs, shape_text
from edgepose.errors import EngineError
from edgepose.types import Shape, TensorSpec


class DeviceArray(Protocol):
    """Memory on the device with a shape; kernels and libraries take `__cuda_array_interface__`."""

    address: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Address, shape and type, as numba defined it."""
        ...


class Cuda(Protocol):
    """The GPU, as engines need it. A stream has `handle` and `synchronize()`."""

    def current(self) -> AbstractContextManager[Any]:
        """Makes its context current in the calling thread, for a `with` block."""
        ...

    def stream(self) -> Any:
        """A new stream that does not wait for the default one."""
        ...

    def follow(self, later: Any, earlier: Any) -> None:
        """What comes next in stream `later` waits for what is in stream `earlier` by now."""

    def wait(self, stream: Any) -> None:
        """Sleep until what is in a stream by now is done."""

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> DeviceArray:
        """New device memory.

        Raises:
            EngineError: the GPU has no more.
        """
        ...

    def view(self, array: DeviceArray, shape: Shape) -> DeviceArray:
        """A smaller array at the same address."""
        ...

    def pinned(self, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A host array that copies run from and to without waiting."""
        ...

    def upload(self, host: NDArray[Any], device: DeviceArray, stream: Any) -> None:
        """Copy to the device, in stream order."""

    def download(self, device: DeviceArray, host: NDArray[Any], stream: Any) -> None:
        """Copy from the device, in stream order."""

    def give(self, array: DeviceArray | NDArray[Any]) -> None:
        """Give device or pinned memory back; nothing that is in flight may use it."""


class Slot:
    """The buffers of one frame (or batch) in flight. Get one from `DeviceEngine.slot`.

    Attributes:
        stream: where preprocessing and postprocessing of this frame belong.
        inputs, outputs: device arrays by tensor name, sized for the largest batch.
    """

    def __init__(self, engine: DeviceEngine) -> None:
        self._engine = engine
        cuda = engine.cuda
        self.stream = cuda.stream()
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.feeds: dict[str, Any] = {}
        self.results: dict[str, Any] = {}
        try:
            for name, shape, dtype in engine.largest(engine.inputs):
                self.inputs[name] = cuda.empty(shape, dtype)
            for name, shape, dtype in engine.largest(engine.outputs):
                self.outputs[name] = cuda.empty(shape, dtype)
        except EngineError:
            self.free()
            raise

    def run(self, shapes: Mapping[str, Shape]) -> dict[str, DeviceArray]:
        """Put the network behind what is in the slot's stream; does not wait.

        Args:
            shapes: actual shape of each input, whose data lies (or will lie) in `inputs`.

        Returns:
            The outputs as device arrays of their actual shapes, valid in `stream` order until the
            slot is given back.

        Raises:
            EngineError: a shape does not fit, or the library refuses to run.
        """
        return self._engine.enqueue(self, shapes)

    def host_feed(self, name: str) -> NDArray[Any]:
        """The pinned array behind an input, made at first use."""
        if name not in self.feeds:
            device = self.inputs[name]
            self.feeds[name] = self._engine.cuda.pinned(device.shape, device.dtype)
        feed: NDArray[Any] = self.feeds[name]
        return feed

    def host_result(self, name: str) -> NDArray[Any]:
        """The pinned array behind an output, made at first use."""
        if name not in self.results:
            device = self.outputs[name]
            self.results[name] = self._engine.cuda.pinned(device.shape, device.dtype)
        result: NDArray[Any] = self.results[name]
        return result

    def free(self) -> None:
        """Release the device memory, and the stream while the GPU is current."""
        self.stream = None
        held = (self.inputs, self.outputs, self.feeds, self.results)
        for memory in held:
            for array in memory.values():
                self._engine.cuda.give(array)
            memory.clear()


class DeviceEngine:
    """What GPU engines have in common; a subclass says how to enqueue and what the sizes are.

    Safe from any number of threads: each call holds a slot with buffers of its own, and waits where all
    are taken. The network itself runs on one stream, one call after the other.

    Args:
        cuda: the GPU.
        slots: frames in flight, 2 = double buffering.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int
    lanes = 1
    choice: Choice

    def __init__(self, cuda: Cuda, slots: int = 2) -> None:
        self.cuda = cuda
        self.closed = False
        self._lock = threading.Lock()  # shapes, addresses and the launch belong together
        self._given = threading.Condition(self._lock)  # a slot has come back, or all is over
        self._made = 0
        self._slots = slots
        self._free: deque[Slot] = deque()
        with cuda.current():
            self.stream = cuda.stream()

    # --- what a subclass adds

    def largest(self, specs: Sequence[TensorSpec]) -> Iterator[TensorSpec]:
        """The tensors at their largest shapes."""
        raise NotImplementedError

    def output_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of the outputs for shapes of the inputs; also tells the library the inputs'."""
        raise NotImplementedError

    def launch(self, slot: Slot, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> None:
        """Start the network on `self.stream` with the slot's buffers."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of the library's objects."""
        raise NotImplementedError

    # --- running

    @contextmanager
    def slot(self, ahead: bool = False) -> Iterator[Slot]:
        """A free slot, with the GPU current in this thread; waits where all are in flight.

        Args:
            ahead: its work will still be queued when it is given back, so that the next frame should
                not queue behind it: all slots are made, and serve in turns.
        """
        with self.cuda.current():
            slot = self._take(ahead)
            try:
                yield slot
            finally:
                with self._given:
                    self._free.append(slot)
                    self._given.notify_all()

    def _take(self, ahead: bool) -> Slot:
        with self._given:
            while not self.closed:
                if self._free and not (ahead and self._made < self._slots):
                    return self._free.popleft()
                if self._made < self._slots and (slot := self._make()):
                    return slot
                if not self._free:
                    self._given.wait()
        raise EngineError("The engine is closed.")

    def _make(self) -> Slot | None:
        """A further slot; where there is no memory for it, those that are there serve."""
        try:
            slot = Slot(self)
        except EngineError:
            if not self._made:
                raise
            self._slots = self._made
            return None
        self._made += 1
        return slot

    def enqueue(self, slot: Slot, shapes: Mapping[str, Shape]) -> dict[str, DeviceArray]:
        """See `Slot.run`."""
        with self._lock:
            out = self.output_shapes(shapes)
            self.cuda.follow(self.stream, slot.stream)
            self.launch(slot, shapes, out)
            self.cuda.follow(slot.stream, self.stream)
        return {n: self.cuda.view(slot.outputs[n], shape) for n, shape in out.items()}

    def infer(self, feeds: Feeds) -> Outputs:
        """Run once from and to host memory; see `Engine.infer`."""
        checked = check_feeds(feeds, self.inputs)
        self._check_batch(checked)
        with self.slot() as slot:
            for name, value in checked.items():
                host = _front(slot.host_feed(name), value.shape)
                np.copyto(host, value)
                self.cuda.upload(host, slot.inputs[name], slot.stream)
            outputs = slot.run({name: value.shape for name, value in checked.items()})
            hosts = {}
            for name, array in outputs.items():
                hosts[name] = _front(slot.host_result(name), array.shape)
                self.cuda.download(array, hosts[name], slot.stream)
            self.cuda.wait(slot.stream)
            # pinned memory belongs to the slot; the caller gets arrays of its own
            return check_outputs({n: np.array(h, dtype=np.float32) for n, h in hosts.items()})

    def _check_batch(self, feeds: Feeds) -> None:
        for name, value in feeds.items():
            if self.max_batch and value.shape[:1] > (self.max_batch,):
                raise EngineError(
                    f"Input {name!r} has {value.shape[0]} rows, but this engine takes "
                    f"{self.max_batch} at most ({shape_text(value.shape)})."
                )

    def close(self) -> None:
        """Release buffers and engine, after what is in flight; safe to call twice.

        Threads that wait for a slot hear that the engine is closed. Not inside of `slot()`.
        """
        with self.cuda.current(), self._given:
            if self.closed:
                return
            self.closed = True
            self._given.notify_all()
            while len(self._free) < self._made:
                self._given.wait()
            self.stream.synchronize()
            while self._free:
                slot = self._free.popleft()
                slot.stream.synchronize()
                slot.free()
            self._made = 0
            self.release()
            self.stream = None


def _front(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """The first elements of a contiguous array, in a smaller shape."""
    return array.reshape(-1)[: math.prod(shape)].reshape(shape)
