"""ONNX files in another precision, for builders that take the types of a network as they are.

TensorRT 11 and TensorRT for RTX are strongly typed: fp16 and int8 must stand in the ONNX file. Both
conversions keep inputs and outputs in float32. They need the onnx package, which is no part of
the core install.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edgepose.engines.equalise import equalise
from edgepose.engines.fp16 import convert
from edgepose.engines.int8 import fold, quantise
from edgepose.engines.messages import first_line
from edgepose.engines.options import Calibration
from edgepose.errors import BackendUnavailable, EngineError


def to_fp16(model: Path) -> bytes:
    """The ONNX file with float16 weights and arithmetic; inputs and outputs stay float32.

    Raises:
        BackendUnavailable: the onnx package is missing.
        EngineError: the converter failed on this network.
    """
    onnx = _onnx("fp16")

    try:
        return bytes(convert(onnx.load(str(model))).SerializeToString())
    except Exception as e:  # onnx and protobuf raise anything for a broken graph
        raise EngineError(
            f"{model} cannot be converted to fp16: {first_line(e)}. Use --precision fp32."
        ) from e


def to_int8(model: Path, calibration: Calibration) -> bytes:
    """The ONNX file, its channels equalised (see `equalise`), with Q/DQ nodes (see `int8`).

    Raises:
        BackendUnavailable: the onnx package or ONNX Runtime is missing.
        EngineError: the network cannot be quantised, or no picture could be read.
    """
    onnx = _onnx("int8")

    try:
        with tempfile.TemporaryDirectory() as folder:
            folded = onnx.load(str(fold(model, Path(folder))))
        equal = equalise(folded, calibration.batches())
        return bytes(quantise(equal, calibration.batches()).SerializeToString())
    except ImportError as e:
        raise BackendUnavailable(f"int8 needs onnxruntime to measure ranges: {e}.") from e
    except Exception as e:  # as above
        raise EngineError(
            f"{model} cannot be quantised to int8: {first_line(e)}. Use --precision fp16."
        ) from e


def _onnx(precision: str) -> Any:
    try:
        import onnx
    except ImportError as e:
        raise BackendUnavailable(
            f"This TensorRT takes {precision} only from a converted ONNX file, and the onnx "
            "package that converts is missing; run `pip install onnx`, or use --precision fp32."
        ) from e
    return onnx
