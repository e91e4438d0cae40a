"""Compile the kernels and the fast decoder for the host with g++ or clang++.

Standard library only: the build hook (`hatch_build.py`) runs this file before anything is installed.
`python -m edgepose.cuda.host_build` compiles again in a checkout after its sources changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
UNITS = ("host_kernels.cpp", "host_decode.cpp", "movenet.cpp")
HEADERS = ("host.h", "portable.h", "decode.h", "movenet.h")
KERNELS = ("peaks.cu", "paf.cu", "movenet.cu", "preprocess.cu", "overlay.cu", "enlarge.cu")
SOURCES = (*HEADERS, *KERNELS, *UNITS)
LIBRARY = "_host.so"
ZIG = (sys.executable, "-m", "ziglang")

# No fused multiply-add and no reordering: results equal the numpy twins bit for bit. errno and
# floating-point traps are not looked at, which lets square roots and comparisons be vectorised.
FLAGS = (
    "-std=c++17 -O3 -fPIC -shared -fvisibility=hidden -fno-exceptions -fno-rtti "
    "-ffp-contract=off -fno-math-errno -fno-trapping-math -Wl,--as-needed"
).split()


def digest() -> str:
    """Digest of the sources and flags, by which a stale library is recognised."""
    h = hashlib.sha256(" ".join(FLAGS).encode())
    for name in SOURCES:
        h.update((FOLDER / name).read_bytes())
    return h.hexdigest()[:16]


def compiler() -> list[str] | None:
    """The C++ compiler command: `CXX`, else the first of g++, c++, clang++ and ziglang's that is there.

    Zig compiles for the processor it runs on where no other is named; a library may go elsewhere in a wheel.
    """
    given = os.environ.get("CXX", "").split()
    for command in (given, ["g++"], ["c++"], ["clang++"]):
        if command and shutil.which(command[0]):
            return command
    return [*ZIG, "c++", "-mcpu=baseline"] if importlib.util.find_spec("ziglang") else None


def build_library(target: Path = FOLDER / LIBRARY, extra: tuple[str, ...] = ()) -> str:
    """Compile into `target`, which is replaced at once and only when all went well.

    Args:
        target: the shared library to write.
        extra: further compiler options.

    Returns:
        "" when it was built, else why it was not.
    """
    command = compiler()
    if not sys.platform.startswith("linux"):
        return f"the compiled decoder is for Linux, this is {sys.platform}"
    if command is None:
        return "no C++ compiler (CXX, g++, c++, clang++ or ziglang of PyPI) is there"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        made = Path(folder) / target.name
        arguments = [*command, *FLAGS, *extra, f'-DEP_SOURCES="{digest()}"', "-x", "c++"]
        arguments += [str(FOLDER / unit) for unit in UNITS] + ["-o", str(made)]
        try:
            run = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as e:
            return f"{command[0]} could not be run: {e}"
        if run.returncode:
            return f"{command[0]} failed: {run.stderr.strip()[-2000:]}"
        os.replace(made, target)
    return ""


if __name__ == "__main__":
    problem = build_library()
    sys.exit(f"Not built: {problem}." if problem else None)
