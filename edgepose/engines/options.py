"""The settings of every engine, in one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from edgepose.engines.base import Feeds
from edgepose.errors import UsageError
from edgepose.machine import usable_cores

# far more than cores only cost memory: a million threads took 23 GB before anything ran
MOST_THREADS = 8 * max(8, os.cpu_count() or 1)
MOST_LANES = 4
PRECISIONS = ("fp32", "fp16", "int8", "best")


class BatchRange(NamedTuple):
    """The batches a plan is built for: smallest, the one it is tuned for, largest."""

    low: int = 1
    best: int = 1
    high: int = 1

    def __str__(self) -> str:
        return str(self.best) if self.low == self.high else ":".join(map(str, self))


class BuildProgress(Protocol):
    """Who wants to know how far a build is; calls come from the building thread."""

    def phase(self, name: str, steps: int = 0) -> None:
        """A phase begins; `steps` where its length is known."""

    def step(self, name: str, done: int) -> None:
        """`done` steps of the phase are over."""

    def end(self, name: str) -> None:
        """The phase is over."""

    def cancelled(self) -> bool:
        """True where the user asked to stop."""
        ...


def anything(model: bytes) -> None:
    """No int8 network loses too much."""


@dataclass(frozen=True)
class Calibration:
    """Pictures for int8, as network inputs.

    Attributes:
        digest: identifies the pictures and how they were prepared (part of the cache key).
        batches: makes an iterator of feeds, each (1, ...) float32; called more than once.
        count: how many feeds there are.
        check: gets the int8 network as an ONNX file's bytes before it is built, where it is made as such,
            and raises EngineError where it loses too much.
    """

    digest: str
    batches: Callable[[], Iterator[Feeds]]
    count: int
    check: Callable[[bytes], None] = anything


def in_batches(feeds: Iterator[Feeds], rows: int) -> Iterator[Feeds]:
    """Feeds of one row each as feeds of `rows` rows; the last is filled up with its own rows again.

    So every picture counts, also where there are fewer of them than a batch has rows.
    """
    while group := list(islice(feeds, rows)):
        filled = [group[i % len(group)] for i in range(rows)]
        yield {name: np.concatenate([feed[name] for feed in filled]) for name in group[0]}


@dataclass(frozen=True)
class EngineOptions:
    """How to run a network.

    Attributes:
        engine: a name of the table of engines, or "auto".
        device: openvino: CPU, GPU, NPU or AUTO; CUDA engines: number of the GPU; "" = default.
        threads: threads of a CPU engine, 0 = the engine's own choice; at most MOST_THREADS.
        lanes: calls that come at the same time, among which a CPU engine shares its threads out; see `lanes_of`.
        precision: fp32, fp16, int8, best, or "" = fp16 where TensorRT builds a plan, else as the
            file and the device have it.
        shape: (height, width) of the input, for networks that take more than one; None = as given
            by the file (or by the caller's feeds where it is dynamic).
        default_shape: (height, width) where the file leaves its size open, the engine needs one and
            `shape` is None; networks known by name have one.
        batch: batches that a plan is built for, where the network's batch is dynamic; None = 1.
        workspace: MiB that a TensorRT build may use, 0 = by the memory that is free.
        dla: core of the deep learning accelerator, None = GPU.
        calibration: pictures for int8.
        optimization_level: 0..5 of the TensorRT builder, None = its default.
        timing_cache: file of measured kernel times, None = edgepose's own for GPU and version.
        hardware_compatible: build a plan that runs on newer GPUs too.
        build: False = never build a plan, fail where none is cached.
        rebuild: build even where a cached plan fits.
        engine_file: use this plan as it is, without cache and key.
        output: also copy the plan and its sidecar here.
        progress: who is told how far a build is.
    """

    engine: str = "auto"
    device: str = ""
    threads: int = 0
    lanes: int = 1
    precision: str = ""
    shape: tuple[int, int] | None = None
    default_shape: tuple[int, int] | None = None
    batch: BatchRange | None = None
    workspace: int = 0
    dla: int | None = None
    calibration: Calibration | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    hardware_compatible: bool = False
    build: bool = True
    rebuild: bool = False
    engine_file: Path | None = None
    output: Path | None = None
    progress: BuildProgress | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.precision not in ("", *PRECISIONS):
            raise UsageError(
                f"Precision {self.precision!r} is unknown; use {', '.join(PRECISIONS)}."
            )
        if isinstance(self.threads, bool) or not isinstance(self.threads, int):
            raise UsageError(f"{self.threads!r} is no number of threads.")
        if not 0 <= self.threads <= MOST_THREADS:
            raise UsageError(
                f"{self.threads} threads are asked for; use 0 (automatic) to {MOST_THREADS} on this machine."
            )
        if self.shape and min(self.shape) < 1:
            raise UsageError(f"An input of {self.shape[0]}x{self.shape[1]} pixels is not possible.")
        if self.batch and not 1 <= self.batch.low <= self.batch.best <= self.batch.high:
            raise UsageError(f"Batch {':'.join(map(str, self.batch))} is not MIN <= OPT <= MAX.")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise UsageError(f"Optimization level {self.optimization_level} is not 0 to 5.")
        if self.workspace < 0:
            raise UsageError(f"A workspace of {self.workspace} MiB is not possible.")
        if self.dla is not None and self.dla < 0:
            raise UsageError(f"DLA core {self.dla} does not exist; the first is 0.")


def lanes_of(threads: int) -> int:
    """How many frames of a film go through a network on a CPU at the same time.

    Threads that work on one frame wait for each other behind every layer; frames that are worked on by a thread
    each do not. More than MOST_LANES only take memory: their threads are shared out among these.

    Args:
        threads: of the engine, 0 = one for each core.
    """
    return min(threads or usable_cores(), MOST_LANES)


def parse_shape(text: str) -> tuple[int, int]:
    """(height, width) of "WxH", of "hxw:HxW", or of a whole tensor "NxCxHxW", as TensorRT's tools write it.

    Raises:
        UsageError: not whole numbers from 1 to 16384.
    """
    message = (
        f"Shape {text!r} is not WIDTHxHEIGHT, such as 456x256; TensorRT's order is understood as "
        "hxw:256x456 or as the whole tensor 1x3x256x456."
    )
    order, colon, numbers = text.lower().partition(":")
    if colon and order not in ("hxw", "wxh"):
        raise UsageError(message)
    if not colon and text.count("x") + text.count("X") == 3:
        return _numbers(text, "x", 4, 16384, message)[2:]  # type: ignore[return-value]
    first, second = _numbers(numbers if colon else text, "x", 2, 16384, message)
    return (first, second) if order == "hxw" else (second, first)


def parse_batch(text: str) -> BatchRange:
    """The range of "N" or "MIN:OPT:MAX".

    Raises:
        UsageError: not whole numbers from 1 to 1024 in ascending order.
    """
    message = f"Batch {text!r} is not a number or MIN:OPT:MAX in ascending order, such as 1:4:8."
    if ":" not in text:
        (n,) = _numbers(text, ":", 1, 1024, message)
        return BatchRange(n, n, n)
    batch = BatchRange(*_numbers(text, ":", 3, 1024, message))
    if not batch.low <= batch.best <= batch.high:
        raise UsageError(message)
    return batch


def _numbers(text: str, separator: str, count: int, most: int, message: str) -> tuple[int, ...]:
    words = text.lower().split(separator)
    if len(words) != count or not all(w.isascii() and w.isdigit() and len(w) < 6 for w in words):
        raise UsageError(message)
    numbers = tuple(map(int, words))
    if not all(1 <= n <= most for n in numbers):
        raise UsageError(message)
    return numbers
