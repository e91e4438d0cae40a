"""The compiled decoder equals its numpy twin bit for bit, whatever comes in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.cuda import host, host_build
from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.decode.bottom_up_numpy import BottomUpParams, decode_numpy, stages_numpy
from edgepose.decode.host import HostDecoder
from edgepose.errors import BackendUnavailable, UsageError
from edgepose.networks.topology import Topology

SPECIAL = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 0.5, 0.5, 0.1], np.float32)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Topology, BottomUpParams]:
    """Maps of any size: noise, plateaus, empty, full, with NaN and infinities sprinkled in."""
    keypoints = draw(st.integers(1, 5))
    ends = st.tuples(st.integers(0, keypoints - 1), st.integers(0, keypoints - 1))
    links = draw(st.lists(ends.filter(lambda e: e[0] != e[1]), max_size=6)) if keypoints > 1 else []
    topology = Topology("any", tuple(f"k{i}" for i in range(keypoints)), tuple(links))
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 70)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cmap = rng.normal(0, draw(st.sampled_from([0.0, 0.05, 0.3])), (keypoints, *shape))
    cmap += draw(st.sampled_from([0.0, 0.5]))  # 0.5 without noise: every cell is a peak
    paf = rng.normal(0, 1, (max(2 * len(links), 1), *shape))
    maps = [cmap.astype(np.float32), paf.astype(np.float32)]
    for values in maps:
        hurt = rng.random(values.shape) < draw(st.sampled_from([0.0, 0.0, 0.02, 0.5]))
        values[hurt] = rng.choice(SPECIAL, int(hurt.sum()))
    params = BottomUpParams(
        draw(st.sampled_from([0.0, 0.1, 0.5])),
        draw(st.sampled_from([0.0, 0.1, 0.5])),
        draw(st.integers(1, 13)),
        draw(st.integers(2, 12)),
        draw(st.sampled_from([1, 3, 20, 40])),
        draw(st.sampled_from([1, 5, 100])),
    )
    return maps[0], maps[1], topology, params


@pytest.mark.usefixtures("compiled")
@given(cases())
@settings(max_examples=200, deadline=None)
def test_every_stage_is_equal(
    case: tuple[np.ndarray, np.ndarray, Topology, BottomUpParams],
) -> None:
    cmap, paf, topology, params = case
    want = stages_numpy(cmap, paf, topology.table, params)
    got = HostDecoder(topology.table, params).stages(cmap, paf)
    assert len(want) == len(got)
    for name, a, b in zip(want._fields[1:], want[1:], got[1:], strict=True):
        np.testing.assert_array_equal(b, a, err_msg=name)
    np.testing.assert_array_equal(got.peaks.offsets, want.peaks.offsets)
    np.testing.assert_array_equal(got.peaks.cells, want.peaks.cells)
    decoded = HostDecoder(topology.table, params)(cmap, paf)
    twin = decode_numpy(cmap, paf, topology.table, params)
    np.testing.assert_array_equal(decoded.keypoints, twin.keypoints)
    np.testing.assert_array_equal(decoded.links, twin.links)
    assert np.isfinite(decoded.keypoints).all()
    assert ((decoded.keypoints >= 0) & (decoded.keypoints <= 1)).all()
    assert (decoded.keypoints[..., 2].max(axis=1, initial=0) > 0).all()


def test_without_wide_vectors_results_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "_host.so"
    if problem := host_build.build_library(target, ("-DEP_CLONES=",)):
        pytest.skip(f"the compiled decoder is not here: {problem}")
    plain = host.load(target)
    monkeypatch.setattr(host, "library", lambda: plain)
    table = np.array([[0, 1, 0, 1], [2, 3, 2, 1], [4, 5, 0, 2]], np.int32)
    rng = np.random.default_rng(7)
    for window in (1, 3, 5, 7, 11):
        for size in ((1, 1), (7, 50), (56, 56)):
            cmap = rng.normal(0, 0.3, (3, *size)).astype(np.float32)
            paf = rng.normal(0, 1, (6, *size)).astype(np.float32)
            params = BottomUpParams(window=window)
            got = HostDecoder(table, params).stages(cmap, paf)
            want = stages_numpy(cmap, paf, table, params)
            for a, b in zip(got[1:], want[1:], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("compiled")
def test_maps_of_changing_size_and_several_threads(oracle: Any) -> None:
    decode = BottomUpDecoder(oracle.topology, backend="host")
    frames = [oracle.maps(i) for i in (10, 60, 110, 150)]
    frames += [(c[:, :40, :50], p[:, :40, :50]) for c, p in frames]
    twin = BottomUpDecoder(oracle.topology, backend="numpy")
    want = [twin(*maps) for maps in frames]
    wrong: list[int] = []

    def work(start: int) -> None:
        for n in range(40):
            i = (start + n) % len(frames)
            got = decode(*frames[i])
            same = [np.array_equal(a, b) for a, b in zip(got, want[i], strict=True)]
            if not all(same):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.usefixtures("compiled")
def test_results_outlive_the_next_call(oracle: Any) -> None:
    decode = BottomUpDecoder(oracle.topology, backend="host")
    first = decode(*oracle.maps(150))
    kept = first.keypoints.copy()
    decode(*oracle.maps(151))
    np.testing.assert_array_equal(first.keypoints, kept)


@pytest.mark.usefixtures("compiled")
def test_auto_takes_the_compiled_one(oracle: Any) -> None:
    assert BottomUpDecoder(oracle.topology).backend == "host"


def test_without_the_library_auto_falls_back_and_host_says_why(
    oracle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "library", lambda: host.load(tmp_path / "_host.so"))
    assert BottomUpDecoder(oracle.topology).backend == "numpy"
    with pytest.raises(BackendUnavailable, match="was not built"):
        BottomUpDecoder(oracle.topology, backend="host")


def test_an_unknown_backend_is_refused(oracle: Any) -> None:
    backend: Any = "gpu"
    with pytest.raises(UsageError, match="gpu"):
        BottomUpDecoder(oracle.topology, backend=backend)


def test_a_library_of_other_sources_or_none_at_all_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "_host.so"
    target.write_bytes(b"not a library")
    with pytest.raises(BackendUnavailable, match="does not load"):
        host.load(target)
    if problem := host_build.build_library(target):
        pytest.skip(f"the compiled decoder is not here: {problem}")
    monkeypatch.setattr(host_build, "digest", lambda: "something newer")
    with pytest.raises(BackendUnavailable, match="built from other sources"):
        host.load(target)


def test_a_library_that_cannot_be_had_is_looked_for_once(tmp_path: Path) -> None:
    path = tmp_path / "_host.so"
    why = host.attempt(path)
    assert isinstance(why, str)
    assert "was not built" in why
    path.write_bytes(b"no library")  # would be another reason
    assert host.attempt(path) == why


def test_building_without_a_working_compiler_gives_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ziglang", None)  # as where it is not installed
    monkeypatch.delenv("CXX", raising=False)
    assert "no C++ compiler" in host_build.build_library(tmp_path / "x.so")
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert "out of order" in host_build.build_library(tmp_path / "x.so")
    assert not list(tmp_path.glob("*.so"))
    assert not list(tmp_path.glob(".build-*"))


def test_no_write_or_read_out_of_bounds(tmp_path: Path) -> None:
    """The same sources under the address and undefined-behaviour sanitizers, on fuzzed maps."""
    target = tmp_path / "_host.so"
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    if problem := host_build.build_library(target, flags):
        pytest.skip(f"no sanitizer build: {problem}")
    runtime = (
        shutil.which("g++")
        and subprocess.run(
            ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    if not runtime or not Path(runtime).is_file():
        pytest.skip("the address sanitizer's runtime library is not here")
    script = (
        "import sys; from pathlib import Path; from edgepose.cuda import host;"
        "library = host.load(Path(sys.argv[1])); host.library = lambda: library;"
        "from tests_bounds import run; run()"
    )
    (tmp_path / "tests_bounds.py").write_text(BOUNDS)
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-c", script, str(target)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip() == "40 decoded"


BOUNDS = """
import numpy as np
from edgepose.decode.bottom_up_numpy import BottomUpParams
from edgepose.decode.host import HostDecoder

def run():
    rng = np.random.default_rng(1)
    table = np.array([[0, 1, 0, 1], [2, 3, 2, 1], [4, 5, 0, 2]], np.int32)
    for n in range(40):
        h, w = int(rng.integers(1, 40)), int(rng.integers(1, 40))
        cmap = rng.random((3, h, w), np.float32) if n % 2 else np.full((3, h, w), .5, np.float32)
        paf = rng.normal(size=(6, h, w)).astype(np.float32)
        cmap[rng.random(cmap.shape) < .02] = np.nan
        paf[rng.random(paf.shape) < .02] = np.inf
        params = BottomUpParams(window=int(rng.integers(1, 99)), max_peaks=int(rng.integers(1, 120)))
        HostDecoder(table, params).stages(cmap, paf)
        HostDecoder(table, params)(cmap, paf)
    print("40 decoded")
"""
