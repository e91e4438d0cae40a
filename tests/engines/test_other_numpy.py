"""Packages built for another numpy, and engines for GPUs that are elsewhere: cause and remedy, one line."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgepose.cli.engines import row, this_machine
from edgepose.cuda import host_build
from edgepose.cuda.context import gpu_driver
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
        gpu_driver()
    return str(e.value)


def loads_tensorrt() -> str:
    with pytest.raises(BackendUnavailable) as e:
        library("tensorrt", lambda: __import__("tensorrt"))
    return str(e.value)


# jetson-utils 2 with its metadata: what its C++ part says is swallowed
KEEPS_QUIET = """
try:
    from jetson_utils_python import *
    HAS_JETSON_UTILS_EXT = True
except Exception:
    HAS_JETSON_UTILS_EXT = False
"""
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
        "SystemError('initialization of x raised unreported exception')",
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


EXTENSION = """
#include <Python.h>
#include <numpy/arrayobject.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "jetson_utils_python"};
static void *numpy_too(void) { import_array(); return NULL; }
PyMODINIT_FUNC PyInit_jetson_utils_python(void)
{
    numpy_too(); /* its answer is not looked at, as in the real one */
    return PyModule_Create(&module);
}
"""
HEADERS = "pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --platform"


@pytest.fixture
def built_for_numpy_1(tmp_path: Path) -> Path:
    """A folder with a jetson_utils_python that was built as one does on JetPack without the environment."""
    compiler = host_build.compiler()
    include = Path(sysconfig.get_paths()["include"])
    if compiler is None or not (include / "Python.h").exists() or np.__version__ < "2":
        pytest.skip("needs a compiler, Python's headers and numpy 2")
    wanted = [f"manylinux2014_{platform.machine()}", "numpy==1.23.5", "--dest", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", *HEADERS.split(), *wanted], capture_output=True, timeout=120
    )
    if done.returncode:
        pytest.skip("the headers of numpy 1 cannot be had (no package index)")
    (wheel,) = tmp_path.glob("numpy-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.startswith("numpy/core/include/")]
        archive.extractall(tmp_path / "headers", names)
    (tmp_path / "module.c").write_text(EXTENSION)
    folder = tmp_path / "site"
    folder.mkdir()
    words = "-x c -O1 -shared -fPIC -w".split()
    words += [f"-I{include}", f"-I{tmp_path}/headers/numpy/core/include"]
    target = folder / "jetson_utils_python.so"
    subprocess.run([*compiler, *words, "-o", target, tmp_path / "module.c"], check=True)
    return folder


@pytest.mark.parametrize("package", ["from jetson_utils_python import *", KEEPS_QUIET])
def test_a_camera_beside_a_jetson_utils_of_numpy_1(
    built_for_numpy_1: Path, package: str, tmp_path: Path
) -> None:
    """Poses all the same, one line of what is wrong, and none of numpy's own twenty."""
    (built_for_numpy_1 / "jetson_utils.py").write_text(package)
    code = "from edgepose.io import jetson_utils as j; import logging; logging.basicConfig(); print(j.wanted())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{built_for_numpy_1}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "None\n", done.stderr
    (line,) = done.stderr.splitlines()
    assert "jetson-utils was built for another numpy" in line
    assert "install-jetson.md" in line


def test_the_package_without_its_cpp_part(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("jetson_utils")
    module.HAS_JETSON_UTILS_EXT = False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jetson_utils", module)
    assert "without its C++ part; build it from source" in jetson_utils.find()[1]


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
    assert check.state == "note"
    assert re.match(
        r"(\d[\w.]*|version unknown): builds engines for GPUs, none here \(", check.found
    )
    key = PlanKey("0" * 64, "tensorrt_rtx", "1.7.1")
    entry = Entry(tmp_path / "a.engine", Sidecar(key, "a", "/a.onnx", 0, "", 0.0))
    listed = row(entry, this_machine())
    assert (listed["state"], listed["why"]) == ("no GPU here", "built for GPUs, none here")
