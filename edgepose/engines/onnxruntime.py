"""ONNX Runtime on the CPU: the engine of every machine without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgepose.engines.base import (
    Choice,
    Feeds,
    Outputs,
    check_feeds,
    check_inputs,
    check_outputs,
    max_batch,
    shape_text,
)
from edgepose.engines.messages import first_line
from edgepose.engines.options import EngineOptions
from edgepose.errors import BackendUnavailable, EngineError, NetworkFileError, UsageError
from edgepose.machine import usable_cores
from edgepose.types import TensorSpec

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def module() -> Any:
    """The onnxruntime package.

    Raises:
        BackendUnavailable: it is not installed, or does not load.
    """
    try:
        import onnxruntime
    except ImportError as e:
        raise BackendUnavailable(f"onnxruntime cannot be loaded ({first_line(e)})") from e
    return onnxruntime


def probe(options: EngineOptions) -> str:
    """Why this engine cannot run here; "" where it can."""
    try:
        module()
    except BackendUnavailable as e:
        return str(e)
    return ""


def load(model: Path, options: EngineOptions) -> OnnxRuntimeEngine:
    """The engine for an ONNX file.

    Raises:
        BackendUnavailable: no onnxruntime.
        NetworkFileError: the file is not a network that ONNX Runtime reads.
        UsageError: a shape is asked for that the network does not take.
    """
    ort = module()
    settings = session_options(ort, options)
    return OnnxRuntimeEngine(open_session(ort, model, settings, ["CPUExecutionProvider"]), options)


def session_options(ort: Any, options: EngineOptions) -> Any:
    """Session settings shared by every provider."""
    settings = ort.SessionOptions()
    settings.log_severity_level = 4  # what fails is raised; the log is not for people
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.inter_op_num_threads = 1
    settings.enable_mem_pattern = (
        False  # 4 to 8 MB for no time, in a memory that is shared out anyway
    )
    # waiting threads that spin take the cores that decode and encode the next frames
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if options.lanes > 1:
        settings.intra_op_num_threads = max(1, (options.threads or usable_cores()) // options.lanes)
    elif options.threads:
        settings.intra_op_num_threads = options.threads
    return settings


def open_session(ort: Any, model: Path, settings: Any, providers: list[Any]) -> Any:
    """An InferenceSession.

    Raises:
        NetworkFileError: the file is damaged, or uses what ONNX Runtime does not know.
    """
    try:
        return ort.InferenceSession(str(model), sess_options=settings, providers=providers)
    except Exception as e:  # onnxruntime's errors have no common base of their own
        raise NetworkFileError(f"Model {model} cannot be used: {first_line(e)}.") from e


def tensor_spec(node: Any) -> TensorSpec:
    """Name, shape and dtype of an input or output of a session.

    Raises:
        NetworkFileError: not a tensor of numbers (a sequence, a map, text).
    """
    if node.type not in _DTYPES:
        raise NetworkFileError(
            f"The network's tensor {node.name!r} is a {node.type}, which no estimator can use."
        )
    shape = tuple(d if isinstance(d, int) and d > 0 else -1 for d in node.shape)
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[node.type]))


def image_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """Where height and width stand in an image tensor's shape (NCHW, else NHWC by 3 channels)."""
    return (1, 2) if shape[-1] in (1, 3) and shape[1] not in (1, 3) else (2, 3)


def with_size(spec: TensorSpec, size: tuple[int, int] | None, advice: str) -> TensorSpec:
    """An image input with its height and width set.

    Raises:
        UsageError: the network's size is fixed to another one.
    """
    if size is None or len(spec.shape) != 4:
        return spec
    shape = list(spec.shape)
    for axis, wanted in zip(image_axes(spec.shape), size, strict=True):
        if shape[axis] not in (-1, wanted):
            raise UsageError(
                f"The network's input is fixed to {shape_text(spec.shape)}, so it cannot run at "
                f"{size[0]}x{size[1]}; {advice}."
            )
        shape[axis] = wanted
    return spec._replace(shape=tuple(shape))


class OnnxRuntimeEngine:
    """A session on the CPU. Safe from any number of threads, which compute at the same time."""

    def __init__(self, session: Any, options: EngineOptions) -> None:
        advice = "leave the shape out, or use --engine openvino, which can reshape"
        self.inputs = tuple(
            with_size(tensor_spec(n), options.shape, advice) for n in session.get_inputs()
        )
        check_inputs(self.inputs)
        self.outputs = tuple(tensor_spec(n) for n in session.get_outputs())
        self.max_batch = max_batch(self.inputs)
        self.lanes = options.lanes
        threads = options.threads or "automatic"
        self.name = f"onnxruntime (CPU, {threads} threads)"
        self.choice = Choice("onnxruntime", "asked for")
        self._names = [spec.name for spec in self.outputs]
        self._session = session

    def infer(self, feeds: Feeds) -> Outputs:
        """Run once; see `Engine.infer`."""
        session = self._session
        if session is None:
            raise EngineError("The engine is closed.")
        checked = check_feeds(feeds, self.inputs)
        try:
            results = session.run(self._names, checked)
        except Exception as e:  # its errors have no common class of their own
            raise EngineError(f"onnxruntime failed: {first_line(e)}.") from e
        return check_outputs(dict(zip(self._names, results, strict=True)))

    def close(self) -> None:
        """Release the session once the calls that are at work have ended."""
        self._session = None
