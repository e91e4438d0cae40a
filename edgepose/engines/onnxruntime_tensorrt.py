"""ONNX Runtime with its TensorRT provider, CUDA behind it for operators that TensorRT lacks."""

from __future__ import annotations

from pathlib import Path

from edgepose.engines.onnxruntime_cuda import (
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    OrtCudaEngine,
    load_with,
    probe_provider,
)
from edgepose.engines.options import EngineOptions


def probe(options: EngineOptions) -> str:
    """Why this engine cannot run here; "" where it can."""
    return probe_provider(TENSORRT_PROVIDER, options)


def load(model: Path, options: EngineOptions) -> OrtCudaEngine:
    """The engine on the TensorRT provider; it builds and caches plans by itself.

    Raises:
        BackendUnavailable: no GPU, or the provider does not start.
        NetworkFileError, UsageError: as the CPU engine.
    """
    providers = [TENSORRT_PROVIDER, CUDA_PROVIDER]
    return load_with(providers, "onnxruntime-tensorrt", model, options)
