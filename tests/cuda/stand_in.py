"""A stand-in for the GPU's driver, and Python on it: fake_driver.cpp as libcuda.so.1, which executes the shipped PTX.

Both bindings of the driver run on it, as they are. Where PyCUDA is not installed, the wheels of the test
material serve.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgepose.cuda import host_build
from edgepose.cuda.compile import SHIPPED_PTX
from tests.cuda.ptx_machine import PtxMachine

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FLAGS = "-std=c++17 -O1 -fPIC -shared -Wl,-soname,libcuda.so.1 -ldl -o".split()
# Symbols are bound when they are called: the stand-in has only those of the driver that we use.
START = """
import os, sys
sys.setdlopenflags(os.RTLD_LAZY)
if os.environ.get("FAKE_BINDING") == "cuda-bindings":
    sys.modules["pycuda"] = None
"""


class StandIn:
    """Runs Python with a stand-in for the driver.

    Args:
        folder: an empty one.
        cache: where compiled things are kept from run to run.
        material: the test material, for PyCUDA's wheels.
    """

    def __init__(self, folder: Path, cache: Path, material: Any) -> None:
        compiler = host_build.compiler()
        if compiler is None:
            pytest.skip("no C++ compiler is here")
        self.folder, self._material = folder, material
        source = HERE / "fake_driver.cpp"
        key = hashlib.sha256(source.read_bytes() + str(FLAGS).encode()).hexdigest()[:16]
        library = cache / f"{key}-libcuda.so"
        if not library.exists():
            made = library.with_suffix(f".{os.getpid()}")
            command = [*compiler, str(source), *FLAGS, str(made)]
            run = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert run.returncode == 0, run.stderr[-3000:]
            made.replace(library)
        (folder / "libcuda.so.1").symlink_to(library)
        self._machine = PtxMachine(SHIPPED_PTX.read_text("ascii"), cache).path
        (folder / "start").mkdir()
        (folder / "start/sitecustomize.py").write_text(START, encoding="utf-8")

    def run(
        self,
        arguments: list[str],
        binding: str = "",
        driver: Path | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run Python; skips where a binding is not to be had.

        Args:
            arguments: of Python.
            binding: "pycuda" or "cuda-bindings", the first that is here where it is empty.
            driver: another folder to look for the driver in.
        """
        pycuda = "" if binding == "cuda-bindings" else self._pycuda()
        if pycuda is None and binding == "pycuda":
            pytest.skip("PyCUDA is not installed and there is no wheel of it for this Python")
        if not pycuda and not (binding != "cuda-bindings" and importlib.util.find_spec("pycuda")):
            binding = "cuda-bindings"
            pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
        paths = [str(self.folder / "start"), pycuda or "", str(ROOT)]
        return subprocess.run(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(p for p in paths if p),
                "LD_LIBRARY_PATH": str(driver or self.folder),
                "EDGEPOSE_CACHE": str(self.folder / "cache"),
                "FAKE_MACHINE": str(self._machine),
                "FAKE_BINDING": binding,
                **environment,
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=900,  # a machine may be loaded
        )

    def _pycuda(self) -> str | None:
        """A folder with PyCUDA for this Python, "" where it is installed, None where it is nowhere."""
        if importlib.util.find_spec("pycuda"):
            return ""
        folder = self.folder / "pycuda"
        if folder.exists():
            return str(folder)
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        wheels = self._material.find("wheels") or Path("none")
        found = sorted(wheels.glob(f"pycuda-*-{tag}-{tag}-linux_{os.uname().machine}.whl"))
        if not found:
            return None
        with zipfile.ZipFile(found[-1]) as wheel:
            wheel.extractall(folder)
        return str(folder)


def all_passed(run: subprocess.CompletedProcess[str]) -> None:
    """A pytest that ran in the child left nothing out."""
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    last = run.stdout.strip().splitlines()[-1]
    assert "passed" in last
    assert "skipped" not in last
