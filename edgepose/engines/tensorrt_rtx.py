"""TensorRT for RTX: TensorRT of desktop GPUs, by pip. Only this module imports `tensorrt_rtx`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepose.engines.options import EngineOptions
from edgepose.engines.plans import Flavour
from edgepose.engines.tensorrt_load import library, load_flavour, probe_flavour
from edgepose.engines.tensorrt_run import TensorRTEngine


def _import() -> Any:
    import tensorrt_rtx

    return tensorrt_rtx


def flavour() -> Flavour:
    """The library; it compiles kernels when an engine starts, so that timings do not help a build.

    Raises:
        BackendUnavailable: not installed, or its own libraries are missing.
    """
    return Flavour(
        "tensorrt_rtx", "TensorRT for RTX", library("tensorrt_rtx", _import), timings=False
    )


def probe(options: EngineOptions) -> str:
    """Why this engine cannot run here; "" where it can."""
    return probe_flavour(flavour, options)


def load(model: Path, options: EngineOptions) -> TensorRTEngine:
    """The engine of an ONNX file (built once, then cached) or of a plan.

    Raises:
        BackendUnavailable, NetworkFileError, UsageError, EngineError, Interrupted: see
            `plans.obtain`.
    """
    return load_flavour(flavour(), model, options)
