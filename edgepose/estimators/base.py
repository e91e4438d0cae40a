"""What every estimator offers, and its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from edgepose.engines.options import EngineOptions
from edgepose.errors import UsageError
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose

if TYPE_CHECKING:
    from edgepose.engines import Engine
    from edgepose.engines.begun import BegunEngine
    from edgepose.networks.resolve import Network

SCORES = (
    "threshold", "keypoint_threshold", "link_threshold", "min_score", "box_threshold",
    "nms_threshold",
)  # fmt: skip
Found = TypeVar("Found")  # of one frame, as it comes back from a GPU
Finish = Callable[[], list[tuple[Pose, ...]]]  # waits for the poses of frames under way


@dataclass(frozen=True)
class EstimatorOptions:
    """Options of all families; each takes what concerns it.

    Attributes:
        threshold: keypoints and links below are dropped (bottom-up); keypoints below (others).
            None = the network's own default. Of bottom-up networks peaks count from 0.02 on, as noise
            would crowd people out.
        keypoint_threshold, link_threshold: override `threshold` one by one.
        min_keypoints: poses with fewer detected keypoints are dropped.
        min_score: poses with a lower score are dropped; None = the network's own default.
        resize: "stretch" or "letterbox" instead of the network's own, "" = its own.
        size: (width, height) of the network's input where it may be chosen; None = its own.
        detector: network name, weights file and input size of the detector of a top-down network.
        box_threshold, nms_threshold, max_people: of detectors and one-stage networks.
        flip_test: top-down: average with the mirrored crop.
        detect_every: top-down: in films and cameras the detector looks at every n-th frame at least, and people
            are followed by their keypoints in between.
        batch: at most so many people or frames in one run.
        together: frames that come at the same time, one of each live source; plans take up to so many.
        begun: the engine of the network, which is being loaded with these options.

    Raises:
        UsageError: a threshold or score outside 0..1, or another way to resize.
    """

    threshold: float | None = None
    keypoint_threshold: float | None = None
    link_threshold: float | None = None
    min_keypoints: int = 3
    min_score: float | None = None
    resize: str = ""
    size: tuple[int, int] | None = None
    detector: Network | None = None
    detector_size: int = 0
    box_threshold: float | None = None
    nms_threshold: float | None = None
    max_people: int = 0
    flip_test: bool = False
    detect_every: int = 1
    batch: int = 8
    together: int = 1
    engine: EngineOptions | None = field(default=None)
    begun: BegunEngine | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in SCORES:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
                raise UsageError(f"{name} is {value!r}; scores and thresholds go from 0 to 1.")
        if self.resize not in ("", "stretch", "letterbox"):
            raise UsageError(f"resize is {self.resize!r}; it is stretch, letterbox or empty.")
        if self.detect_every < 1:
            raise UsageError(f"detect_every is {self.detect_every!r}; it is 1 or more.")


def engine_options(network: Network, options: EstimatorOptions) -> EngineOptions:
    """The engine's options with the network's input size, for files that leave it open."""
    chosen = options.engine or EngineOptions()
    width, height = options.size or (network.manifest.input.width, network.manifest.input.height)
    return replace(chosen, default_shape=chosen.default_shape or (height, width))


class Estimator(Protocol):
    """Finds the poses of frames.

    Attributes:
        manifest, topology: of the pose network.
        engine_name: what infers, for people and for the JSON lines.
        threshold: the least score of keypoints that it uses.
    """

    manifest: Manifest
    topology: Topology

    @property
    def threshold(self) -> float:
        """The least score of keypoints."""
        ...

    @property
    def engine_name(self) -> str:
        """What infers."""
        ...

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame, in the order of `frames`.

        Times go to the stages preprocess, network and postprocess of `stopwatch`.

        Raises:
            EngineError: the engine failed or answered with the wrong tensors.
        """
        ...

    def close(self) -> None:
        """Release the engines; safe to call twice."""
        ...


class Loaded(Estimator, Protocol):
    """An estimator with the engine of its pose network."""

    @property
    def engine(self) -> Engine:
        """The engine of the pose network."""
        ...


@runtime_checkable
class Expects(Protocol):
    """What estimators tell besides that take `Frame.expected`."""

    @property
    def detect_every(self) -> int:
        """In films and cameras people need be looked for in every n-th frame only."""
        ...


def detect_every(estimator: object) -> int:
    """In how many frames of a film or camera an estimator has to look for people once."""
    return estimator.detect_every if isinstance(estimator, Expects) else 1


@runtime_checkable
class OnDevice(Protocol):
    """What estimators that may run on a GPU tell."""

    @property
    def on_device(self) -> bool:
        """Frames are uploaded as they were given, and no RGB of planes is made for it."""
        ...


@runtime_checkable
class Ahead(Protocol):
    """What estimators offer besides for films: several frames are under way at the same time."""

    @property
    def ahead(self) -> int:
        """How many calls of `begin` may be under way before the first is asked for its poses."""
        ...

    def begin(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> Finish:
        """Start on frames, and return what waits for their poses; see `Estimator.estimate`."""
        ...
