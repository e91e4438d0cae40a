"""TensorRT: the fastest engine on NVIDIA GPUs and Jetson. Only this module imports `tensorrt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepose.engines.options import EngineOptions
from edgepose.engines.plans import Flavour
from edgepose.engines.tensorrt_load import library, load_flavour, probe_flavour
from edgepose.engines.tensorrt_run import TensorRTEngine


def _import() -> Any:
    import tensorrt

    return tensorrt


def flavour() -> Flavour:
    """The library.

    Raises:
        BackendUnavailable: not installed, or its own libraries are missing.
    """
    return Flavour("tensorrt", "TensorRT", library("tensorrt", _import))


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
