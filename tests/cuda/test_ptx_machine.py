"""The machine that executes PTX sees what is wrong with it."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.cuda import twins
from edgepose.cuda.compile import SHIPPED_PTX
from edgepose.cuda.kernels import DecodeBlock, Kernels
from edgepose.cuda.pictures import Planes, TensorLayout, address_of
from edgepose.decode.peaks import find_peaks
from edgepose.geometry import stretch
from tests.cuda.ptx_machine import RACES, REVERSE, PtxMachine, PtxRunner, machine_folder, translate

Make = Callable[..., PtxMachine]


@pytest.fixture(scope="session")
def make(pytestconfig: pytest.Config, machine: PtxMachine) -> Make:
    """Machines of other PTX; skips where there is no compiler, as `machine` does."""
    return lambda ptx, *only: PtxMachine(ptx, machine_folder(pytestconfig), only)


def sabotaged(kernel: str, pattern: str, replacement: str) -> str:
    """The shipped PTX with the first match inside of a kernel replaced."""
    ptx = SHIPPED_PTX.read_text("ascii")
    start = ptx.index(f".entry {kernel}(")
    changed, count = re.subn(pattern, replacement, ptx[start:], count=1)
    assert count == 1
    return ptx[:start] + changed


def peaks_of(machine: PtxMachine, flags: int = RACES) -> list[int]:
    """Cells of the peaks in a map that has some of exactly the threshold's height."""
    cmap = np.zeros((1, 40, 40), np.float32)
    cmap[0, ::8, ::8] = np.linspace(0.25, 0.75, 25, dtype=np.float32).reshape(5, 5)
    block = DecodeBlock(1, 0, 100)
    runner = PtxRunner(machine, flags)
    memory = runner.allow(np.zeros(block.item_words, np.int32))
    Kernels(runner).peaks(
        address_of(runner.allow(cmap)), 1, 0, (40, 40), 0.25, 5, block, address_of(memory)
    )
    runner.close()
    found = memory[block.peaks :].reshape(-1, 4)[: memory[0], 0]
    wanted = find_peaks(cmap, 0.25, 5, 100).cells @ (40, 1)
    assert found.tolist() == wanted.tolist()
    return found.tolist()


def prepare(machine: PtxMachine, flags: int = RACES) -> None:
    """A picture by the machine equals its twin."""
    picture = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    layout, affine = TensorLayout(30, 20), stretch((90, 50), (30, 20))
    runner = PtxRunner(machine, flags)
    made = Kernels(runner).preprocess([Planes.packed(runner.allow(picture))], [affine], layout)
    runner.close()
    want = twins.preprocess([Planes.packed(picture)], [affine], layout)
    np.testing.assert_array_equal(made, want)


@pytest.mark.parametrize("flags", [0, RACES, REVERSE])
def test_nothing_is_wrong_with_what_ships(machine: PtxMachine, flags: int) -> None:
    assert len(peaks_of(machine, flags)) == 25
    prepare(machine, flags)


@pytest.mark.parametrize(("kernel", "use"), [("ep_peaks", peaks_of), ("ep_preprocess", prepare)])
def test_a_barrier_that_is_gone_is_seen(make: Make, kernel: str, use: Any) -> None:
    machine = make(sabotaged(kernel, r"bar\.sync[^;]*;", ""), kernel)
    with pytest.raises(RuntimeError, match=f"{kernel}, line .* races with"):
        use(machine)


def test_a_comparison_that_is_weaker_is_seen(make: Make) -> None:
    machine = make(sabotaged("ep_peaks", r"setp\.ltu", "setp.leu"), "ep_peaks")
    with pytest.raises(AssertionError):
        peaks_of(machine)


def test_addresses_outside_of_what_was_allocated(machine: PtxMachine) -> None:
    runner = PtxRunner(machine)
    picture = runner.allow(np.zeros((20, 20, 3), np.uint8))
    planes, affine = [Planes.packed(picture)], [stretch((20, 20), (10, 10))]
    small = runner.empty((1, 3, 10, 9), np.dtype(np.float32))
    with pytest.raises(RuntimeError, match="outside of all allocations"):
        Kernels(runner).preprocess(planes, affine, TensorLayout(10, 10), small)
    odd = runner.empty((1300,), np.dtype(np.uint8))[1:]
    with pytest.raises(RuntimeError, match="misaligned"):
        Kernels(runner).preprocess(planes, affine, TensorLayout(10, 10), odd)
    runner.close()
    with pytest.raises(RuntimeError, match="outside of all allocations"):
        Kernels(runner).preprocess(planes, affine, TensorLayout(10, 10))


