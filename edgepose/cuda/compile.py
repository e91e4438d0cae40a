"""Kernels for the GPU at hand: shipped PTX where the driver takes it, else NVRTC, else nvcc.

Nothing is compiled at import. What was compiled is kept in `paths.kernels_cache()` by digest of the
sources, compute capability and driver.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgepose.errors import BackendUnavailable
from edgepose.files import write_atomically
from edgepose.paths import kernels_cache

FOLDER = Path(__file__).resolve().parent
KERNELS = ("peaks.cu", "paf.cu", "movenet.cu", "preprocess.cu", "overlay.cu", "enlarge.cu")
SHIPPED_PTX = FOLDER / "kernels.ptx"

# No fused multiply-add: kernels, host build and numpy twins round alike, bit for bit.
OPTIONS = ("--fmad=false", "--std=c++17")
# Compute capabilities that we care for: Turing, A100, Orin, Ada, Hopper, Thor.
TARGETS = ("75", "80", "87", "89", "90", "110")
_SEAL = hashlib.sha256().digest_size
_INCLUDE = re.compile(r'^#include "([\w.]+)"$', re.MULTILINE)
_DIGEST = re.compile(r"^// sources (\w+)$", re.MULTILINE)


@functools.cache
def program() -> str:
    """All kernels as one text without includes."""
    seen: set[str] = set()

    def text(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        body = (FOLDER / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return _INCLUDE.sub(lambda found: text(found[1]), body)

    return "\n".join(text(name) for name in KERNELS)


@functools.cache
def digest() -> str:
    """Digest of the program and the options that it is compiled with."""
    return hashlib.sha256("\n".join((program(), *OPTIONS)).encode()).hexdigest()[:16]


def shipped_ptx(path: Path = SHIPPED_PTX) -> bytes:
    """The PTX in the package.

    Raises:
        BackendUnavailable: it is not there, or was made from other sources.
    """
    try:
        ptx = path.read_text(encoding="ascii")
    except OSError as e:
        raise BackendUnavailable(f"no PTX is shipped ({e.strerror})") from None
    found = _DIGEST.search(ptx)
    if found is None or found[1] != digest():
        raise BackendUnavailable("the shipped PTX was made from other sources")
    return ptx.encode("ascii")


# ---- NVRTC ---------------------------------------------------------------------------------------


def nvrtc_candidates() -> Iterator[str]:
    """Where NVRTC may be: `EDGEPOSE_NVRTC` (a file), pip's nvidia packages, the loader's path, CUDA
    toolkits (JetPack's too)."""
    if given := os.environ.get("EDGEPOSE_NVRTC"):
        yield given
        return
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        yield from (str(p) for p in sorted(Path(root).glob("*/lib/libnvrtc.so.*"), reverse=True))
    yield from (f"libnvrtc.so{suffix}" for suffix in ("", ".13", ".12", ".11.2"))
    yield from (str(p) for p in sorted(_toolkit().glob("lib64/libnvrtc.so*")))


def _toolkit() -> Path:
    """The folder of the CUDA toolkit: `CUDA_HOME`, else where JetPack and the installers put it."""
    return Path(os.environ.get("CUDA_HOME") or "/usr/local/cuda")


@functools.cache
def nvrtc() -> ctypes.CDLL:
    """NVRTC by ctypes; it needs no GPU and no driver.

    Raises:
        BackendUnavailable: it is not installed.
    """
    for name in nvrtc_candidates():
        if "builtins" in name or ".alt." in name:
            continue
        try:
            library = ctypes.CDLL(name)
            library.nvrtcGetErrorString.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        return library
    raise BackendUnavailable("NVRTC is not installed (pip install nvidia-cuda-nvrtc, or JetPack's)")


def _check(library: ctypes.CDLL, status: int, doing: str) -> None:
    if status:
        reason = library.nvrtcGetErrorString(status).decode("ascii", "replace")
        raise BackendUnavailable(f"NVRTC failed while {doing}: {reason}")


def compile_nvrtc(target: str, ptx: bool = False) -> bytes:
    """The kernels as a cubin for sm_`target`, or as PTX for compute_`target`.

    Raises:
        BackendUnavailable: NVRTC is missing or refuses.
    """
    library = nvrtc()
    handle = ctypes.c_void_p()
    made = library.nvrtcCreateProgram(
        ctypes.byref(handle), program().encode(), b"kernels.cu", 0, None, None
    )
    _check(library, made, "starting")
    try:
        options = [*OPTIONS, f"--gpu-architecture={'compute' if ptx else 'sm'}_{target}"]
        given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        status = library.nvrtcCompileProgram(handle, len(options), given)
        log = _fetch(library, handle, "ProgramLog").decode("utf-8", "replace")
        reason = log.replace("\0", "").strip()[:500]
        _check(library, status, f"compiling for {target} ({reason})")
        return _fetch(library, handle, "PTX" if ptx else "CUBIN").rstrip(b"\0" if ptx else b"")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(handle))


