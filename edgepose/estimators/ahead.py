"""Frames under way at the same time: side by side in threads on a CPU, one behind the other on a GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic

from edgepose.estimators.base import Finish, Found
from edgepose.estimators.runner import Runner
from edgepose.preprocess import Placement
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose

if TYPE_CHECKING:
    from edgepose.estimators.device_path import DevicePath


class SideBySide(ABC):
    """Frames of a film each in a thread of its own, where the engine is made for that: of all families."""

    _runner: Runner

    @abstractmethod
    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame; see `Estimator.estimate`."""

    @property
    def ahead(self) -> int:
        """How many calls of `begin` may be under way before the first is asked for its poses."""
        return self._runner.engine.lanes - 1

    def begin(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> Finish:
        """Start on frames, and return what waits for their poses; call it in the same order.

        Where the engine takes one call at a time, the work is done before this returns.

        Raises:
            EngineError: as `estimate`, here or by what is returned.
        """
        if self._runner.threads is not None:
            return self._runner.threads.submit(self.estimate, frames, stopwatch).result
        found = self.estimate(frames, stopwatch)
        return lambda: found


class FramesAhead(SideBySide, Generic[Found]):
    """Estimates over the host, or without a detour where there is a device path.

    Attributes:
        device: the way that frames stay on the GPU; None on the CPU, and where it cannot be had.
    """

    device: DevicePath[Found] | None

    @abstractmethod
    def _estimate(self, frames: Sequence[Frame], watch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of frames that fit into a run, over the host."""

    @abstractmethod
    def _poses_of(self, found: Found, place: Placement, frame: Frame) -> tuple[Pose, ...]:
        """The poses of one frame, of what came back from the GPU."""

    @property
    def on_device(self) -> bool:
        """See `base.OnDevice`."""
        return self._runner.device is not None

    @property
    def ahead(self) -> int:
        """See `SideBySide`."""
        return 1 if self.device else super().ahead

    def begin(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> Finish:
        """See `SideBySide`. On a GPU the next frames are prepared while the network works on these, unless they
        are more than fit into a run."""
        if self.device is None or not 0 < len(frames) <= self._runner.batch:
            return super().begin(frames, stopwatch)
        return self._begin(self.device, frames, stopwatch)

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame; see `Estimator.estimate`."""
        poses: list[tuple[Pose, ...]] = []
        under_way: deque[Finish] = deque()
        for part in self._runner.batches(frames):
            if self.device is None:
                poses += self._estimate(part, stopwatch)
                continue
            under_way.append(self._begin(self.device, part, stopwatch))
            if len(under_way) > self.ahead:
                poses += under_way.popleft()()
        for finish in under_way:
            poses += finish()
        return poses

    def _begin(
        self, device: DevicePath[Any], frames: Sequence[Frame], stopwatch: Stopwatch
    ) -> Finish:
        places = self._runner.places(frames)
        pending = device.start([f.as_given for f in frames], [p.drawn for p in places], stopwatch)

        def finish() -> list[tuple[Pose, ...]]:
            with stopwatch.stage("network"):
                pending.wait()
            with stopwatch.stage("postprocess"):
                rows = zip(pending.result(), places, frames, strict=True)
                return [self._poses_of(found, place, frame) for found, place, frame in rows]

        return finish
