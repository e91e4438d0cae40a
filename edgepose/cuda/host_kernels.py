"""The kernels run by the host build, block after block: for tests and `doctor`, not for speed."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda import host
from edgepose.cuda.kernels import ARGUMENTS, THREADS, Grid

_TYPES: dict[str, Any] = {
    "P": ctypes.c_void_p,
    "q": ctypes.c_longlong,
    "i": ctypes.c_int,
    "f": ctypes.c_float,
    "s": ctypes.c_char_p,  # a structure: the host build takes its address
}


def argument_types(name: str) -> list[str]:
    """The letters of a kernel's arguments, structures as "s"."""
    return re.findall(r"\d*([Pqifs])", ARGUMENTS[name])


class HostRunner:
    """Runs kernels of a host library on numpy arrays.

    Args:
        library: a library of `host_build`, the installed one where it is None.

    Raises:
        BackendUnavailable: there is none.
    """

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        self._library = library or host.library()

    def launch(self, name: str, grid: Grid, arguments: Sequence[Any], stream: Any = None) -> None:
        """Run all blocks of the grid and return."""
        types = argument_types(name)
        values = [_TYPES[t](a) for t, a in zip(types, arguments, strict=True)]
        dimensions = [ctypes.c_int(n) for n in (*grid, THREADS[name])]
        getattr(self._library, f"host_{name}")(*dimensions, *values)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A numpy array."""
        return np.empty(shape, dtype)

    def upload(self, data: NDArray[Any], stream: Any = None) -> NDArray[Any]:
        """The table itself."""
        return data

    def close(self) -> None:
        """Nothing is held."""