def _fetch(library: ctypes.CDLL, handle: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    status = getattr(library, f"nvrtcGet{what}Size")(handle, ctypes.byref(size))
    _check(library, status, f"fetching the {what}")
    data = ctypes.create_string_buffer(max(size.value, 1))
    _check(library, getattr(library, f"nvrtcGet{what}")(handle, data), f"fetching the {what}")
    return data.raw[: size.value]


# ---- nvcc ----------------------------------------------------------------------------------------


def nvcc() -> str:
    """The nvcc on PATH or of the CUDA toolkit.

    Raises:
        BackendUnavailable: there is none.
    """
    found = shutil.which("nvcc") or shutil.which("nvcc", path=str(_toolkit() / "bin"))
    if not found:
        raise BackendUnavailable("nvcc is not installed (JetPack brings it in /usr/local/cuda)")
    return found


def compile_nvcc(target: str) -> bytes:
    """The kernels as a cubin for sm_`target`.

    Raises:
        BackendUnavailable: nvcc is missing or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "kernels.cu", Path(folder) / "kernels.cubin"
        source.write_text(program(), encoding="utf-8")
        command = [nvcc(), "-cubin", *OPTIONS, f"-arch=sm_{target}", "-o", str(out), str(source)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as e:
            raise BackendUnavailable(f"nvcc could not be run: {e}") from None
        if run.returncode:
            raise BackendUnavailable(f"nvcc failed for sm_{target}: {run.stderr.strip()[-500:]}")
        return out.read_bytes()


# ---- the order of choice -------------------------------------------------------------------------


def cached(target: str, driver: str, make: Callable[[], bytes]) -> bytes:
    """A cubin from the cache, else from `make`, which is then kept; an unwritable cache is no error.

    Behind a cubin in the cache stands its sha256: one that was damaged may load and count wrongly.
    """
    path = kernels_cache() / f"{digest()}-sm_{target}-driver_{driver}.cubin"
    with suppress(OSError):
        kept = path.read_bytes()
        if _sealed(kept[:-_SEAL]) == kept:
            return kept[:-_SEAL]
    data = make()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _sealed(data))
    return data


def _sealed(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()


def forget(target: str, driver: str) -> None:
    """Remove a cubin that did not load."""
    (kernels_cache() / f"{digest()}-sm_{target}-driver_{driver}.cubin").unlink(missing_ok=True)


def load(
    from_buffer: Callable[[bytes], Any], refused: type[Exception], target: str, driver: str
) -> tuple[Any, str]:
    """Load the kernels with the first way that works.

    Args:
        from_buffer: loads PTX or a cubin, raising `refused` where the driver does not take it.
        target: compute capability, such as "87".
        driver: version of the driver, a key of the cache.

    Returns:
        The loaded module and the name of the way.

    Raises:
        BackendUnavailable: no way works; the message has the reason of each.
    """
    ways: tuple[tuple[str, Callable[[], bytes]], ...] = (
        ("shipped PTX", shipped_ptx),
        ("NVRTC", lambda: cached(target, driver, lambda: compile_nvrtc(target))),
        ("nvcc", lambda: cached(target, driver, lambda: compile_nvcc(target))),
    )
    reasons = []
    for name, make in ways:
        try:
            return from_buffer(make()), name
        except BackendUnavailable as e:
            reasons.append(f"{name}: {e}")
        except refused as e:
            if make is not shipped_ptx:
                forget(target, driver)
            reasons.append(f"{name}: the driver refuses it ({e})")
    raise BackendUnavailable(f"No kernels for this GPU (sm_{target}). {'; '.join(reasons)}.")


def write_ptx(path: Path = SHIPPED_PTX) -> None:
    """Make the PTX that is shipped, for the oldest GPU of ours. An NVRTC of CUDA 12.1 makes PTX that
    the drivers of all later versions take; newer ones make PTX that JetPack 6 refuses."""
    ptx = compile_nvrtc(TARGETS[0], ptx=True).decode("ascii")
    path.write_text(f"// sources {digest()}\n{ptx}", encoding="ascii")


if (
    __name__ == "__main__"
):  # python -m edgepose.cuda.compile, with EDGEPOSE_NVRTC=.../libnvrtc.so.12
    write_ptx()
