"""NVIDIA's jetson-utils, where the real one is installed: device images, NVDEC, NVENC, CSI.

The package of that name on PyPI is an unrelated one that shadows it; the real one is built from
source or comes in NVIDIA's containers, and is told by its `videoSource`. `EDGEPOSE_VIDEO=pyav` does
without it, `EDGEPOSE_VIDEO=jetson` insists on it; otherwise it serves cameras and streams where it
is there. Films and pictures from files stay with PyAV, because jetson-utils drops frames of files.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import BackendUnavailable, UnknownNameError, built_for_other_numpy

CHOICES = ("auto", "jetson", "pyav")


def find() -> tuple[Any | None, str]:
    """(the real jetson_utils, "") or (None, the reason why it is not there)."""
    try:
        module = importlib.import_module("jetson_utils")
    except ImportError as e:
        if e.name == "jetson_utils":
            return None, "jetson-utils is not installed (it comes in NVIDIA's containers)"
        return None, _broken(e)
    except Exception as e:  # its C part was built for other libraries than are here
        return None, _broken(e)
    if not hasattr(module, "videoSource"):
        return None, (
            "the installed jetson-utils is an unrelated package of the same name; remove it with: "
            "pip uninstall jetson-utils"
        )
    return module, ""


def _broken(error: Exception) -> str:
    return built_for_other_numpy(error, "jetson-utils") or f"jetson-utils does not load: {error}"


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
    utils.cudaDeviceSynchronize()  # the image may still be written
    return np.array(utils.cudaToNumpy(pixels), np.uint8)
