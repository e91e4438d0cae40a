"""The GPU's primary context through PyCUDA or cuda-bindings: the one that TensorRT and jetson-utils use as well.

`pycuda.autoinit` would make a context of its own, in which their memory and streams are invalid.
Nothing happens at import; every thread that calls CUDA enters `Context.active()`.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from edgepose.errors import BackendUnavailable, built_for_other_numpy
from edgepose.version import DOCS

log = logging.getLogger(__name__)
_lock = threading.Lock()
_contexts: dict[int, Context] = {}


# What the driver is called through, the first that is installed; the second has the names of the first.
BINDINGS = {"PyCUDA": "pycuda.driver", "cuda-bindings": "edgepose.cuda.cuda_bindings"}


class DriverFails(BackendUnavailable):
    """A binding is installed, and NVIDIA's driver is missing or does not start."""


def gpu_driver() -> Any:
    """`pycuda.driver`, or what speaks like it, initialised.

    Raises:
        DriverFails: there is no NVIDIA driver or GPU. BackendUnavailable: there is no binding that loads.
    """
    reasons: dict[str, bool] = {}  # whether it is the driver
    for name, module in BINDINGS.items():
        try:
            driver = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        except Exception as e:  # its C part was built for other libraries than are here
            why = built_for_other_numpy(e, name)
            reasons[why or f"{name} does not load: {e}. Is the NVIDIA driver here?"] = not why
            continue
        try:
            driver.init()
        except driver.Error as e:
            reasons[f"The NVIDIA driver does not start: {e}"] = True
            continue
        for reason in reasons:
            log.debug("%s; %s serves", reason, name)
        return driver
    kind = DriverFails if any(reasons.values()) else BackendUnavailable
    raise kind(
        f"{'; '.join(reasons).rstrip('.')}."
        if reasons
        else "Neither cuda-bindings nor PyCUDA is installed; run 'pip install edgepose[gpu]' "
        f"(Jetson: {DOCS}/install-jetson.md)."
    )


def context(index: int = 0) -> Context:
    """The context of a GPU by number; the same object until it is closed.

    Raises:
        BackendUnavailable: PyCUDA, the driver or that GPU is missing.
    """
    with _lock:
        if index not in _contexts:
            _contexts[index] = Context(gpu_driver(), index)
            # PyCUDA cannot release a primary context once the interpreter goes down.
            atexit.register(_contexts[index].close)
        return _contexts[index]


class Context:
    """A GPU's primary context.

    Attributes:
        driver: what `gpu_driver` gave.
        index, name: of the GPU.
        compute_capability: such as "87".
        driver_version: CUDA version of the driver, such as "12.6".
        integrated: True where GPU and CPU share their memory (Jetson).
    """

    def __init__(self, driver: Any, index: int) -> None:
        self.driver = driver
        self.index = index
        count = driver.Device.count()
        if not 0 <= index < count:
            raise BackendUnavailable(f"There is no GPU {index}; the driver shows {count}.")
        device = driver.Device(index)
        self.name = str(device.name())
        major, minor = device.compute_capability()
        self.compute_capability = f"{major}{minor}"
        version = int(driver.get_driver_version())
        self.driver_version = f"{version // 1000}.{version % 1000 // 10}"
        self.integrated = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
        self._primary = device.retain_primary_context()
        self._threads = threading.local()
        self._closers: list[Callable[[], None]] = []
        self._closed = False

    def active(self) -> Context:
        """Current in this thread inside a `with` block; nests.

        Raises:
            BackendUnavailable: it was closed.
        """
        return self

    def __enter__(self) -> Context:  # not a generator: a frame enters a dozen times
        if self._closed:
            raise BackendUnavailable(f"The context of GPU {self.index} was closed.")
        depth = getattr(self._threads, "depth", 0)
        if depth == 0:
            self._primary.push()
        self._threads.depth = depth + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.depth -= 1
        if self._threads.depth == 0:
            self.driver.Context.pop()

    def stream(self) -> Any:
        """A new stream; its `.handle` goes to TensorRT and jetson-utils."""
        with self.active():
            return self.driver.Stream()

    def mark(self, stream: Any = None) -> Any:
        """An event behind what is in a stream by now. Whoever waits for it sleeps: by default the driver's
        waits keep a core busy. It must be let go of while the context is current."""
        flags = self.driver.event_flags
        with self.active():
            return self.driver.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING).record(stream)

    def wait(self, stream: Any) -> None:
        """Sleep until a stream is through."""
        with self.active():
            self.mark(stream).synchronize()

    def put(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to GPU memory, and wait until it is there.

        A copy from memory that is not page-locked may return before its last part has arrived, and streams
        that do not wait for the default one would then read what was there before.
        """
        with self.active():
            self.driver.memcpy_htod(address, array)
            self.driver.Context.synchronize()

    def synchronize(self) -> None:
        """Wait for everything on the GPU."""
        with self.active():
            self.driver.Context.synchronize()

    def on_close(self, closer: Callable[[], None]) -> None:
        """Call `closer` when the context closes, the latest first, with the context current."""
        self._closers.append(closer)

    def not_on_close(self, closer: Callable[[], None]) -> None:
        """Forget what `on_close` was told: it has happened already."""
        if closer in self._closers:
            self._closers.remove(closer)

    def close(self) -> None:
        """Wait, free what was registered, and release the context; safe to call twice."""
        with _lock:
            if self._closed:
                return
            with self.active():
                self.driver.Context.synchronize()
                while self._closers:
                    self._closers.pop()()
            self._closed = True
            self._primary.detach()
            if _contexts.get(self.index) is self:
                del _contexts[self.index]
