"""TensorRT's int8 calibrator (up to 10) on the user's pictures.

The largest values set the ranges (MinMax): maps are zero nearly everywhere, and what matters in them is
their few peaks, which entropy clips. edgepose-lite-body on 103 pictures of COCO, its ranges from twelve
frames of a film: AP .156, by entropy .142, by the largest values .149; with the heads in fp16 .147 and .151.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.engines.build_plan import BuildPlan
from edgepose.engines.device import Cuda
from edgepose.engines.options import in_batches
from edgepose.files import write_atomically

log = logging.getLogger(__name__)


def make_calibrator(trt: Any, plan: BuildPlan, cuda: Cuda, ranges: Path) -> Any:
    """An IInt8MinMaxCalibrator that feeds the plan's calibration pictures.

    The activation ranges that TensorRT finds are kept in `ranges` and read at the next build with the
    same network and pictures, which then needs no picture at all.

    Args:
        trt: the library, with calibrators.
        plan: with `calibration`.
        cuda: the GPU, current in the building thread.
        ranges: TensorRT's calibration cache file.
    """
    feeds = _Feeder(plan, cuda)

    class Calibrator(trt.IInt8MinMaxCalibrator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8MinMaxCalibrator.__init__(self)

        def get_batch_size(self) -> int:
            return feeds.batch

        def get_batch(self, names: list[str]) -> list[int] | None:
            return feeds.next(names)

        def read_calibration_cache(self) -> bytes | None:
            try:
                return ranges.read_bytes() or None
            except OSError:
                return None

        def write_calibration_cache(self, cache: Any) -> None:
            with suppress(OSError):  # it only makes the next build faster
                ranges.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(ranges, bytes(cache))

    return Calibrator()


def calibration_dtype(name: str) -> np.dtype[Any]:
    """What TensorRT reads at an input of that type while it calibrates: float32 where it is int8 later."""
    return np.dtype("float32" if name == "int8" else name)


class _Feeder:
    """Pictures to device memory, so many at a time as the profile's best batch."""

    def __init__(self, plan: BuildPlan, cuda: Cuda) -> None:
        assert plan.calibration is not None
        self.batch = plan.batch.best
        self._cuda = cuda
        self._stream = cuda.stream()
        self._feeds = in_batches(plan.calibration.batches(), self.batch)
        self._buffers: dict[str, Any] = {}
        self._dtypes = {t.name: calibration_dtype(t.dtype) for t in plan.outline.inputs}

    def next(self, names: list[str]) -> list[int] | None:
        """Addresses of the next batch by input name, None after the last one.

        Nothing is raised into the library: pictures that cannot be read end the calibration.
        """
        try:
            feed = next(self._feeds, None)
        except Exception as e:  # whatever reading a picture can raise
            log.warning("The calibration ends early: %s", e)
            return None
        return [self._place(name, feed[name]) for name in names] if feed else None

    def _place(self, name: str, values: Any) -> int:
        data = np.ascontiguousarray(values, dtype=self._dtypes[name])
        if name not in self._buffers:
            self._buffers[name] = self._cuda.empty(data.shape, data.dtype)
        self._cuda.upload(data, self._buffers[name], self._stream)
        self._stream.synchronize()
        return int(self._buffers[name].address)
