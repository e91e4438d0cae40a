"""The threads of a process share two heaps."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys, threading
from edgepose.heaps import share_heaps
share_heaps()
together = threading.Barrier(9)
def work():
    together.wait()
    kept = bytearray(5000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(9)]
for t in threads: t.start()
for t in threads: t.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.parametrize(("asked", "heaps"), [(None, 2), ("4", 4)])
def test_threads_share_heaps_unless_the_environment_says_how_many(
    asked: str | None, heaps: int, tmp_path: Path
) -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("this library of C does not tell of its heaps")
    report = tmp_path / "heaps.xml"
    env = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    env |= {"MALLOC_ARENA_MAX": asked} if asked else {}
    subprocess.run([sys.executable, "-c", PROGRAM, str(report)], check=True, env=env)
    assert report.read_text().count("<heap nr=") == heaps
