"""The engines of a server: the one it was started with, and those that addresses ask for."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.closing import Closing
from edgepose.engines import EngineOptions, choose
from edgepose.errors import UnknownNameError, UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.base import detect_every
from edgepose.networks import registry
from edgepose.timing import Stopwatch

if TYPE_CHECKING:
    from edgepose.estimators import Estimator
    from edgepose.networks.resolve import Network
    from edgepose.types import Frame, Pose

MOST_TOGETHER = 16  # channels whose frames share a run of the network
MAX_ENGINES = 3  # device and precision may be asked for by address: not without bound
DEVICES = ("CPU", "GPU", "NPU", "AUTO")
PRECISIONS = ("FP32", "FP16", "FP16-INT8")
Key = tuple[EngineOptions, Path]


@dataclass(eq=False)
class _Ask:
    """Frames of one channel that wait for the engine."""

    frames: Sequence[Frame]
    found: list[tuple[Pose, ...]] | None = None
    error: BaseException | None = None
    stages: dict[str, float] = field(default_factory=dict)


class SharedEstimator:
    """An estimator that several channels share: frames that wait for it go through it together.

    Whoever gets the engine takes along all who wait: no frame waits for another one, and a busy engine
    gets the larger batches.
    """

    def __init__(self, estimator: Estimator) -> None:
        self._estimator, self._guard = estimator, threading.Lock()
        self._asks: list[_Ask] = []
        self._asking = threading.Lock()  # of the list
        self.manifest, self.topology = estimator.manifest, estimator.topology

    @property
    def threshold(self) -> float:
        """The least score of keypoints."""
        return self._estimator.threshold

    @property
    def engine_name(self) -> str:
        """What infers."""
        return self._estimator.engine_name

    @property
    def detect_every(self) -> int:
        """See `estimators.base.Expects`."""
        return detect_every(self._estimator)

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """As the estimator does, for any number of threads."""
        ask = _Ask(frames)
        with self._asking:
            self._asks.append(ask)
        while ask.found is None and ask.error is None:
            with self._guard:
                if ask.found is None and ask.error is None:
                    with self._asking:
                        asks, self._asks = self._asks[:MOST_TOGETHER], self._asks[MOST_TOGETHER:]
                    self._answer(asks)
        for name, ms in ask.stages.items():
            stopwatch.stages[name] = stopwatch.stages.get(name, 0.0) + ms
        if ask.found is None:
            raise ask.error or AssertionError
        return ask.found

    def _answer(self, asks: Sequence[_Ask]) -> None:
        """Estimate for all in one run; where that fails each alone, so that it fails for its own only."""
        watch = Stopwatch()
        frames = [frame for ask in asks for frame in ask.frames]
        try:
            found = self._estimator.estimate(frames, watch)
        except BaseException as e:
            if len(asks) > 1:
                for ask in asks:
                    self._answer([ask])
            else:
                asks[0].error = e
            return
        for ask in asks:
            count = len(ask.frames)
            ask.stages = {k: v * count / max(1, len(frames)) for k, v in watch.stages.items()}
            ask.found, found = found[:count], found[count:]

    def close(self) -> None:
        """Nothing: the pipeline that used it in turns does not own it; `release` ends it."""

    def release(self) -> None:
        """Close the estimator itself."""
        with self._guard:
            self._estimator.close()


@dataclass(frozen=True)
class Choice:
    """What infers: an engine and the weights it loads."""

    engine: EngineOptions
    network: Network

    @property
    def key(self) -> Key:
        """What tells one choice from another."""
        return self.engine, self.network.model


class EnginePool(Closing):
    """The engines that were loaded, at most `MAX_ENGINES`. For any number of threads.

    Args:
        standard: what the server was started with.
        options: how the others run too.
    """

    def __init__(self, standard: Choice, options: EstimatorOptions) -> None:
        self.standard, self._options = standard, options
        self._loaded: dict[Key, SharedEstimator] = {}
        self._guard = threading.Lock()  # held while an engine loads

    def choose(self, device: str, precision: str) -> Choice:
        """The engine and the weights for a device and a precision, "" = as the server was started.

        Raises:
            UsageError: no such device or precision, or no such weights here.
        """
        engine, network = self.standard.engine, self.standard.network
        if device:
            engine = self._on(device, engine)
        if precision:
            known = {"INT8": "FP16-INT8"}.get(precision.upper(), precision.upper())
            if known not in PRECISIONS:
                raise UnknownNameError("precision", precision[:20], PRECISIONS)
            model = self._weights(known)
            if model is not None:
                network = replace(network, model=model, variant=known)
            elif known == "FP16-INT8":
                raise UsageError(f"There are no {known} weights of {network.manifest.name} here.")
            else:
                engine = replace(engine, precision=known.lower())
        if self._is_standard(engine) and network.model == self.standard.network.model:
            return self.standard
        return Choice(engine, network)

    def _on(self, device: str, engine: EngineOptions) -> EngineOptions:
        known = device.upper()
        if known == "MYRIAD":
            raise UsageError("OpenVINO has dropped MYRIAD sticks; use CPU, GPU, NPU or AUTO.")
        if known not in DEVICES:
            raise UnknownNameError("device", device[:20], DEVICES)
        is_ir = self.standard.network.model.suffix.lower() == ".xml"
        if known == "CPU" and engine.engine in ("auto", "onnxruntime") and not is_ir:
            return replace(engine, engine="onnxruntime", device="")
        if known != "AUTO" or is_ir:
            return replace(engine, engine="openvino", device=known)
        return engine

    def _weights(self, precision: str) -> Path | None:
        """Weights of a precision that are here: those in use, or an installed variant."""
        network = self.standard.network
        if precision in (network.model.parent.name.upper(), network.variant.upper()):
            return network.model
        try:
            return registry.installed(network.manifest, precision)
        except UnknownNameError:
            return None

    def _is_standard(self, engine: EngineOptions) -> bool:
        """True where an engine asked for by name is what "auto" would take."""
        ours = self.standard.engine
        if engine == ours:
            return True
        if ours.engine != "auto" or engine.precision != ours.precision:
            return False
        taken = choose(self.standard.network.model, ours).name
        device = ours.device or ("CPU" if taken == "openvino" else "")
        return (engine.engine, engine.device) == (taken, device)

    def is_like(self, other: EnginePool) -> bool:
        """True where both infer the same way."""
        return (self.standard.key, self._options) == (other.standard.key, other._options)

    def is_full(self, wanted: Key, used: Collection[Key]) -> bool:
        """True where another engine must go before this one may come."""
        known = {self.standard.key, *used}
        return wanted not in known and len(known) >= MAX_ENGINES

    def get(self, choice: Choice) -> SharedEstimator:
        """The estimator of a choice, loaded at first use.

        Raises:
            EngineError: the network cannot run here.
        """
        with self._guard:
            if choice.key not in self._loaded:
                options = replace(self._options, engine=choice.engine)
                estimator = make_estimator(choice.network, options)
                self._loaded[choice.key] = SharedEstimator(estimator)
            return self._loaded[choice.key]

    def drop(self, key: Key) -> None:
        """Give up an engine, once its last inference is done."""
        with self._guard:
            shared = self._loaded.pop(key, None)
        if shared is not None:
            shared.release()

    def close(self) -> None:
        """Give up all engines."""
        for key in list(self._loaded):
            self.drop(key)
