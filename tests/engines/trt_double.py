"""A recording double of the TensorRT module, as narrow as the real one.

`make(version)` gives a module whose classes refuse every name that the bindings of that version do not
have (`tensorrt_api.json` was read from the real wheels), both to read and to set. A build answers with
a small JSON text instead of a plan, so that tests see what was asked of the builder; an engine
answers every output with twice the mean of its row in the memory that its addresses point to.
"""

from __future__ import annotations

import ctypes
import json
import threading
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgepose.networks.onnx_file import OnnxOutline, _model

API: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "tensorrt_api.json").read_text()
)
VERSIONS = tuple(API)


def make(version: str, **settings: Any) -> Any:
    """The double of a version.

    Settings: cores (DLA cores), fail (text of a failing build), gate (an Event that the build waits
    for), refuse (deserialise returns None), refuse_memory (text of tensors that are not bound), refuse_timing (the timing cache is not taken), launch (who runs
    an enqueued engine).
    """
    api = API[version]
    state = SimpleNamespace(
        calls=[],
        cores=0,
        fail="",
        gate=None,
        refuse=False,
        refuse_memory="",
        refuse_timing=False,
        parse_errors=[],
    )
    state.launch = lambda handle, work: work()
    state.__dict__.update(settings)

    class Guarded:
        """Refuses names that the real class lacks; private names are the double's own."""

        def __getattribute__(self, name: str) -> Any:
            kind = type(self).__mro__
            real = next((c.__name__ for c in kind if c.__name__ in api), None)
            if not name.startswith("_") and real and name not in api[real]:
                raise AttributeError(f"TensorRT {version}: {real} has no {name}")
            return object.__getattribute__(self, name)

        def __setattr__(self, name: str, value: Any) -> None:
            real = type(self).__name__
            if not name.startswith("_") and real in api and name not in api[real]:
                raise AttributeError(f"TensorRT {version}: {real} has no {name}")
            object.__setattr__(self, name, value)

    def record(*call: Any) -> None:
        state.calls.append(call)

    def enum(name: str) -> Any:
        return IntEnum(name, [n for n in api[name] if not n.startswith("_")], start=0)

    enums = {
        n: enum(n)
        for n in (
            "BuilderFlag",
            "NetworkDefinitionCreationFlag",
            "MemoryPoolType",
            "DeviceType",
            "HardwareCompatibilityLevel",
            "DataType",
        )
    }
    TensorIOMode = IntEnum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"], start=0)
    TensorLocation = IntEnum("TensorLocation", ["DEVICE", "HOST"], start=0)

    class ILogger:
        def __init__(self) -> None:
            self._made = True

    class ITimingCache(Guarded):
        def __init__(self, content: bytes) -> None:
            self._content = content

        def serialize(self) -> bytes:
            return self._content + b"+"

    class IOptimizationProfile(Guarded):
        def __init__(self) -> None:
            self._shapes: dict[str, Any] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            self._shapes[input] = (tuple(min), tuple(opt), tuple(max))

    class IBuilderConfig(Guarded):
        def __init__(self) -> None:
            self._flags: set[str] = {"TF32"}
            self._pools: dict[str, int] = {}
            self._profiles: list[Any] = []
            self._calibration_profile: Any = None
            self._cache: Any = None
            self._values: dict[str, Any] = {}
            if "builder_optimization_level" in api["IBuilderConfig"]:
                self.builder_optimization_level = 3
            if "hardware_compatibility_level" in api["IBuilderConfig"]:
                self.hardware_compatibility_level = None
            if "progress_monitor" in api["IBuilderConfig"]:
                self.progress_monitor = None
            if "int8_calibrator" in api["IBuilderConfig"]:
                self.int8_calibrator = None
            self.default_device_type = None
            self.DLA_core = -1

        def set_flag(self, flag: Any) -> None:
            self._flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(flag.name)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self._pools[pool.name] = pool_size

        def add_optimization_profile(self, profile: Any) -> int:
            for low, best, high in profile._shapes.values():
                if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
                    return -1
            self._profiles.append(profile._shapes)
            return len(self._profiles) - 1

        def set_calibration_profile(self, profile: Any) -> bool:
            self._calibration_profile = profile._shapes
            return True

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            return ITimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            if state.refuse_timing and cache._content:
                return False
            self._cache = cache
            return True

        def get_timing_cache(self) -> Any:
            return self._cache

    class INetworkDefinition(Guarded):
        def __init__(self, flags: int) -> None:
            self._flag_bits = flags
            self._outline: OnnxOutline | None = None
            self._content = b""

        @property
        def num_outputs(self) -> int:
            return len(self._outline.outputs) if self._outline else 0

        def get_output(self, index: int) -> Any:
            return SimpleNamespace(name=self._outline.outputs[index].name)

        @property
        def num_layers(self) -> int:
            return len(self._layers)

        def get_layer(self, index: int) -> Any:
            return self._layers[index]

        @cached_property
        def _layers(self) -> list[Any]:
            return _layers_of(self._content)

    class ParserError(Guarded):
        def __init__(self, node: int, name: str, operator: str, desc: str) -> None:
            self._told = (node, name, operator, desc)

        def node(self) -> int:
            return int(self._told[0])

        def node_name(self) -> str:
            return str(self._told[1])

        def node_operator(self) -> str:
            return str(self._told[2])

        def desc(self) -> str:
            return str(self._told[3])

    class OnnxParser(Guarded):
        def __init__(self, network: Any, logger: Any) -> None:
            assert logger._made, "the logger's base class was not initialised"
            self._network = network
            self._errors: list[Any] = []

        def parse(self, model: bytes, path: str | None = None) -> bool:
            record("parse", len(model), path)
            self._errors = [ParserError(*e) for e in state.parse_errors]
            self._network._outline = _model(memoryview(model))
            self._network._content = model
            return not self._errors

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> Any:
            return self._errors[index]

    class Builder(Guarded):
        def __init__(self, logger: Any) -> None:
            assert logger._made, "the logger's base class was not initialised"
            self._logger = logger

        @property
        def num_DLA_cores(self) -> int:
            return int(state.cores)

        def create_network(self, flags: int = 0) -> Any:
            return INetworkDefinition(flags)

        def create_builder_config(self) -> Any:
            return IBuilderConfig()

        def create_optimization_profile(self) -> Any:
            return IOptimizationProfile()

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            record("build", threading.current_thread().name)
            if not self._steps(getattr(config, "progress_monitor", None)):
                return None
            if state.fail:
                severity = SimpleNamespace(name="ERROR")
                self._logger.log(severity, state.fail)
                return None
            calibrated = _calibrate(getattr(config, "int8_calibrator", None))
            return json.dumps(_asked(network, config) | {"calibrated": calibrated}).encode()

        def _steps(self, monitor: Any) -> bool:
            if state.gate is not None:
                state.gate.wait(30)
            if monitor is None:
                return True
            monitor.phase_start("Building engine", None, 4)
            for step in range(4):
                if not monitor.step_complete("Building engine", step):
                    monitor.phase_finish("Building engine")
                    return False
            monitor.phase_finish("Building engine")
            return True

    def _asked(network: Any, config: Any) -> dict[str, Any]:
        flags = enums["NetworkDefinitionCreationFlag"]
        dla = enums["DeviceType"].DLA
        level = getattr(config, "hardware_compatibility_level", None)
        return {
            "version": version,
            "network": [f.name for f in flags if network._flag_bits >> f & 1],
            "flags": sorted(config._flags),
            "pools": config._pools,
            "profiles": config._profiles,
            "calibration_profile": config._calibration_profile,
            "level": getattr(config, "builder_optimization_level", None),
            "dla": config.DLA_core if config.default_device_type == dla else None,
            "compatibility": level.name if level is not None else None,
            "inputs": [[t.name, t.dtype, list(t.shape)] for t in network._outline.inputs],
            "outputs": [[t.name, t.dtype, list(t.shape)] for t in network._outline.outputs],
            "fp16": [layer.name for layer in network._layers if layer.precision is not None],
            "operators": sorted({n.operator for n in network._outline.nodes}),
        }

    def _calibrate(calibrator: Any) -> list[Any]:
        if calibrator is None:
            return []
        cached = calibrator.read_calibration_cache()
        if cached is not None:
            return ["cache", len(bytes(cached))]
        batches = 0
        while True:
            pointers = calibrator.get_batch(["x"])
            if pointers is None:
                break
            assert all(isinstance(p, int) and p for p in pointers)
            batches += 1
        calibrator.write_calibration_cache(b"ranges")
        return ["batches", batches, calibrator.get_batch_size()]

    class IExecutionContext(Guarded):
        def __init__(self, engine: Any) -> None:
            self._engine = engine
            self._shapes: dict[str, tuple[int, ...]] = {}
            self._addresses: dict[str, int] = {}

        def set_input_shape(self, name: str, shape: Any) -> bool:
            low, _, high = self._engine.get_tensor_profile_shape(name, 0)
            fits = all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True))
            if fits:
                self._shapes[name] = tuple(shape)
            return fits

        def infer_shapes(self) -> list[str]:
            return [n for n, *_ in self._engine._plan["inputs"] if n not in self._shapes]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if name in self._shapes:
                return self._shapes[name]
            batch = next(iter(self._shapes.values()))
            full = self._engine.get_tensor_shape(name)
            spatial = [d // 2 for d in batch[2:]]
            return (batch[0], full[1], *spatial)

        def set_tensor_address(self, name: str, memory: int) -> bool:
            record("address", name, memory)
            if state.refuse_memory:
                self._engine._logger.log(SimpleNamespace(name="ERROR"), state.refuse_memory)
                return False
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            record("execute", stream_handle, dict(self._shapes))
            if state.fail:
                return False
            name = self._engine._plan["inputs"][0][0]
            source, shape = self._addresses[name], self._shapes[name]
            targets = [
                (self._addresses[out], self.get_tensor_shape(out))
                for out, *_ in self._engine._plan["outputs"]
            ]

            def compute() -> None:
                mean = _view(source, shape).reshape(shape[0], -1).mean(axis=1)
                for address, out_shape in targets:
                    _view(address, out_shape)[:] = 2 * mean.reshape(-1, 1, 1, 1)

            state.launch(stream_handle, compute)
            return True

    class ICudaEngine(Guarded):
        def __init__(self, plan: dict[str, Any], logger: Any) -> None:
            self._plan, self._logger = plan, logger
            self._tensors = [*plan["inputs"], *plan["outputs"]]

        @property
        def num_io_tensors(self) -> int:
            return len(self._tensors)

        def get_tensor_name(self, index: int) -> str:
            return str(self._tensors[index][0])

        def _find(self, name: str) -> Any:
            return next(t for t in self._tensors if t[0] == name)

        def get_tensor_mode(self, name: str) -> Any:
            return (
                TensorIOMode.INPUT
                if self._find(name) in self._plan["inputs"]
                else (TensorIOMode.OUTPUT)
            )

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(self._find(name)[2])

        def get_tensor_dtype(self, name: str) -> Any:
            return enums["DataType"][{"float32": "FLOAT", "float16": "HALF"}[self._find(name)[1]]]

        def get_tensor_location(self, name: str) -> Any:
            return TensorLocation.DEVICE

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
            if self._plan["profiles"]:
                return [tuple(s) for s in self._plan["profiles"][profile_index][name]]
            return [self.get_tensor_shape(name)] * 3

        def create_execution_context(self) -> Any:
            record("context")
            return IExecutionContext(self)

    class Runtime(Guarded):
        def __init__(self, logger: Any) -> None:
            assert logger._made, "the logger's base class was not initialised"
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            record("deserialise", len(serialized_engine))
            record("core", getattr(self, "DLA_core", -1))
            if state.refuse:
                self._logger.log(SimpleNamespace(name="ERROR"), "Error Code 6: out of memory")
            try:
                plan = json.loads(bytes(serialized_engine))
            except ValueError:
                return None
            if state.refuse or plan["version"] != version:
                return None
            return ICudaEngine(plan, self._logger)

    module = SimpleNamespace(
        __version__=version,
        ILogger=ILogger,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        init_libnvinfer_plugins=lambda logger, namespace: record("plugins", logger._made),
        TensorIOMode=TensorIOMode,
        TensorLocation=TensorLocation,
        state=state,
        **enums,
    )
    for name in ("IProgressMonitor", "IInt8MinMaxCalibrator"):
        if name in api:
            setattr(module, name, type(name, (), {"__init__": lambda self: None}))
    module.classes = {
        c.__name__: c
        for c in (
            ITimingCache,
            IOptimizationProfile,
            IBuilderConfig,
            INetworkDefinition,
            ParserError,
            OnnxParser,
            Builder,
            IExecutionContext,
            ICudaEngine,
            Runtime,
        )
    }
    return module


def _layers_of(content: bytes) -> list[Any]:
    """ILayers of an ONNX file's nodes."""
    import onnx

    kinds = {"Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "MatMul": "MATRIX_MULTIPLY"}
    layers = []
    for node in onnx.load_from_string(content).graph.node:
        inputs = [SimpleNamespace(name=n) for n in node.input]
        outputs = [SimpleNamespace(name=n) for n in node.output]
        layers.append(
            SimpleNamespace(
                name=node.output[0],
                type=SimpleNamespace(name=kinds.get(node.op_type, "ELEMENTWISE")),
                precision=None,
                num_inputs=len(inputs),
                num_outputs=len(outputs),
                get_input=inputs.__getitem__,
                get_output=outputs.__getitem__,
            )
        )
    return layers


def _view(address: int, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    buffer = (ctypes.c_float * count).from_address(address)
    return np.frombuffer(buffer, np.float32).reshape(shape)