HEAD = """.visible .entry k(
\t.param .u64 k_param_0
)
{
\t.reg .pred \t%p<3>;
\t.reg .f32 \t%f<9>;
\t.reg .b32 \t%r<9>;
\t.reg .b64 \t%rd<9>;
\t.shared .align 4 .b8 s[16];

\tld.param.u64 \t%rd1, [k_param_0];
\tmov.u32 \t%r1, %tid.x;
"""


def run(make: Make, body: str, given: np.ndarray, threads: int = 1, flags: int = RACES) -> str:
    """Run a kernel of some lines on an array; what is wrong."""
    runner = PtxRunner(make(HEAD + body + "\tret;\n\n}\n"), flags)
    runner.allow(given)
    return runner.machine.run("k", (1, 1, 1), threads, struct.pack("P", address_of(given)), flags)


OPERATIONS: list[tuple[str, list[Any], str, Any]] = [
    ("min.f32 %f3, %f1, %f2", [np.nan, 2.0], "f", 2.0),
    ("max.f32 %f3, %f1, %f2", [3.0, np.nan], "f", 3.0),
    ("cvt.rzi.s32.f32 %r3, %f1", [3e9, 0.0], "r", 2**31 - 1),
    ("cvt.rzi.s32.f32 %r3, %f1", [np.nan, 0.0], "r", 0),
    ("cvt.rmi.f32.f32 %f3, %f1", [-1.5, 0.0], "f", -2.0),
    ("mov.b32 %r3, %f1", [1.0, 0.0], "r", 0x3F800000),
    ("shr.s32 %r3, -8, 33", [0.0, 0.0], "r", -1),
    ("shl.b32 %r3, 1, 32", [0.0, 0.0], "r", 0),
    ("div.s32 %r3, -7, 2", [0.0, 0.0], "r", -3),
    ("rem.s32 %r3, -7, 2", [0.0, 0.0], "r", -1),
    ("mul.lo.s32 %r3, 65537, 65537", [0.0, 0.0], "r", 131073),
    ("setp.ltu.f32 %p1, %f1, %f2;\n\tselp.b32 %r3, 1, 0, %p1", [np.nan, 1.0], "r", 1),
    ("setp.lt.f32 %p1, %f1, %f2;\n\tselp.b32 %r3, 1, 0, %p1", [np.nan, 1.0], "r", 0),
    ("setp.ne.f32 %p1, %f1, %f2;\n\tselp.b32 %r3, 1, 0, %p1", [np.nan, 1.0], "r", 0),
    ("setp.lt.u32 %p1, 1, -1;\n\tselp.b32 %r3, 1, 0, %p1", [0.0, 0.0], "r", 1),
]


def test_arithmetic_is_that_of_the_manual(make: Make) -> None:
    """Results by NVIDIA's description of PTX, all in one kernel."""
    given = np.array([value for row in OPERATIONS for value in (*row[1], 0.0)], np.float32)
    body = ""
    for i, (text, _, register, _) in enumerate(OPERATIONS):
        of = "f32" if register == "f" else "u32"
        body += "".join(f"\tld.global.f32 %f{j + 1}, [%rd1+{12 * i + 4 * j}];\n" for j in (0, 1))
        body += f"\t{text};\n\tst.global.{of} [%rd1+{12 * i + 8}], %{register}3;\n"
    assert run(make, body, given) == ""
    for row, bits in zip(OPERATIONS, given.view(np.int32)[2::3], strict=True):
        found = bits.view(np.float32) if row[2] == "f" else bits
        assert found == row[3], row[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("\tst.shared.u32 [s], %r1;\n", "line 13: races with a write"),
        ("\tst.global.u32 [%rd1], %r1;\n", "races with a write"),
        (
            "\tld.global.u32 %r2, [%rd1];\n\tsetp.eq.u32 %p1, %r1, 2;\n"
            "\t@%p1 st.global.u32 [%rd1], %r1;\n",
            "line 15: writes what races with a read",
        ),
        ("\tld.shared.u32 %r2, [s+16];\n", "outside of shared memory"),
        ("\tdiv.s32 %r2, 1, 0;\n", "a division by zero"),
        ("$L_1:\n\tbra.uni $L_1;\n", "runs for ever"),
        ("\tsetp.eq.u32 %p1, %r1, 0;\n\t@%p1 bra $L_1;\n\tbar.sync 0;\n$L_1:\n", "not all threads"),
    ],
)
def test_faults(make: Make, body: str, words: str) -> None:
    assert words in run(make, body, np.zeros(4, np.uint32), threads=3)


def test_what_it_does_not_know_is_refused(tmp_path: Path) -> None:
    for line in ("fma.rn.f32 %f1, %f1, %f1, %f1;", "vote.sync.all.pred %p1, %p1, 1;", "atom.x;"):
        with pytest.raises(NotImplementedError, match=re.escape(f"line 13: {line}")):
            translate(f"{HEAD}\t{line}\n\tret;\n\n}}\n")
