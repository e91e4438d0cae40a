"""Fixtures of live inputs and outputs: real peers, and nothing left over."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import HERE, RtspPeer, open_descriptors, wait_for

from edgepose.cuda import host_build


@pytest.fixture
def rtsp_peer() -> Iterator[RtspPeer]:
    peer = RtspPeer().start()
    yield peer
    peer.kill()


@pytest.fixture(scope="session")
def fake_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled stand-in for a camera."""
    compiler = host_build.compiler()
    if not compiler or not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        pytest.skip("the stand-in for a camera needs a compiler on 64-bit Linux")
    library = tmp_path_factory.mktemp("camera") / "fake_camera.so"
    source = HERE / "fake_camera.c"
    subprocess.run(
        [*compiler, *"-x c -shared -fPIC -O1 -o".split(), str(library), str(source), "-ldl"],
        check=True,
    )
    return library


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No thread and no descriptor is left when the test is over."""
    import av  # noqa: F401  loaded first: its libraries keep descriptors of their own

    threads, descriptors = threading.active_count(), open_descriptors()
    yield
    wait_for(lambda: threading.active_count() <= threads, what="the end of all threads")
    wait_for(lambda: open_descriptors() <= descriptors, what="the closing of all descriptors")
