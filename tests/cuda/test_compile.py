"""Compiling the kernels for GPUs: all targets, the cache, and the PTX that is shipped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgepose.cuda import compile as compiler
from edgepose.cuda.kernels import ARGUMENTS
from edgepose.errors import BackendUnavailable
from edgepose.paths import kernels_cache


@pytest.mark.parametrize("tool", ["nvrtc", "nvcc"])
def test_all_targets_compile(tool: str) -> None:
    compile_for = {"nvrtc": compiler.compile_nvrtc, "nvcc": compiler.compile_nvcc}[tool]
    unknown = []
    for target in compiler.TARGETS:
        try:
            cubin = compile_for(target)
        except BackendUnavailable as e:
            if "not installed" in str(e):
                pytest.skip(str(e))
            if not re.search(r"invalid value for --gpu-architecture|Unsupported gpu arch", str(e)):
                raise
            unknown.append(target)  # newer than the tool, or older
            continue
        assert cubin.startswith(b"\x7fELF")
        assert all(name.encode() in cubin for name in ARGUMENTS)
    assert len(unknown) < len(compiler.TARGETS)


def test_the_shipped_ptx_is_of_these_sources() -> None:
    ptx = (
        compiler.shipped_ptx().decode()
    )  # raises where it is not: make it again, see docs/kernels.md
    assert all(f".entry {name}(" in ptx for name in ARGUMENTS)
    version = re.search(r"^\.version (\d+)\.(\d+)$", ptx, re.MULTILINE)
    assert version is not None
    assert (int(version[1]), int(version[2])) <= (8, 2)  # what the driver of JetPack 6.0 takes
    assert ".target sm_75" in ptx
    assert "fma.rn" not in ptx  # rounding is that of the host build


def test_ptx_of_other_sources_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kernels.ptx"
    with pytest.raises(BackendUnavailable, match="no PTX is shipped"):
        compiler.shipped_ptx(path)
    path.write_text("// sources 0123456789abcdef\n.version 8.1\n")
    with pytest.raises(BackendUnavailable, match="other sources"):
        compiler.shipped_ptx(path)


def test_the_program_has_no_includes_and_every_kernel() -> None:
    text = compiler.program()
    assert "#include" not in text
    assert "#pragma once" not in text
    for name in ARGUMENTS:
        assert text.count(f"EP_KERNEL {name}(") == 1


def test_a_cubin_is_compiled_once_for_a_target_and_driver() -> None:
    made = []

    def make() -> bytes:
        made.append(1)
        return b"cubin"

    assert compiler.cached("87", "12.6", make) == b"cubin"
    assert compiler.cached("87", "12.6", make) == b"cubin"
    assert len(made) == 1
    compiler.cached("90", "12.6", make)
    compiler.cached("87", "13.0", make)
    assert len(made) == 3
    compiler.forget("87", "12.6")
    compiler.cached("87", "12.6", make)
    assert len(made) == 4
    assert len(list(kernels_cache().iterdir())) == 3


@pytest.mark.parametrize("harm", ["a bit", "cut", "empty", "of an earlier version"])
def test_a_damaged_cubin_is_compiled_again(harm: str) -> None:
    cubin = bytes(range(256))
    assert compiler.cached("87", "12.6", lambda: cubin) == cubin
    (path,) = kernels_cache().iterdir()
    kept = path.read_bytes()
    flipped = kept[:100] + bytes([kept[100] ^ 1]) + kept[101:]
    path.write_bytes({"a bit": flipped, "cut": kept[:200], "empty": b""}.get(harm, cubin))
    assert compiler.cached("87", "12.6", lambda: b"made again") == b"made again"
    assert compiler.cached("87", "12.6", lambda: b"never made") == b"made again"


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPOSE_CACHE", "/dev/null/cache")
    assert compiler.cached("87", "12.6", lambda: b"cubin") == b"cubin"


class Refused(Exception):
    """The driver's no."""


def test_ways_in_turn_and_all_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable() -> bytes:
        raise BackendUnavailable("not here")

    def load(data: bytes) -> str:
        if data.startswith(b"// sources"):
            raise Refused("PTX too new")
        return "module"

    monkeypatch.setattr(compiler, "compile_nvrtc", lambda target: b"made for " + target.encode())
    assert compiler.load(load, Refused, "87", "12.6") == ("module", "NVRTC")
    compiler.forget("87", "12.6")
    monkeypatch.setattr(compiler, "compile_nvrtc", lambda target: unavailable())
    monkeypatch.setattr(compiler, "compile_nvcc", lambda target: b"by nvcc")
    assert compiler.load(load, Refused, "87", "12.6") == ("module", "nvcc")
    compiler.forget("87", "12.6")
    monkeypatch.setattr(compiler, "compile_nvcc", lambda target: unavailable())
    with pytest.raises(BackendUnavailable, match=r"PTX too new.*NVRTC: not here.*nvcc: not here"):
        compiler.load(load, Refused, "87", "12.6")


def test_a_cubin_in_the_cache_that_does_not_load_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(data: bytes) -> str:
        if data != b"good":
            raise Refused("no")
        return "module"

    compiler.cached("87", "12.6", lambda: b"damaged")
    monkeypatch.setattr(compiler, "compile_nvrtc", lambda target: b"good")
    monkeypatch.setattr(compiler, "compile_nvcc", lambda target: b"good")
    assert compiler.load(load, Refused, "87", "12.6")[0] == "module"


def test_a_source_that_does_not_compile_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "program", lambda: "this is no kernel")
    messages = []
    for way in (compiler.compile_nvrtc, compiler.compile_nvcc):
        try:
            way("87")
        except BackendUnavailable as e:
            messages.append(str(e))
    messages = [m for m in messages if "not installed" not in m]
    assert all("error" in m for m in messages)
    if not messages:
        pytest.skip("neither NVRTC nor nvcc is here")
