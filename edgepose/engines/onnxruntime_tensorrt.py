"""ONNX Runtime with its TensorRT provider, CUDA behind it for operators that TensorRT lacks."""

from __future__ import annotations

from pathlib import Path

from edgepose.engines import onnxruntime_cuda as shared
from edgepose.engines.options import EngineOptions


def probe(options: EngineOptions) -> str:
    """Why this engine cannot run here; "" where it can."""
    return shared.probe_provider(shared.TENSORRT_PROVIDER, options)


def load(model: Path, options: EngineOptions) -> shared.OrtCudaEngine:
    """The engine on the TensorRT provider; it builds and caches plans by itself.

    Raises:
        BackendUnavailable: no GPU, or the provider does not start.
        NetworkFileError, UsageError: as the CPU engine.
    """
    providers = [shared.TENSORRT_PROVIDER, shared.CUDA_PROVIDER]
    return shared.load_with(providers, "onnxruntime-tensorrt", model, options)
