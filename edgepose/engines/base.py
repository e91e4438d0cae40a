"""The interface of every engine. Engines know tensors, never people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import EngineError, NetworkFileError
from edgepose.types import TensorSpec

Feeds = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[np.float32]]


Kind = Literal["format", "named", "order", "device", "no gpu", "absent"]


class Reason(NamedTuple):
    """Why an engine does not run a model here.

    Attributes:
        kind: it reads no such file; it runs only when named; another comes first; another kind of device
            is asked for; there is no GPU; or its library (or its device) is missing or fails.
        text: the same as one sentence without its stop.
    """

    kind: Kind
    text: str


@dataclass(frozen=True)
class Choice:
    """Which engine runs a model, and why.

    Attributes:
        name: name in the table of engines, for example "onnxruntime".
        because: why this one, in a few words.
        passed_over: (name, reason) of every other engine, in the order they were considered.
        notes: what the user asked for and this engine does otherwise, one sentence each.
        precision: that it should be asked for, "" = as the options say.
    """

    name: str
    because: str = ""
    passed_over: tuple[tuple[str, Reason], ...] = ()
    notes: tuple[str, ...] = ()
    precision: str = ""

    def line(self) -> str:
        """One line for people: the choice, and which engines could be here but cannot run."""
        over = self.not_here()
        return f"{self.name} ({self.because})" + (f"; {over}" if over else "")

    def not_here(self) -> str:
        """Which engines fit this machine but do not run on it, with the reason of each; often ""."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.passed_over:
            if reason.kind in ("device", "absent"):
                by_reason.setdefault(reason.text, []).append(name)
        return "; ".join(f"not {', '.join(names)}: {why}" for why, names in by_reason.items())

    def lines(self) -> list[str]:
        """One line an engine: the chosen one, then the others with their reasons."""
        head = f"{self.name}: chosen, {self.because}"
        return [head, *(f"{n}: not used, {why.text}" for n, why in self.passed_over)]


class Engine(Protocol):
    """A loaded network. Safe from any number of threads: every call gets the answer to its own feeds.

    `close` while other threads are at work lets those calls finish; later calls raise EngineError.

    Attributes:
        name: what to print, for example "onnxruntime (CPU, 2 threads)".
        inputs, outputs: tensors with -1 for dynamic dimensions.
        max_batch: the most rows one call takes; 0 = no limit.
        lanes: calls that it is made for at the same time; more than that wait, or take each other's time.
        choice: why this engine runs, filled in by `load_engine`.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int
    lanes: int
    choice: Choice

    def infer(self, feeds: Feeds) -> Outputs:
        """Run once; blocking. Outputs are float32 arrays that the caller may keep.

        Raises:
            EngineError: the engine failed, a feed does not fit, or an output is not finite.
        """
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...


MOST_VALUES = 1 << 26  # of one input; a batch of four pictures of 2048x2048 has 50 million


def check_inputs(inputs: Sequence[TensorSpec]) -> None:
    """Refuse a network whose fixed inputs alone would take the memory of the machine.

    Raises:
        NetworkFileError: an input of more than MOST_VALUES values.
    """
    for spec in inputs:
        if math.prod(max(int(d), 1) for d in spec.shape) > MOST_VALUES:
            raise NetworkFileError(
                f"The network's input {spec.name!r} is fixed to {shape_text(spec.shape)}: more than "
                f"{MOST_VALUES} values. Export it at a smaller size."
            )


def max_batch(inputs: Sequence[TensorSpec]) -> int:
    """The batch that fixed input shapes allow: 0 where the first dimension is dynamic."""
    first = [spec.shape[0] for spec in inputs if spec.shape]
    return 0 if not first or min(first) < 0 else min(first)


def shape_text(shape: Sequence[int]) -> str:
    """A shape for people: 1x3x256x456, with ? for dynamic dimensions."""
    return "x".join("?" if d < 0 else str(d) for d in shape) or "scalar"


def check_feeds(feeds: Feeds, inputs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """The feeds, contiguous and of the inputs' types, in the order of `inputs`.

    Raises:
        EngineError: a feed is missing, unknown, of another shape, or does not fit into an integer type.
    """
    known = {spec.name for spec in inputs}
    unknown = [name for name in feeds if name not in known]
    if unknown:
        raise EngineError(
            f"The network has no input {unknown[0]!r}; its inputs are {', '.join(sorted(known))}."
        )
    out = {}
    for spec in inputs:
        if spec.name not in feeds:
            raise EngineError(f"No data was given for the network's input {spec.name!r}.")
        value = np.asarray(feeds[spec.name])
        if not fits(value.shape, spec.shape):
            raise EngineError(
                f"Input {spec.name!r} takes {shape_text(spec.shape)}, "
                f"but {shape_text(value.shape)} was given."
            )
        check_kind(value, spec)
        out[spec.name] = np.ascontiguousarray(value, dtype=spec.dtype)
    return out


def check_kind(value: NDArray[Any], spec: TensorSpec) -> None:
    """Fractions and numbers out of range must not become whole numbers unseen.

    Raises:
        EngineError: the input takes integers and the values are none, or none of its range.
    """
    if spec.dtype.kind not in "iu" or value.dtype == spec.dtype or not value.size:
        return
    limits = np.iinfo(spec.dtype)
    fits_in = limits.min <= value.min() and value.max() <= limits.max
    if not fits_in or (value.dtype.kind == "f" and (value != np.rint(value)).any()):
        raise EngineError(
            f"Input {spec.name!r} takes whole numbers ({spec.dtype}, {limits.min} to {limits.max}), "
            f"but {value.dtype} from {value.min():g} to {value.max():g} was given."
        )


def fits(shape: Sequence[int], spec: Sequence[int]) -> bool:
    """True where a concrete shape satisfies one with -1 for any size from 1."""
    return len(shape) == len(spec) and all(
        d > 0 and (s < 0 or s == d) for d, s in zip(shape, spec, strict=True)
    )


def check_outputs(outputs: Mapping[str, Any]) -> Outputs:
    """Outputs as float32.

    Raises:
        EngineError: a value is NaN or infinite, which no decoder can use.
    """
    out = {}
    for name, value in outputs.items():
        array = np.asarray(value, dtype=np.float32)
        # the sum is finite unless a value is not (or the sum overflows, which the second test settles)
        with np.errstate(all="ignore"):
            suspicious = not np.isfinite(np.add.reduce(array, axis=None))
        if suspicious and not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise EngineError(
                f"Output {name!r} of the network holds {bad} of {array.size} values that are not "
                "finite: the weights or the input are damaged, or the precision is too low."
            )
        out[name] = array
    return out


def infer_all(engine: Engine, feeds: Feeds) -> Outputs:
    """Like `engine.infer`, in as many calls as the engine's largest batch asks for.

    Args:
        feeds: arrays (N, ...) with the same N; N = 0 is not allowed.

    Returns:
        Outputs (N, ...), joined along the first dimension.
    """
    rows = min(value.shape[0] for value in feeds.values())
    step = engine.max_batch or rows
    if rows <= step:
        return engine.infer(feeds)
    parts = [
        engine.infer({name: value[i : i + step] for name, value in feeds.items()})
        for i in range(0, rows, step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
