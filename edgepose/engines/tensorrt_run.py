"""Runs a TensorRT plan: the tensor-name API, which 8.5 to 11 and TensorRT for RTX share.

The module is an argument, as in `tensorrt_build`. Device buffers come in and stay; see `device`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgepose.engines.base import Choice, shape_text
from edgepose.engines.device import Cuda, DeviceEngine, Slot
from edgepose.engines.tensorrt_build import BuildLog
from edgepose.errors import EngineError
from edgepose.types import Shape, TensorSpec

# by name of trt.DataType's member; nptype() of TensorRT 8.6 fails with numpy 1.24 and later
_DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


class Loader:
    """Makes engines of plans; keeps the runtime, which the engines need for life."""

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.log = BuildLog(trt)
        self._runtime = trt.Runtime(self.log.logger)

    def deserialise(self, content: bytes, dla: int = -1) -> Any:
        """The engine of a plan.

        Args:
            dla: core of the accelerator that it runs on, -1 = GPU. The plan does not hold it: what counts
                is the runtime's at this moment.

        Raises:
            EngineError: the library refuses it; its words.
        """
        log = BuildLog(self.trt)
        if self._runtime is not None and dla >= 0:
            self._runtime.DLA_core = dla
        engine = self._runtime and self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise EngineError(log.first() or "no reason given")
        return engine


class TensorRTEngine(DeviceEngine):
    """A deserialised plan with one execution context and two slots.

    Args:
        trt: the library.
        engine: its ICudaEngine.
        loader: kept alive as long as the engine.
        cuda: the GPU.
        name: what to print.

    Raises:
        EngineError: the plan's tensors are of a kind that cannot be bound, or no context can be made.
    """

    def __init__(self, trt: Any, engine: Any, loader: Loader, cuda: Cuda, name: str) -> None:
        super().__init__(cuda)
        self.name = name
        self.choice = Choice("tensorrt", "asked for")
        self._engine, self._loader = engine, loader
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        ins = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._limits = {n: self._profile(n) for n in ins}
        self.inputs = tuple(self._input(n) for n in ins)
        self.outputs = tuple(self._output(n) for n in names if n not in ins)
        self.max_batch = min((high[0] for _, high in self._limits.values() if high), default=0)
        with cuda.current():
            self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                f"TensorRT cannot start the engine: {loader.log.last() or 'no reason given'}. "
                "The GPU may be out of memory; close other programs that use it."
            )

    # --- what the plan says

    def _profile(self, name: str) -> tuple[Shape, Shape]:
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        return tuple(map(int, low)), tuple(map(int, high))

    def _dtype(self, name: str) -> np.dtype[Any]:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise EngineError(f"The engine's tensor {name!r} is {kind}, which numpy does not have.")
        location = getattr(self._engine.get_tensor_location(name), "name", "DEVICE")
        if location != "DEVICE":
            raise EngineError(f"The engine's tensor {name!r} is a shape on the host: unsupported.")
        return np.dtype(_DTYPES[kind])

    def _input(self, name: str) -> TensorSpec:
        low, high = self._limits[name]
        shape = tuple(a if a == b else -1 for a, b in zip(low, high, strict=True))
        return TensorSpec(name, shape, self._dtype(name))

    def _output(self, name: str) -> TensorSpec:
        shape = tuple(int(d) for d in self._engine.get_tensor_shape(name))
        return TensorSpec(name, tuple(d if d >= 0 else -1 for d in shape), self._dtype(name))

    # --- DeviceEngine

    def largest(self, specs: Sequence[TensorSpec]) -> Iterator[TensorSpec]:
        """The tensors at the profile's largest shapes."""
        highest = {name: high for name, (_, high) in self._limits.items()}
        outputs = self.output_shapes(highest)
        for spec in specs:
            yield spec._replace(shape=(highest | outputs)[spec.name])

    def output_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of the outputs for shapes of the inputs; the context then has the latter.

        Raises:
            EngineError: outside of the profile.
        """
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                low, high = self._limits[name]
                raise EngineError(
                    f"Input {name!r} of {shape_text(shape)} is outside of this engine's range "
                    f"{shape_text(low)} to {shape_text(high)}; build one for that --batch."
                )
        missing = self._context.infer_shapes()
        if missing:
            raise EngineError(f"The engine needs a shape for {', '.join(map(str, missing))}.")
        return {
            s.name: tuple(int(d) for d in self._context.get_tensor_shape(s.name))
            for s in self.outputs
        }

    def launch(self, slot: Slot, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> None:
        """Bind the slot's addresses and start on the engine's stream."""
        for name, array in (*slot.inputs.items(), *slot.outputs.items()):
            if not self._context.set_tensor_address(name, array.address):
                raise EngineError(
                    f"TensorRT refuses the memory of tensor {name!r}: {self._told()}."
                )
        if not self._context.execute_async_v3(self.stream.handle):
            raise EngineError(f"TensorRT could not run the engine: {self._told()}.")

    def _told(self) -> str:
        """The library's newest words."""
        return self._loader.log.last().rstrip(".") or "no reason given"

    def release(self) -> None:
        """Context before engine before runtime."""
        self._context = None
        self._engine = None
        self._loader = None  # type: ignore[assignment]
