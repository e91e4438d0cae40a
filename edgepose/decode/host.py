"""Bottom-up decoding by the compiled library: one call from maps to poses."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda import host
from edgepose.decode.bottom_up_numpy import BottomUpParams, Decoded, Stages
from edgepose.decode.peaks import Peaks
from edgepose.types import Float32Array, Int32Array

_POINTERS = "offsets cells positions confidence scores connections link_scores objects poses"


class _HostJob(ctypes.Structure):
    """`Job` of host_decode.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("cmap", "paf", "table")),
        *((name, ctypes.c_int) for name in ("keypoints", "links", "height", "width")),
        ("keypoint_threshold", ctypes.c_float),
        ("link_threshold", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("window", "samples", "max_peaks", "max_objects")),
        *((name, ctypes.c_void_p) for name in (*_POINTERS.split(), "pose_links", "scratch")),
        ("keep_scores", ctypes.c_int),
    )


class Workspace:
    """Memory of one thread for maps of one size, and the job that points into it."""

    def __init__(
        self, table: Int32Array, params: BottomUpParams, shape: tuple[int, int, int], keep: bool
    ) -> None:
        keypoints, height, width = shape
        links, peaks = len(table), min(params.max_peaks, height * width)
        objects = min(params.max_objects, keypoints * peaks)
        self.arrays: dict[str, NDArray[Any]] = {
            "table": np.ascontiguousarray(table, np.int32),
            "offsets": np.zeros(keypoints + 1, np.int32),
            "cells": np.zeros(keypoints * peaks, np.int32),
            "positions": np.zeros((keypoints * peaks, 2), np.float32),
            "confidence": np.zeros(keypoints * peaks, np.float32),
            "scores": np.zeros(max(links if keep else 1, 1) * peaks * peaks, np.float32),
            "connections": np.zeros((links, 2, peaks), np.int32),
            "link_scores": np.zeros((links, peaks), np.float32),
            "objects": np.zeros((objects, keypoints), np.int32),
            "poses": np.zeros((objects, keypoints, 3), np.float32),
            "pose_links": np.zeros((objects, links), np.float32),
        }
        self.job = job = _HostJob()
        job.keypoints, job.links, job.height, job.width = keypoints, links, height, width
        job.keypoint_threshold = params.keypoint_threshold
        job.link_threshold = params.link_threshold
        # A window wider than the map sees no more than the map.
        job.window, job.samples = params.window, params.samples
        job.max_peaks, job.max_objects, job.keep_scores = peaks, objects, keep
        library = host.library()
        library.decode_scratch_words.restype = ctypes.c_longlong
        words = library.decode_scratch_words(ctypes.byref(job))
        self.arrays["scratch"] = np.zeros(words, np.int64)
        for name, array in self.arrays.items():
            setattr(job, name, array.ctypes.data)
        self.reference = ctypes.byref(job)

    def decoded(self, objects: int) -> Decoded:
        """Copies of the poses that the last call left."""
        return Decoded(
            self.arrays["poses"][:objects].copy(), self.arrays["pose_links"][:objects].copy()
        )


class HostDecoder:
    """The compiled decoder for one topology; safe to call from several threads.

    Raises:
        BackendUnavailable: the library was not built.
    """

    def __init__(self, table: Int32Array, params: BottomUpParams) -> None:
        self._table = table
        self._params = params
        self._decode = host.library().decode
        self._decode_rest = host.library().decode_rest
        self._threads = threading.local()

    def __call__(self, cmap: Float32Array, paf: Float32Array) -> Decoded:
        """Decode maps that `check_maps` let pass."""
        work = self._workspace("maps", cmap.shape, keep=False)
        work.job.cmap, work.job.paf = cmap.ctypes.data, paf.ctypes.data
        return work.decoded(self._decode(work.reference))

    def _workspace(self, use: str, shape: tuple[int, ...], keep: bool) -> Workspace:
        """This thread's workspace for a use, made again when the maps change their size."""
        kept: dict[str, tuple[tuple[int, ...], Workspace]] = self._threads.__dict__
        if use not in kept or kept[use][0] != shape:
            keypoints, height, width = shape
            work = Workspace(self._table, self._params, (keypoints, height, width), keep)
            kept[use] = (shape, work)
        return kept[use][1]

    def rest(
        self,
        peaks: Peaks,
        positions: Float32Array,
        confidence: Float32Array,
        scores: Float32Array,
        size: tuple[int, int],
    ) -> Decoded:
        """From peaks and line scores, found on the GPU, to objects."""
        work = self._workspace("rest", (len(peaks.offsets) - 1, *size), keep=True)
        a, total = work.arrays, len(confidence)
        a["offsets"][:] = peaks.offsets
        a["cells"][:total] = peaks.cells[:, 0] * size[1] + peaks.cells[:, 1]
        a["positions"][:total] = positions
        a["confidence"][:total] = confidence
        a["scores"][: len(scores)] = scores
        return work.decoded(self._decode_rest(work.reference))

    def stages(self, cmap: Float32Array, paf: Float32Array) -> Stages:
        """Everything between the maps and the result, for tests."""
        keypoints, height, width = cmap.shape
        work = Workspace(self._table, self._params, (keypoints, height, width), keep=True)
        work.job.cmap, work.job.paf = cmap.ctypes.data, paf.ctypes.data
        objects = self._decode(work.reference)
        a = work.arrays
        offsets = a["offsets"]
        counts, total = np.diff(offsets), offsets[-1]
        widest = int(counts.max(initial=0))
        cells = np.stack(np.divmod(a["cells"][:total], width), axis=1).astype(np.int32)
        pairs = int((counts[self._table[:, 2]] * counts[self._table[:, 3]]).sum())
        connections, link_scores = a["connections"][..., :widest], a["link_scores"][:, :widest]
        # Beyond the peaks of a keypoint nothing was written.
        real = np.arange(widest) < counts[self._table[:, 2:]][..., None]
        return Stages(
            Peaks(offsets, cells),
            a["positions"][:total],
            a["scores"][:pairs],
            np.where(real, connections, -1),
            np.where(real[:, 0], link_scores, np.float32(0)),
            a["objects"][:objects],
        )
