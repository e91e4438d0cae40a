"""A machine that executes PTX on the CPU: the artefact that ships, not its sources built for the host.

PTX becomes C++ (a function a kernel, which threads leave and enter again at barriers), g++ compiles it on
`ptx_machine.h`, which checks addresses, alignment, barriers and races. It knows the part of PTX that our
kernels use, and refuses the rest.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.cuda import host_build
from edgepose.cuda.kernels import ARGUMENTS, THREADS, Grid

HEADER = Path(__file__).with_name("ptx_machine.h")
FLAGS = "-std=c++17 -O1 -w -shared -fPIC -ffp-contract=off -fvisibility=hidden".split()
RACES, REVERSE = 1, 2

C_TYPES = {
    **{f"{kind}{bits}": f"uint{bits}_t" for kind in "ub" for bits in (8, 16, 32, 64)},
    **{f"s{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    "f32": "float",
    "pred": "bool",
}
REGISTERS = {
    "pred": "bool",
    "b16": "uint16_t",
    "b32": "uint32_t",
    "b64": "uint64_t",
    "f32": "float",
}
SPACES = ("global", "shared", "param")
SPECIAL = {"%tid.x": "tid", "%ntid.x": "ntid"} | {
    f"%{name}.{axis}": f"{name}[{i}]"
    for name in ("ctaid", "nctaid")
    for i, axis in enumerate("xyz")
}
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
UNORDERED = {"ltu": ">=", "leu": ">", "gtu": "<=", "geu": "<"}  # true unless this holds
INFIX = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}


@dataclass
class Block:
    """A basic block: what its instructions are, and the bytes that they move in each space."""

    opcodes: Counter[str] = field(default_factory=Counter)
    loaded: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)


@dataclass
class Translated:
    """A kernel in C++, and its basic blocks in the order of `ptx_hits`."""

    name: str
    text: str
    blocks: list[Block]


_ENTRY = re.compile(
    r"^\.visible \.entry (\w+)\(\n(.*?)\n\)(?:\n\.\w+ [\d, ]+)*\n\{\n(.*?)\n\}$", re.M | re.S
)
_PARAM = re.compile(
    r"\.param (?:\.align (\d+) )?\.(\w+)(?: \.ptr(?: \.\w+)*(?: \.align \d+)?)? (\w+)(?:\[(\d+)\])?"
)
_REGISTER = re.compile(r"\.reg \.(\w+)\s+%(\w+)<(\d+)>;")
_SHARED = re.compile(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\];")
_INSTRUCTION = re.compile(r"(?:@(!?)%(p\d+)\s+)?([\w.]+)\s*(.*);$")


def _aligned(at: int, to: int) -> int:
    return -(-at // to) * to


class _Kernel:
    """Translates one kernel."""

    def __init__(self, name: str, params: str, body: str, line: int) -> None:
        self.name = name
        self.places: dict[str, int] = {}  # parameters and shared arrays to their offsets
        self.registers: list[tuple[str, str]] = []
        self.blocks: list[Block] = []
        self.code: list[str] = []
        self.seen: set[str] = set()  # labels
        self.bars = 0
        self.params = self.shared = 0
        for found in _PARAM.finditer(params):
            size = int(re.sub(r"\D", "", found[2])) // 8
            self.params = _aligned(self.params, int(found[1] or size))
            self.places[found[3]] = self.params
            self.params += size * int(found[4] or 1)
        self._enter()
        for self.line, text in enumerate(body.split("\n"), line):
            self._statement(text.strip())

    def _enter(self) -> None:
        """A new basic block."""
        self.code.append(f"++hits[{len(self.blocks)}];")
        self.blocks.append(Block())

    def _statement(self, text: str) -> None:
        if not text or text.startswith(("//", ".pragma")):
            return
        if found := _REGISTER.match(text):
            names = [f"{found[2]}{i}" for i in range(int(found[3]))]
            self.registers += [(REGISTERS[found[1]], name) for name in names]
        elif found := _SHARED.match(text):
            self.shared = _aligned(self.shared, int(found[1]))
            self.places[found[2]] = self.shared
            self.shared += int(found[3])
        elif text.startswith("$"):
            self.seen.add(text[1:-1])
            self.code.append(f"{text[1:-1]}:;")
            self._enter()
        else:
            self._instruction(text)

    def _instruction(self, text: str) -> None:
        found = _INSTRUCTION.match(text)
        if not found:
            raise NotImplementedError(f"line {self.line}: {text}")
        no, predicate, opcode, rest = found.groups()
        given = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", rest)
        self.blocks[-1].opcodes[opcode] += 1
        try:
            made = self._made(opcode.split("."), given)
        except (KeyError, ValueError, IndexError, AttributeError):
            raise NotImplementedError(f"line {self.line}: {text}") from None
        condition = f"if ({'!' if no else ''}{predicate}) " if predicate else ""
        self.code.append(f"{condition}{{ {made} }}")
        if opcode.startswith(("bra", "bar", "ret")):
            self._enter()

    def _made(self, words: list[str], given: list[str]) -> str:
        kind, of = words[0], words[-1]
        if kind == "ret":
            return "return DONE;"
        if kind == "bra":
            label = given[0][1:]
            stop = (
                f'if (!--fuel) fault("runs for ever", {self.line}); ' if label in self.seen else ""
            )
            return f"{stop}goto {label};"
        if kind == "bar":
            self.bars += 1
            return f"SAVE return {self.bars}; case {self.bars}: LOAD"
        if kind in ("ld", "st"):
            return self._memory(kind == "st", words, given)
        values = [self._value(text, "b32" if kind in ("shl", "shr") and i == 1 else of)
                  for i, text in enumerate(given[1:])]  # fmt: skip
        return f"{given[0][1:]} = {self._expression(words, values, given)};"

    def _value(self, text: str, of: str) -> str:
        """An operand as a C++ expression of a PTX type."""
        if text in SPECIAL:
            return SPECIAL[text]
        if text.startswith("0f"):
            return f"as_float(0x{text[2:]}u)"
        if text in self.places:
            return f"({C_TYPES[of]}){self.places[text]}"
        if text.startswith("%"):
            return f"({C_TYPES[of]}){text[1:]}"
        return f"({C_TYPES[of]}){int(text)}ll"

    def _memory(self, write: bool, words: list[str], given: list[str]) -> str:
        space = next(w for w in words if w in SPACES)
        of, size = words[-1], int(words[-1][1:]) // 8
        where, registers = given if write else given[::-1]
        names = re.findall(r"%\w+|[-\w]+", registers)
        found = re.fullmatch(r"\[(%?\w+)(?:\+(-?\d+))?\]", where)
        assert found is not None
        base = self._value(found[1], "b64")
        moved = self.blocks[-1].stored if write else self.blocks[-1].loaded
        moved[space] += size * len(names)
        out = [f"aligned({base} + {int(found[2] or 0)}ll, {size * len(names)}, {self.line});"]
        for i, name in enumerate(names):
            at = f"{space}_at({base} + {int(found[2] or 0) + i * size}ll, {size}, {str(write).lower()}, {self.line})"
            if write:
                out.append(f"store<{C_TYPES[of]}>({at}, {self._value(name, of)});")
            else:
                out.append(f"{name[1:]} = load<{C_TYPES[of]}>({at});")
        return " ".join(out)

    def _expression(self, words: list[str], v: list[str], given: list[str]) -> str:
        """The result of an instruction of two words or more; `v` are its operands in its last type."""
        kind, of = words[0], words[-1]
        unsigned = C_TYPES[of.replace("s", "u")]
        if kind in INFIX and (kind != "mul" or of == "f32" or "lo" in words):
            if of in ("f32", "pred"):
                return f"{v[0]} {INFIX[kind]} {v[1]}"
            return f"({unsigned})({unsigned}){v[0]} {INFIX[kind]} ({unsigned}){v[1]}"
        if kind == "mul":
            (size,) = {"wide"} & set(words) and (2 * int(of[1:]),)
            wide = C_TYPES[f"{of[0]}{size}"]
            return f"({wide}){v[0]} * ({wide}){v[1]}"
        if kind == "mad" and "lo" in words:
            return f"({unsigned}){v[0]} * ({unsigned}){v[1]} + ({unsigned}){v[2]}"
        if kind == "div":
            return f"{v[0]} / {v[1]}" if of == "f32" else f"div_({v[0]}, {v[1]}, {self.line})"
        if kind == "rem":
            return f"rem_({v[0]}, {v[1]}, {self.line})"
        if kind in ("min", "max", "shl", "shr"):
            return f"{kind}_({v[0]}, {v[1]})"
        if kind in ("mov", "cvta"):
            return self._moved(given, v[0])
        if kind == "selp":
            return f"{given[3][1:]} ? {v[0]} : {v[1]}"
        if kind == "setp":
            return self._compared(words[1], of, v)
        if kind == "cvt":
            return self._converted(words, v[0])
        return {
            "brev": f"brev_({v[0]})",
            "clz": f"{v[0]} ? __builtin_clz({v[0]}) : 32",
            "bfind": f"{v[0]} ? {'__builtin_clz' if 'shiftamt' in words else '31 - __builtin_clz'}({v[0]}) : ~0u",
            "rcp": f"1.f / {v[0]}",
            "sqrt": f"__builtin_sqrtf({v[0]})",
            "neg": f"-{v[0]}" if of == "f32" else f"({unsigned})0 - ({unsigned}){v[0]}",
            "abs": f"__builtin_fabsf({v[0]})"
            if of == "f32"
            else f"{v[0]} < 0 ? 0 - {v[0]} : {v[0]}",
            "not": f"!{v[0]}" if of == "pred" else f"~{v[0]}",
        }[kind]

    @staticmethod
    def _moved(given: list[str], value: str) -> str:
        """mov: between float and integer registers the bits stay."""
        to, source = (re.sub(r"\d", "", g.lstrip("%")) if g.startswith("%") else "" for g in given)
        if to == "f" and source == "r":
            return f"as_float({value})"
        if to == "r" and source == "f":
            return f"as_bits({given[1][1:]})"
        return value

    @staticmethod
    def _compared(how: str, of: str, v: list[str]) -> str:
        if how in UNORDERED:
            return f"!({v[0]} {UNORDERED[how]} {v[1]})"
        if of == "f32" and how in ("ne", "equ"):
            return f"{'' if how == 'ne' else '!'}({v[0]} < {v[1]} || {v[0]} > {v[1]})"
        return f"{v[0]} {COMPARE['ne' if how == 'neu' else how]} {v[1]}"

    @staticmethod
    def _converted(words: list[str], value: str) -> str:
        rounding, to, of = "".join(words[1:-2]), words[-2], words[-1]
        if of == "f32":
            names = {
                ("rmi", "f32"): "__builtin_floorf",
                ("rzi", "s32"): "to_s32",
                ("rzi", "u32"): "to_u32",
                ("rn", "f16"): "to_f16",
            }
            return f"{names[rounding, to]}({value})"
        if to == "f32" and rounding != "rn":
            raise KeyError(rounding)
        return f"({C_TYPES[to]}){value}"

    def done(self) -> Translated:
        """The whole of it."""
        declared = "".join(f"{t} {n}; " for t, n in self.registers)
        saved = "".join(f"r->{n} = {n}; " for _, n in self.registers)
        loaded = "".join(f"{n} = r->{n}; " for _, n in self.registers)
        code = "\n  ".join(self.code)
        text = (
            f"namespace n_{self.name} {{\n"
            f"static u64 hits[{len(self.blocks)}];\nstruct Saved {{ {declared} }};\n"
            f"#undef SAVE\n#undef LOAD\n#define SAVE {saved}\n#define LOAD {loaded}\n"
            f"static int run(void* saved, int from) {{\n  Saved* r = (Saved*)saved;\n  {declared}\n"
            f"  switch (from) {{ case DONE:\n  {code}\n  }}\n  return DONE;\n}}\n}}\n"
        )
        return Translated(self.name, text, self.blocks)

    def row(self) -> str:
        """Its line in the table of kernels."""
        n = f"n_{self.name}"
        return (
            f'{{"{self.name}", {n}::run, sizeof({n}::Saved), {self.params}, {self.shared}, '
            f"{n}::hits, {len(self.blocks)}}},"
        )


def translate(ptx: str, only: Sequence[str] = ()) -> tuple[str, dict[str, list[Block]]]:
    """PTX as a C++ program, and the basic blocks of each kernel.

    Args:
        only: names of kernels, all where it is empty.

    Raises:
        NotImplementedError: an instruction that our kernels did not use so far.
    """
    parts, rows, blocks = [f'#include "{HEADER}"\n'], [], {}
    for found in _ENTRY.finditer(ptx):
        if only and found[1] not in only:
            continue
        kernel = _Kernel(*found.groups(), ptx.count("\n", 0, found.start(3)) + 1)
        done = kernel.done()
        parts.append(done.text)
        rows.append(kernel.row())
        blocks[done.name] = done.blocks
    parts.append(
        f"static const Kernel kernels[] = {{\n{chr(10).join(rows)}\n}};\n"
        "static const Kernel* kernel_of(const char* name) {\n"
        "  for (const Kernel& k : kernels) if (!std::strcmp(k.name, name)) return &k;\n  return nullptr;\n}\n"
        f'EP_API const char* ptx_digest() {{ return "{digest(ptx)}"; }}\n'
    )
    return "".join(parts), blocks


def digest(ptx: str) -> str:
    """FNV-1a of the text, which the stand-in for the driver counts as well."""
    value = 0xCBF29CE484222325
    for byte in ptx.encode("ascii"):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def machine_folder(config: Any) -> Path:
    """Where a pytest keeps compiled machines from run to run."""
    cache = getattr(config, "cache", None)  # absent with -p no:cacheprovider
    return Path(cache.mkdir("ptx") if cache else tempfile.mkdtemp())


class PtxMachine:
    """PTX, compiled once for each text into a folder.

    Args:
        ptx: the text.
        folder: where compiled machines are kept.
        only: as of `translate`.

    Attributes:
        path: of the library.
        blocks: basic blocks of each kernel.

    Raises:
        LookupError: no C++ compiler is here.
    """

    def __init__(self, ptx: str, folder: Path, only: Sequence[str] = ()) -> None:
        compiler = host_build.compiler()
        if compiler is None:
            raise LookupError("no C++ compiler is here")
        source, self.blocks = translate(ptx, only)
        key = hashlib.sha256(f"{source}{HEADER.read_text()}{FLAGS}".encode()).hexdigest()[:16]
        self.path = folder / f"{key}.so"
        if not self.path.exists():
            text, made = folder / f"{key}.cpp", folder / f"{key}.{os.getpid()}.tmp"
            text.write_text(source, encoding="utf-8")
            command = [*compiler, *FLAGS, str(text), "-o", str(made)]
            run = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert run.returncode == 0, run.stderr[-3000:]
            made.replace(self.path)
        self.library = ctypes.CDLL(str(self.path))
        self.library.ptx_run.restype = ctypes.c_char_p
        self.library.ptx_run.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64,
                                         ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int]  # fmt: skip
        self.library.ptx_hits.restype = ctypes.POINTER(ctypes.c_uint64)
        self.library.ptx_allow.argtypes = [ctypes.c_uint64, ctypes.c_uint64]

    def run(self, name: str, grid: Grid, threads: int, packed: bytes, flags: int = 0) -> str:
        """Run a kernel; "" or what is wrong with it."""
        blocks = (ctypes.c_uint32 * 3)(*grid)
        said: bytes = self.library.ptx_run(
            name.encode(), packed, len(packed), blocks, threads, flags
        )
        return said.decode()

    def hits(self, name: str) -> list[int]:
        """How often each basic block of a kernel was entered by a thread so far."""
        return self.library.ptx_hits(name.encode())[: len(self.blocks[name])]  # type: ignore[no-any-return]


class PtxRunner:
    """A `Runner` of `edgepose.cuda.kernels` on a machine, with numpy arrays as memory.

    Args:
        flags: RACES, REVERSE.
    """

    def __init__(self, machine: PtxMachine, flags: int = 0) -> None:
        self.machine, self._flags = machine, flags
        self._kept: list[Any] = []

    def launch(self, name: str, grid: Grid, arguments: Sequence[Any], stream: Any = None) -> None:
        packed = struct.pack(ARGUMENTS[name], *arguments)
        if wrong := self.machine.run(name, grid, THREADS[name], packed, self._flags):
            raise RuntimeError(wrong)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        return self.allow(np.empty(shape, dtype))

    def upload(self, data: np.ndarray, stream: Any = None) -> np.ndarray:
        return self.allow(data)

    def allow(self, array: np.ndarray) -> np.ndarray:
        """Kernels may use the memory of this array, from its first to its last element."""
        steps = zip(array.shape, array.strides, strict=True)
        span = sum((n - 1) * stride for n, stride in steps) + array.itemsize if array.size else 0
        self.machine.library.ptx_allow(array.__array_interface__["data"][0], span)
        self._kept.append(array)
        return array

    def close(self) -> None:
        """Forget all arrays."""
        self.machine.library.ptx_forget_all()
        self._kept.clear()
