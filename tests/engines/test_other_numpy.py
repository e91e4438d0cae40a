"""Packages built for another numpy, and engines for GPUs that are elsewhere: cause and remedy, one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgepose.cli.engines import row, this_machine
from edgepose.cuda.context import pycuda_driver
from edgepose.doctor.checks import Place, _tensorrt_rtx, _try_import
from edgepose.engines.cache import Entry, PlanKey, Sidecar
from edgepose.engines.tensorrt_load import library
from edgepose.errors import BackendUnavailable, built_for_other_numpy
from edgepose.export.checkpoint import torch_module
from edgepose.io import jetson_utils


def loads_torch() -> str:
    with pytest.raises(BackendUnavailable) as e:
        torch_module()
    return str(e.value)


def loads_pycuda() -> str:
    with pytest.raises(BackendUnavailable) as e:
        pycuda_driver()
    return str(e.value)


def loads_tensorrt() -> str:
    with pytest.raises(BackendUnavailable) as e:
        library("tensorrt", lambda: __import__("tensorrt"))
    return str(e.value)


PACKAGES: dict[str, Callable[[], str]] = {
    "torch": loads_torch,
    "pycuda": loads_pycuda,
    "tensorrt": loads_tensorrt,
    "jetson_utils": lambda: jetson_utils.find()[1],
    "tensorrt_rtx": lambda: _try_import("tensorrt_rtx")[1],
}


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    "error",
    [
        "ImportError('numpy.core.multiarray failed to import')",
        "AttributeError('_ARRAY_API not found')",
        "RuntimeError('module was compiled using NumPy 1.x and cannot run in NumPy 2.1')",
        "ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
    ],
)
def test_a_package_built_for_another_numpy(
    package: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    told = PACKAGES[package]()
    assert f"built for another numpy than the {np.__version__}" in told
    assert "pip install 'numpy" in told
    assert "\n" not in told


def test_other_errors_are_not_numpys() -> None:
    assert built_for_other_numpy(ImportError("libcudart.so.12: cannot open"), "torch") == ""


@pytest.fixture
def forgotten() -> Iterator[None]:
    """A stand-in for TensorRT for RTX is gone afterwards, or every later test would get it."""
    yield
    sys.modules.pop("tensorrt_rtx", None)


@pytest.mark.usefixtures("forgotten")
def test_doctor_and_the_list_of_engines_agree_where_no_gpu_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt_rtx").mkdir()
    code = "__version__ = '1.7.1'\nclass Builder: pass\n"
    (tmp_path / "tensorrt_rtx" / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt_rtx", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    (check,) = _tensorrt_rtx(Place(Path("/"), None, False))
    assert (check.state, check.found[:43]) == (
        "note",
        "1.7.1: builds engines for GPUs, none here (",
    )
    key = PlanKey("0" * 64, "tensorrt_rtx", "1.7.1")
    entry = Entry(tmp_path / "a.engine", Sidecar(key, "a", "/a.onnx", 0, "", 0.0))
    listed = row(entry, this_machine())
    assert (listed["state"], listed["why"]) == ("no GPU here", "built for GPUs, none here")
