"""A double of `pycuda.driver` whose streams are as lazy as they may be.

Device memory is host memory. A copy or a launch runs only when something forces it: a synchronise, or an
event that a forced stream waits for. Code that forgets to order its streams therefore reads what
was there before. Addresses, handles and calls of a thread without a context are refused.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgepose.cuda.buffers import DriverCuda
from edgepose.cuda.context import Context


class Lazy:
    """All streams, memory and contexts of one pretended GPU."""

    def __init__(self, memory: int = 1 << 30) -> None:
        self.left = memory
        self.blocks: dict[int, Any] = {}
        self.streams: dict[int, Any] = {}
        self.depth = threading.local()
        self.running = threading.RLock()
        self.freed = 0
        self.driver = self._make()

    def need_context(self) -> None:
        assert getattr(self.depth, "value", 0) > 0, "no context is current in this thread"

    def launch(self, handle: int, work: Callable[[], None]) -> None:
        """Enqueue a kernel, as a library does with our stream's handle."""
        self.need_context()
        self.streams[handle].put(work)

    def memory(self, address: int, size: int) -> np.ndarray:
        """Bytes behind a device address."""
        for start, block in self.blocks.items():
            if start <= address and address + size <= start + block.nbytes:
                return np.asarray(block[address - start : address - start + size])
        raise AssertionError(f"{size} bytes at {address:#x} are no device memory")

    def _make(lazy) -> Any:
        handles = itertools.count(1000)

        class Error(Exception):
            pass

        class MemoryError_(Error):
            pass

        class Stream:
            def __init__(self, flags: int = 0) -> None:
                lazy.need_context()
                self.handle = next(handles)
                self.flags = flags
                self.work: list[Callable[[], None]] = []
                self.done = 0
                lazy.streams[self.handle] = self

            def put(self, work: Callable[[], None]) -> None:
                self.work.append(work)

            def run(self, until: int) -> None:
                # work that another thread has begun is not done yet
                with lazy.running:
                    while self.done < until:
                        self.done += 1
                        self.work[self.done - 1]()

            def synchronize(self) -> None:
                lazy.need_context()
                self.run(len(self.work))

            def wait_for_event(self, event: Any) -> None:
                stream, until = event.place
                self.put(lambda: stream.run(until))

        class Event:
            def __init__(self, flags: int = 0) -> None:
                lazy.need_context()

            def record(self, stream: Any) -> Any:
                self.place = (stream, len(stream.work))
                return self

            def synchronize(self) -> None:
                lazy.need_context()
                stream, until = self.place
                stream.run(until)

        class Allocation:
            def __init__(self, size: int) -> None:
                lazy.need_context()
                if size > lazy.left:
                    raise MemoryError_("cuMemAlloc failed: out of memory")
                lazy.left -= size
                array = np.full(size, 0xAB, np.uint8)
                self.address = array.ctypes.data
                lazy.blocks[self.address] = array

            def __int__(self) -> int:
                return int(self.address)

            def free(self) -> None:
                lazy.need_context()
                lazy.left += lazy.blocks.pop(self.address).nbytes
                lazy.freed += 1

        def htod(target: int, source: np.ndarray, stream: Any) -> None:
            assert source.flags.c_contiguous
            lazy.memory(target, source.nbytes)

            def copy() -> None:
                lazy.memory(target, source.nbytes)[:] = source.reshape(-1).view(np.uint8)

            stream.put(copy)

        def dtoh(target: np.ndarray, source: int, stream: Any) -> None:
            assert target.flags.c_contiguous
            lazy.memory(source, target.nbytes)

            def copy() -> None:
                target.reshape(-1).view(np.uint8)[:] = lazy.memory(source, target.nbytes)

            stream.put(copy)

        class Pinned(np.ndarray):
            def free(self) -> None:
                lazy.freed += 1

        def pagelocked(size: int, dtype: Any, mem_flags: int = 0) -> np.ndarray:
            lazy.need_context()
            return np.zeros(size, dtype).view(Pinned)[:]

        def push(self: Any = None) -> None:
            lazy.depth.value = getattr(lazy.depth, "value", 0) + 1

        def pop() -> None:
            lazy.depth.value -= 1

        class Device:
            def __init__(self, index: int) -> None: ...

            count = staticmethod(lambda: 1)

            def name(self) -> str:
                return "Double"

            def compute_capability(self) -> tuple[int, int]:
                return (8, 7)

            def get_attribute(self, attribute: Any) -> int:
                return 0

            def retain_primary_context(self) -> Any:
                return SimpleNamespace(push=push, detach=lambda: None)

        return SimpleNamespace(
            Error=Error,
            MemoryError=MemoryError_,
            Stream=Stream,
            Event=Event,
            Device=Device,
            Context=SimpleNamespace(pop=pop, synchronize=lambda: None),
            mem_alloc=Allocation,
            pagelocked_empty=pagelocked,
            memcpy_htod_async=htod,
            memcpy_dtoh_async=dtoh,
            get_driver_version=lambda: 12060,
            device_attribute=SimpleNamespace(INTEGRATED=18),
            event_flags=SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2),
            host_alloc_flags=SimpleNamespace(DEVICEMAP=2),
        )


def lazy_cuda(memory: int = 1 << 30) -> tuple[Lazy, DriverCuda]:
    """The double and our own memory code on it."""
    lazy = Lazy(memory)
    return lazy, DriverCuda(Context(lazy.driver, 0))
