"""The kernels as Python functions: grids and arguments, whoever runs them.

A `Runner` is the GPU (`device.DeviceRunner`) or the host build
(`host_kernels.HostRunner`); both take the same launches, so that tests on the host prove the launch
logic too. Twins: `edgepose.cuda.twins`, `edgepose.decode.peaks`, `edgepose.decode.paf` and `edgepose.decode.movenet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.pictures import (
    IMAGE,
    PIXEL_BYTES,
    TENSOR,
    Planes,
    Shape,
    TensorLayout,
    Window,
    address_of,
    image_records,
    shape_records,
)
from edgepose.errors import UsageError
from edgepose.geometry import Affine

MAX_IMAGES = 16  # EP_IMAGES: pictures of one launch
STRIP = 2040  # source pixels that a block's shared memory holds in every format (EP_STRIP)
MAX_SIDE = 512  # cells of a side of MoveNet's maps (EP_SIDE)
PEOPLE = 16  # blocks of one keypoint, each for every so many-th person
_IMAGES_ARGUMENT = f"{MAX_IMAGES * IMAGE.itemsize}s"
_TENSOR_ARGUMENT = f"{TENSOR.itemsize}s"

# Arguments by kernel, in the letters of the struct module; "s" is a structure by value.
ARGUMENTS = {
    "ep_enlarge": "PqiiiiP",
    "ep_peaks": "PqiifiiPPq",
    "ep_line_scores": "PqiiPiPPiiPPiqPq",
    "ep_centers": "PPPiifiPqP",
    "ep_joints": "PPPiiiiPq",
    "ep_preprocess": f"{_IMAGES_ARGUMENT}{_TENSOR_ARGUMENT}i",
    "ep_warp": f"{_IMAGES_ARGUMENT}{_TENSOR_ARGUMENT}",
    "ep_overlay": "PiiiiiPi",
}
THREADS = {
    "ep_enlarge": 256,
    "ep_peaks": 512,
    "ep_line_scores": 128,
    "ep_centers": 512,
    "ep_joints": 128,
    "ep_preprocess": 128,
    "ep_warp": 256,
    "ep_overlay": 256,
}
Grid = tuple[int, int, int]


class Runner(Protocol):
    """Whoever runs kernels: has memory, and launches by name."""

    def launch(self, name: str, grid: Grid, arguments: Sequence[Any], stream: Any = None) -> None:
        """Start a kernel with `THREADS[name]` threads a block."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """A new array that kernels can write."""
        ...

    def upload(self, data: NDArray[Any], stream: Any = None) -> Any:
        """A copy of a small table that kernels can read; in stream order."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


@dataclass(frozen=True)
class DecodeBlock:
    """Where the decoding kernels leave their results: one block of 4-byte words an item of the batch.

    In an item: the counts of each keypoint, where the scores of each link start (and their total), the
    peaks as (cell, y, x, score), and the first `near` scores. The rest of the scores, which only crowds
    need, lie in a second array of `far_words` an item.
    """

    keypoints: int
    links: int
    max_peaks: int
    near: int = 8192

    @property
    def starts(self) -> int:
        """Word at which the starts of the links are."""
        return self.keypoints

    @cached_property
    def peaks(self) -> int:
        """Word at which the peaks are, a multiple of 4."""
        return (self.keypoints + self.links + 1 + 3) // 4 * 4

    @property
    def scores(self) -> int:
        """Word at which the first scores are."""
        return self.peaks + 4 * self.keypoints * self.max_peaks

    @property
    def item_words(self) -> int:
        """Words of one item."""
        return self.scores + self.near

    @property
    def far_words(self) -> int:
        """Words of scores beyond the near ones, at most."""
        return max(self.links * self.max_peaks**2 - self.near, 1)


