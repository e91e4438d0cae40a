"""Build hook: compiles edgepose's host library where a C++ compiler is there, and never fails.

Without a compiler edgepose installs as pure Python and decodes with numpy.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
CUDA = ROOT / "edgepose" / "cuda"
NETWORKS = "data/networks"
# trained on photographs partly meant for research only: in the repository, for who asks for it by --model
LEFT_OUT = ("edgepose-lite-body.onnx",)


def compile_host_library() -> str:
    """ "" when the library was built beside its sources, else the reason why not."""
    try:
        spec = importlib.util.spec_from_file_location("host_build", CUDA / "host_build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return str(module.build_library())
    except Exception as e:  # an optional part must not stop an install
        return f"{type(e).__name__}: {e}"


def shipped_networks() -> dict[str, str]:
    """The files of `data/networks` that wheels carry, and where."""
    files = (ROOT / NETWORKS).iterdir()
    names = sorted(f.name for f in files if f.is_file() and f.name not in LEFT_OUT)
    return {f"{NETWORKS}/{name}": f"edgepose/{NETWORKS}/{name}" for name in names}


class HostLibraryHook(BuildHookInterface[Any]):
    """Adds networks to wheels, and `edgepose/cuda/_host.so` to wheels and to editable installs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a build; `EDGEPOSE_PURE=1` leaves the library out."""
        if self.target_name != "wheel":
            return
        if version != "editable":  # which find them beside the package
            build_data["force_include"].update(shipped_networks())
        problem = (
            "EDGEPOSE_PURE is set" if os.environ.get("EDGEPOSE_PURE") else compile_host_library()
        )
        if problem:
            print(f"edgepose: decoding will use numpy: {problem}", file=sys.stderr)
            return
        build_data["artifacts"].append("edgepose/cuda/_host.so")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
