"""NVIDIA's jetson-utils, where the real one is installed: device images, NVDEC, NVENC, CSI.

The package of that name on PyPI is an unrelated one that shadows it; the real one is built from
source or comes in NVIDIA's containers, and is told by its `videoSource`. `EDGEPOSE_VIDEO=pyav` does
without it, `EDGEPOSE_VIDEO=jetson` insists on it; otherwise it serves cameras and streams where it
is there. Films and pictures from files stay with PyAV, because jetson-utils drops frames of files.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import BackendUnavailable, UnknownNameError, built_for_other_numpy
from edgepose.version import DOCS

CHOICES = ("auto", "jetson", "pyav")


log = logging.getLogger(__name__)

# its log prints passwords in clear from level "info" on, and goes to stdout, where our data go
LOG_OPTIONS = ["--log-level=error", "--log-file=stderr"]
ABSENT = "jetson-utils is not installed (it comes in NVIDIA's containers)"
PAGE = f"{DOCS}/install-jetson.md"


def find() -> tuple[Any | None, str]:
    """(the real jetson_utils, "") or (None, the reason why it is not there or does not work)."""
    try:
        with contextlib.redirect_stderr(
            io.StringIO()
        ):  # numpy writes twenty lines where one will do
            module = importlib.import_module("jetson_utils")
    except Exception as e:  # its C part was built for other libraries than are here
        return None, _reason(e)
    if not hasattr(module, "videoSource"):
        return None, _without_sources(module)
    # its second version has Python functions of other arguments under the names cudaToNumpy and cudaAllocMapped
    module = sys.modules.get("jetson_utils_python", module)
    why = _runs(module)
    return (None, why) if why else (module, "")


def _without_sources(module: Any) -> str:
    """Why a package of that name has no videoSource."""
    if hasattr(module, "HAS_JETSON_UTILS_EXT"):  # the real one, which keeps the reason to itself
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module("jetson_utils_python")
        except Exception as e:  # as above
            return _reason(e)
    return (
        "the installed jetson-utils is an unrelated package of the same name; remove it with: "
        "pip uninstall jetson-utils"
    )


def _reason(error: Exception) -> str:
    """Why it does not import, and what to do."""
    lacks = error.name if isinstance(error, ModuleNotFoundError) else None
    if lacks == "jetson_utils":
        return ABSENT
    if lacks == "jetson_utils_python":
        return f"jetson-utils was installed without its C++ part; build it from source: {PAGE}"
    if lacks and not lacks.startswith("jetson_utils"):
        return f"jetson-utils needs the Python package {lacks}; run: pip install {lacks}"
    numpy = built_for_other_numpy(error, "jetson-utils")
    return f"{numpy or f'jetson-utils does not load: {error}'}; see {PAGE}"


@functools.cache
def _runs(module: Any) -> str:
    """Why its kernels do not run here, "" where they do: one picture of 16x16 pixels is converted."""
    try:
        size = {"width": 16, "height": 16}
        source = module.cudaAllocMapped(**size, format="rgb8")
        module.cudaConvertColor(source, module.cudaAllocMapped(**size, format="bgr8"))
        module.cudaDeviceSynchronize()
    except Exception as e:  # it knows no other kind
        return (
            f"jetson-utils loads, but its kernels do not run on this GPU ({' '.join(str(e).split())}); it was built "
            f"for another one: {PAGE}"
        )
    return ""


@functools.cache
def _say(reason: str) -> None:
    """Said once: without it cameras take more of the CPU, and nothing else shows why."""
    log.warning("Cameras and streams go through the CPU: %s.", reason)


def wanted() -> Any | None:
    """jetson_utils where cameras and streams shall go through it, else None.

    Raises:
        UnknownNameError: EDGEPOSE_VIDEO is none of auto, jetson, pyav.
        BackendUnavailable: EDGEPOSE_VIDEO=jetson, and it is not there.
    """
    choice = os.environ.get("EDGEPOSE_VIDEO", "auto").lower() or "auto"
    if choice not in CHOICES:
        raise UnknownNameError("value of EDGEPOSE_VIDEO", choice, CHOICES)
    if choice == "pyav":
        return None
    module, reason = find()
    if module is None and choice == "jetson":
        raise BackendUnavailable(f"EDGEPOSE_VIDEO=jetson was asked, but {reason}.")
    if module is None and reason != ABSENT:
        _say(reason)
    return module


def insisted() -> Any | None:
    """jetson_utils where EDGEPOSE_VIDEO=jetson asks for it (for outputs), else None.

    Raises:
        BackendUnavailable: it was asked for and is not there.
    """
    return wanted() if os.environ.get("EDGEPOSE_VIDEO", "").lower() == "jetson" else None


def to_host(pixels: Any) -> NDArray[np.uint8]:
    """Host pixels (uint8 RGB HWC) of a frame: the array itself, or a copy from the device.

    Knows numpy arrays, jetson-utils images, and what has a `get()` (PyCUDA) or `cpu()` (torch).
    """
    if isinstance(pixels, np.ndarray):
        return pixels
    if hasattr(pixels, "get"):
        return np.asarray(pixels.get(), np.uint8)
    if hasattr(pixels, "cpu"):
        return np.asarray(pixels.cpu().numpy(), np.uint8)
    utils, reason = find()
    if utils is None:
        raise BackendUnavailable(
            f"A {type(pixels).__name__} cannot be copied to the host: {reason}."
        )
    utils.cudaStreamSynchronize(0)  # where jetson-utils works: the image may still be written
    return np.array(utils.cudaToNumpy(pixels), np.uint8)