@dataclass(frozen=True)
class PeopleBlock:
    """Where MoveNet's decoding leaves its results: one block of 4-byte words an item of the batch.

    In an item: how many people, then each person as (cell, score of the centre, top, left, bottom, right;
    in cells), then each keypoint of each person as (x, y, score).
    """

    keypoints: int
    most: int
    people: int = 4

    @property
    def points(self) -> int:
        """Word at which the keypoints are."""
        return self.people + 6 * self.most

    @property
    def item_words(self) -> int:
        """Words of one item."""
        return self.points + 3 * self.keypoints * self.most


def strip_columns(scales: Sequence[float], width: int) -> int:
    """Output columns of a block, so that the source columns behind them fit into shared memory.

    Raises:
        UsageError: a picture shrinks so much that not even one column fits.
    """
    scale = max(scales)
    columns = int((STRIP - 8) / scale)
    if columns < 1:
        raise UsageError(f"A picture cannot shrink {scale:.0f} times in width in one step.")
    return min(columns, width)


class Kernels:
    """The kernels on one runner. Everything is in stream order and returns at once on the GPU."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def preprocess(
        self,
        pictures: Sequence[Planes],
        affines: Sequence[Affine],
        layout: TensorLayout,
        out: Any = None,
        stream: Any = None,
        windows: Sequence[Window] = (),
    ) -> Any:
        """Pictures to one input tensor; see `twins.preprocess`.

        Args:
            out: array to write into; a new one where it is None.

        Raises:
            UsageError: a map that cannot be inverted or shrinks too much, or a turned one with a window.
        """
        if len(pictures) != len(affines):
            raise UsageError(f"{len(pictures)} pictures, but {len(affines)} maps to place them.")
        if out is None:
            out = self.runner.empty(layout.shape(len(pictures)), layout.dtype)
        tensor = layout.packed(address_of(out))
        records = image_records(pictures, affines, windows)
        upright = [i for i, a in enumerate(affines) if a.is_axis_aligned]
        turned = [i for i, a in enumerate(affines) if not a.is_axis_aligned]
        for start in range(0, len(upright), MAX_IMAGES):
            some = records[upright[start : start + MAX_IMAGES]]
            self._upright(some, layout, tensor, stream)
        for start in range(0, len(turned), MAX_IMAGES):
            some = records[turned[start : start + MAX_IMAGES]]
            grid = (-(-layout.width * layout.height // THREADS["ep_warp"]), 1, len(some))
            self.runner.launch("ep_warp", grid, (images_by_value(some), tensor), stream)
        return out

    def _upright(
        self, records: NDArray[Any], layout: TensorLayout, tensor: bytes, stream: Any
    ) -> None:
        scales = [abs(row[0]) for row in records["inverse"].tolist()]
        columns = strip_columns(scales, layout.width)
        grid = (-(-layout.width // columns), layout.height, len(records))
        self.runner.launch(
            "ep_preprocess", grid, (images_by_value(records), tensor, columns), stream
        )

    def overlay(
        self, pixels: Any, shapes: Sequence[Shape], bgr: bool = False, stream: Any = None
    ) -> None:
        """Draw shapes into a packed picture in place; see `twins.overlay`."""
        channels = int(pixels.shape[2])
        names = {3: ("rgb8", "bgr8"), 4: ("rgba8", "bgra8")}
        if channels not in names:
            raise UsageError(f"Cannot draw into an array of shape {tuple(pixels.shape)}.")
        picture = Planes.packed(pixels, "rgb8" if channels == 3 else "rgba8")
        records = shape_records(shapes)
        if not len(records):
            return
        table = self.runner.upload(records, stream)
        grid = (-(-picture.width // 32), -(-picture.height // 8), 1)
        arguments = (
            address_of(pixels),
            picture.width,
            picture.height,
            picture.pitches[0],
            PIXEL_BYTES[picture.format],
            int(bgr),
            address_of(table),
            len(records),
        )
        self.runner.launch("ep_overlay", grid, arguments, stream)

    def enlarge(
        self,
        maps: int,
        shape: tuple[int, int, int, int],
        batch_stride: int,
        factor: int,
        out: int,
        stream: Any = None,
    ) -> None:
        """Enlarge maps by a whole factor; see `twins.enlarge`.

        Args:
            maps: address of float32 maps, items `batch_stride` values apart.
            shape: (batch, maps, height, width) before.
            out: address of float32 (batch, maps, height * factor, width * factor).
        """
        batch, count, height, width = shape
        blocks = -(-height * width * factor // THREADS["ep_enlarge"])
        arguments = (maps, batch_stride, count, height, width, factor, out)
        self.runner.launch("ep_enlarge", (blocks, count, batch), arguments, stream)

    def peaks(
        self,
        cmap: int,
        batch: int,
        batch_stride: int,
        size: tuple[int, int],
        threshold: float,
        window: int,
        block: DecodeBlock,
        memory: int,
        stream: Any = None,
    ) -> None:
        """Find and refine the peaks of `batch` stacks of maps.

        Args:
            cmap: address of float32 maps (keypoints, height, width), `batch_stride` values apart.
            size: (height, width).
            threshold, window: see `edgepose.decode.peaks.find_peaks`.
            block: where counts and peaks go, from address `memory` on.
        """
        arguments = (
            cmap,
            batch_stride,
            *size,
            threshold,
            window,
            block.max_peaks,
            memory,
            memory + 4 * block.peaks,
            block.item_words,
        )
        self.runner.launch("ep_peaks", (block.keypoints, batch, 1), arguments, stream)

    def people(
        self,
        maps: Mapping[str, int],
        batch: int,
        size: tuple[int, int],
        least: float,
        block: PeopleBlock,
        memory: int,
        candidates: int,
        stream: Any = None,
    ) -> None:
        """MoveNet's maps to people; see `edgepose.decode.movenet`.

        Args:
            maps: address of each of the six float32 maps (batch, channels, height, width).
            size: (height, width), at most `MAX_SIDE`.
            least: people score more.
            block: where people and keypoints go, from address `memory` on.
            candidates: address of room for an int32 a cell of the batch.
        """
        centre = (maps[n] for n in ("center", "box_scale", "box_offset"))
        found = (least, block.most, memory, block.item_words, candidates)
        self.runner.launch("ep_centers", (batch, 1, 1), (*centre, *size, *found), stream)
        heat = (maps[n] for n in ("kpt_heatmap", "kpt_regress", "kpt_offset"))
        to = (block.points, memory, block.item_words)
        grid = (PEOPLE, block.keypoints, batch)
        self.runner.launch("ep_joints", grid, (*heat, block.keypoints, *size, *to), stream)

    def line_scores(
        self,
        paf: int,
        batch: int,
        batch_stride: int,
        size: tuple[int, int],
        table: int,
        samples: int,
        block: DecodeBlock,
        memory: int,
        far: int,
        stream: Any = None,
    ) -> None:
        """Score all pairs of peaks of all links; `peaks` has filled `memory`.

        Args:
            paf: address of float32 fields, `batch_stride` values apart.
            table: address of the topology's int32 table.
            far: address of the scores that do not fit near.
        """
        if not block.links:
            return
        arguments = (
            paf,
            batch_stride,
            *size,
            table,
            block.links,
            memory,
            memory + 4 * block.peaks,
            block.max_peaks,
            samples,
            memory + 4 * block.starts,
            memory + 4 * block.scores,
            block.near,
            block.item_words,
            far,
            block.far_words,
        )
        blocks = min(8, -(-(block.max_peaks**2) // THREADS["ep_line_scores"]))
        self.runner.launch("ep_line_scores", (blocks, block.links, batch), arguments, stream)


def images_by_value(records: NDArray[Any]) -> bytes:
    """`EpImages`: the records and zeros up to IMAGES of them."""
    return records.tobytes().ljust(MAX_IMAGES * IMAGE.itemsize, b"\0")
