"""ONNX files in another precision, for builders that take the types of a network as they are.

TensorRT 11 and TensorRT for RTX are strongly typed: fp16 and int8 must stand in the ONNX file. Both
conversions keep inputs and outputs in float32. They need the onnx package, which is no part of
the core install.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from edgepose.engines.base import Feeds
from edgepose.engines.files import first_line
from edgepose.engines.onnx_file import read_outline
from edgepose.engines.options import Calibration
from edgepose.errors import BackendUnavailable, EngineError

_INT8_OPERATORS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def to_fp16(model: Path) -> bytes:
    """The ONNX file with float16 weights and arithmetic; inputs and outputs stay float32.

    Raises:
        BackendUnavailable: the onnx package is missing.
        EngineError: the converter failed on this network.
    """
    onnx = _onnx("fp16")
    from edgepose.engines.fp16 import convert

    try:
        return bytes(convert(onnx.load(str(model))).SerializeToString())
    except Exception as e:
        raise EngineError(
            f"{model} cannot be converted to fp16: {first_line(e)}. Use --precision fp32."
        ) from e


def to_int8(model: Path, calibration: Calibration) -> bytes:
    """The ONNX file with Q/DQ nodes before convolutions and matrix products, as TensorRT wants them.

    Batch normalisation is folded first. Scales are symmetric; weights have one for each channel where
    the file's opset (13) allows; biases and results stay in float32. Activation ranges are the
    99.99th percentile over the calibration pictures: three small networks kept half to three quarters
    of the error of the full range with it, and ONNX Runtime's entropy method clips nothing.

    Raises:
        BackendUnavailable: onnx or ONNX Runtime's tools are missing.
        EngineError: the tools failed on this network.
    """
    onnx = _onnx("int8")
    try:
        import onnxruntime as ort
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static
    except ImportError as e:
        raise BackendUnavailable(f"int8 needs onnxruntime's quantisation tools: {e}.") from e
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            target = Path(folder) / "int8.onnx"
            quantize_static(
                onnx.load(str(_folded(ort, model, Path(folder)))),
                str(target),
                _Reader(calibration.batches()),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_INT8_OPERATORS),
                per_channel=read_outline(model).opset >= 13,  # older Q/DQ nodes have no axis
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "AddQDQPairToWeight": True,
                    "QuantizeBias": False,
                    "OpTypesToExcludeOutputQuantization": list(_INT8_OPERATORS),
                    "CalibPercentile": 99.99,
                },
            )
            return target.read_bytes()
    except Exception as e:
        raise EngineError(
            f"{model} cannot be quantised to int8: {first_line(e)}. Use --precision fp16."
        ) from e


def _folded(ort: Any, model: Path, folder: Path) -> Path:
    """The network with constants and batch normalisation folded, in standard operators."""
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(folder / "folded.onnx")
    ort.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    return folder / "folded.onnx"


class _Reader:
    """ONNX Runtime's CalibrationDataReader over our feeds."""

    def __init__(self, feeds: Iterator[Feeds]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, Any] | None:
        feed = next(self._feeds, None)
        return dict(feed) if feed is not None else None

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        feed = self.get_next()
        if feed is None:
            raise StopIteration
        return feed


def _onnx(precision: str) -> Any:
    try:
        import onnx
    except ImportError as e:
        raise BackendUnavailable(
            f"This TensorRT takes {precision} only from a converted ONNX file, and the onnx "
            "package that converts is missing; run `pip install onnx`, or use --precision fp32."
        ) from e
    return onnx


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantisation tools from printing and from warning on the root logger."""
    import logging

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
