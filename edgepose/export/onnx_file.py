"""A definition with its weights as an ONNX file, checked against PyTorch."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.options import EngineOptions
from edgepose.engines.table import load_engine
from edgepose.errors import NetworkFileError, OutputError
from edgepose.export.checkpoint import torch_module
from edgepose.files import put_in_place

OPSET = 17  # understood by TensorRT 8.6 and later
# difference allowed between PyTorch and ONNX Runtime, of the largest answer
TOLERANCE = 2e-4


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of `path` at the end, or vanishes.

    It has the name of `path`, which engines tell the kind of a file by.
    """
    try:
        with TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            part = Path(folder) / path.name
            yield part
            put_in_place(part, path)
    except OSError as e:
        raise OutputError(f"{path} cannot be written: {e.strerror or e}.") from None


def write_onnx(
    module: Any,
    path: Path,
    size: tuple[int, int],
    outputs: Sequence[str],
    batch: int = 0,
) -> float:
    """Write the file and return the largest difference to PyTorch, relative to the largest answer.

    Args:
        module: the definition with its weights.
        path: the .onnx file; written whole or not at all.
        size: (width, height) of the input.
        outputs: names of the output tensors; the input is `input`.
        batch: fixed batch, 0 = dynamic.

    Raises:
        OutputError: the file cannot be written.
        NetworkFileError: ONNX Runtime answers otherwise than PyTorch.
    """
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}.")
    module.eval()
    with _partial(path) as part:
        _export(module, part, size, outputs, batch)
        rows = (batch,) if batch else (1, 3)
        worst = max(_difference(module, part, size, outputs, n) for n in rows)
        if not worst <= TOLERANCE:
            raise NetworkFileError(
                f"The exported network differs from PyTorch by {worst:.1e} of its largest answer "
                f"(allowed {TOLERANCE:.0e}); nothing was written. This is a defect of this PyTorch "
                "version's exporter: try another one."
            )
    return worst


def _export(
    module: Any, path: Path, size: tuple[int, int], outputs: Sequence[str], batch: int
) -> None:
    torch = torch_module()
    example = torch.zeros(batch or 2, 3, size[1], size[0])
    dynamic = None if batch else {name: {0: "batch"} for name in ("input", *outputs)}
    arguments: dict[str, Any] = {
        "input_names": ["input"],
        "output_names": list(outputs),
        "dynamic_axes": dynamic,
        "opset_version": OPSET,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the age of the exporter, of no use to the user
        try:
            torch.onnx.export(module, (example,), str(path), **arguments, dynamo=False)
        except TypeError:  # before 2.5 there is no such argument
            torch.onnx.export(module, (example,), str(path), **arguments)


def _array(tensor: Any) -> NDArray[np.float32]:
    """A float32 tensor as an array, without the bridge to numpy that a PyTorch built for another numpy
    has not (Debian's, and NVIDIA's for JetPack 6)."""
    tensor = tensor.contiguous()
    buffer = (ctypes.c_float * tensor.numel()).from_address(tensor.data_ptr())
    return np.array(buffer, np.float32).reshape(tuple(tensor.shape))


def _difference(
    module: Any, path: Path, size: tuple[int, int], outputs: Sequence[str], rows: int
) -> float:
    """Largest difference on random pictures, of the largest answer of each output."""
    torch = torch_module()
    feed = np.random.default_rng(0).standard_normal((rows, 3, size[1], size[0]))
    feed = feed.astype(np.float32)
    with torch.no_grad():
        given = torch.frombuffer(bytearray(feed.tobytes()), dtype=torch.float32)
        answer = module(given.reshape(feed.shape))
    expected = [_array(t) for t in (answer if isinstance(answer, tuple) else (answer,))]
    engine = load_engine(path, EngineOptions(engine="onnxruntime"))
    try:
        found = engine.infer({"input": feed})
    finally:
        engine.close()
    return max(
        float(np.abs(found[name] - e).max() / max(float(np.abs(e).max()), 1e-6))
        for name, e in zip(outputs, expected, strict=True)
    )
