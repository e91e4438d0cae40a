"""The Python API: `PoseNet`, which answers with `Poses`. jetson-inference's names for it are in `edgepose/jetson_inference.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from edgepose.closing import Closing, Gate
from edgepose.engines import EngineOptions
from edgepose.errors import UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.base import detect_every
from edgepose.given import as_frame, open_given
from edgepose.io.base import SourceOptions
from edgepose.networks.topology import Topology
from edgepose.options import parse_argv
from edgepose.pipeline import Pipeline, result_of
from edgepose.poses import DEFAULT_OVERLAY, Poses, Style
from edgepose.timing import Stopwatch
from edgepose.track.one_euro import OneEuro
from edgepose.track.tracker import Tracker
from edgepose.types import Frame, Pose
from edgepose.wanted import (
    estimator_options,
    find_detector,
    find_network,
    over,
    wanted_engine,
    wanted_gestures,
)


class PoseNet(Closing):
    """Finds poses in pictures.

    >>> from edgepose import PoseNet, loadImage
    >>> net = PoseNet("fast")
    >>> (pose,) = net.process(loadImage("examples/images/astronaut.jpg"))
    >>> abs(pose["nose"].x - 222) < 10, pose["nose"].score > 0.3
    (True, True)
    >>> net.close()

    Args:
        network: name of a network (see `edgepose networks`), default resnet18-body.
        argv: command line of posenet; its --network, --model, --threshold and other options win over
            the arguments here, as users of jetson-inference expect; None = no command line.
        threshold: keypoints and links with a lower score are dropped; None = the network's own.
        model, topology: files of a custom network.
        options: everything else (thresholds one by one, detector, letterbox, ...).
        engine: its name ("openvino"), or engine, device, threads, precision.
        download: fetch the network at first use where it is not installed.
        track: follow people from picture to picture: `pose.track` stays the same. smooth: smooth the
            keypoints of tracks too. One PoseNet then follows one camera or film, in the order of its calls.
        gestures: what to tell in `pose.gestures`: "builtin", names of built-in gestures, files of taught ones,
            separated by commas. With `track` they last over pictures, without it each picture is judged by itself.

    Any number of threads may use one PoseNet; a new threshold and `close` wait for the calls under way.

    Raises:
        UnknownNameError: no such network. DownloadError, NetworkFileError, EngineError: it cannot be
            fetched, read or run. UsageError: an option in argv that posenet does not have, or a value
            that it cannot take; a call after `close`.
    """

    def __init__(
        self,
        network: str = "",
        argv: Sequence[str] | None = None,
        threshold: float | None = None,
        *,
        model: str | Path | None = None,
        topology: str | Path | None = None,
        options: EstimatorOptions | None = None,
        engine: EngineOptions | str | None = None,
        download: bool = True,
        track: bool = False,
        smooth: bool = False,
        gestures: str = "",
    ) -> None:
        chosen = parse_argv(argv or ())
        asked = replace(
            chosen.network,
            network=chosen.network.network or network,
            model=chosen.network.model or (Path(model) if model else None),
            topology=chosen.network.topology or str(topology or ""),
            no_download=chosen.network.no_download or not download,
        )
        if isinstance(engine, str):
            engine = EngineOptions(engine=engine)
        base = over(
            engine or (options.engine if options else None) or EngineOptions(),
            wanted_engine(chosen.engine),
        )
        found = find_network(asked, precision=base.precision)
        options = options or EstimatorOptions()
        if threshold is not None:
            options = replace(options, threshold=threshold)
        detector = options.detector
        if detector is None or chosen.estimator.detector or chosen.estimator.detector_model:
            detector = find_detector(found, chosen.estimator, download=not asked.no_download)
        options = over(options, estimator_options(chosen.estimator, detector))
        options = replace(options, engine=base)
        self.network = found.manifest.name
        self._options = options
        self._found = found
        self._estimator = make_estimator(found, options)
        self._style = Style(
            self.topology,
            alpha=chosen.overlay.alpha,
            keypoint_scale=chosen.overlay.keypoint_scale,
            link_scale=chosen.overlay.link_scale,
        )
        self._stages: dict[str, float] = {}
        self._gate = Gate("This PoseNet")
        self._lock = threading.Lock()  # of the count and the tracker
        self._count = 0
        self._smooth = OneEuro() if smooth or chosen.data.smooth else None
        self._tracker: Tracker | None = None
        if track or self._smooth or chosen.data.track:
            self._tracker = Tracker(self.topology, smooth=self._smooth)
        gestures = chosen.data.gestures or gestures
        self._make_finder = wanted_gestures(gestures, self.topology)
        self._finder = self._make_finder() if self._make_finder else None

    @property
    def topology(self) -> Topology:
        """Keypoints and links of the network."""
        return self._estimator.topology

    @property
    def engine(self) -> str:
        """What infers, for example "onnxruntime (CPU, 2 threads)"."""
        return self._estimator.engine_name

    @property
    def stages(self) -> Mapping[str, float]:
        """Milliseconds by stage of the last picture."""
        return self._stages

    @property
    def threshold(self) -> float:
        """The least score of keypoints and, unless the network has another, of links.

        A new one is that of both; the engine is loaded again.
        """
        return self._estimator.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        options = replace(
            self._options, threshold=value, keypoint_threshold=None, link_threshold=None
        )
        with self._gate.change():
            changed = make_estimator(self._found, options)
            self._estimator.close()
            self._estimator, self._options = changed, options

    @overload
    def process(self, image: list[Any] | tuple[Any, ...], overlay: str = "none") -> list[Poses]: ...
    @overload
    def process(self, image: Any, overlay: str = "none") -> Poses: ...
    def process(self, image: Any, overlay: str = "none") -> Poses | list[Poses]:
        """The poses in a picture, as a `Poses`; of a list of pictures, a list of them.

        Args:
            image: the path or URL of a picture; a PIL picture; a numpy array, RGB (height, width, 3),
                grey or RGBA: uint8, uint16 of its whole range, or floats 0..1 or 0..255; a torch tensor
                (3, height, width) or (height, width, 3) of the same numbers; what lies on a GPU
                (`__cuda_array_interface__`), where an engine on it takes no copy; a `Frame`; or a list
                of any of these. An array or tensor of four dimensions is a list, too.
            overlay: words to draw into `image` itself (see `edgepose.draw.overlay`), "none" = leave it.

        Raises:
            UsageError: not a picture, an unknown overlay word, or a picture that cannot be drawn on.
            SourceError: the file or URL cannot be read.
        """
        if isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4:
            return self.process_batch(image, overlay)
        return self.process_batch([image], overlay)[0]

    __call__ = process

    def process_batch(self, images: Sequence[Any], overlay: str = "none") -> list[Poses]:
        """The poses in several pictures, in one run where the network has a dynamic batch.

        Raises:
            UsageError, SourceError: as `process`.
        """
        if not isinstance(images, Iterable) or isinstance(images, str | bytes):
            raise UsageError(
                f"process_batch takes a list of pictures, not {type(images).__name__}."
            )
        frames = [as_frame(image) for image in images]
        watch = Stopwatch()
        with self._gate.use():
            with self._lock:
                first, self._count = self._count, self._count + len(frames)
            frames = [replace(frame, index=first + i) for i, frame in enumerate(frames)]
            found = list(self._estimator.estimate(frames, watch))
        if self._tracker is not None or self._finder is not None:
            with self._lock:
                found = [self._follow(f, poses) for f, poses in zip(frames, found, strict=True)]
        for image, poses in zip(images, found, strict=True):
            with watch.stage("overlay"):
                self.overlay(image, poses, overlay)
        self._stages = watch.stages
        return [
            Poses(f, result_of(f, tuple(p), self._estimator, watch.stages), self._style)
            for f, p in zip(frames, found, strict=True)
        ]

    def _follow(self, frame: Frame, poses: Sequence[Pose]) -> tuple[Pose, ...]:
        now = time.monotonic() if frame.pts is None else frame.pts
        for follower in (self._tracker, self._finder):
            poses = follower.update(poses, now) if follower is not None else poses
        return tuple(poses)

    def stream(
        self,
        source: Any,
        *,
        track: bool = False,
        smooth: bool = False,
        options: SourceOptions | None = None,
    ) -> Iterator[tuple[Frame, Poses]]:
        """The frames of a film, camera or stream with their poses, one after the other.

        Reading, the network and your loop overlap. Frames of files wait for the loop; of live sources it
        gets the newest. Leaving the loop closes the source.

        >>> from edgepose import PoseNet
        >>> with PoseNet("fast") as net:
        ...     counts = [len(poses) for frame, poses in net.stream("test://people?frames=3&rate=0")]
        >>> len(counts)
        3

        Args:
            source: what `posenet` takes as an input (a path, a pattern, an address), the number of a
                camera (0 = /dev/video0), a `videoSource`, or anything that gives pictures one by one.
            track: give people ids that last (`pose.track`); smooth: steady their keypoints too.
            options: of the source.

        Raises:
            UsageError, SourceError, EngineError: as on the command line.
        """
        follow = track or smooth or self._tracker is not None
        even = OneEuro() if smooth else self._smooth
        with open_given(source, options or SourceOptions()) as opened:
            pipeline = Pipeline(
                opened,
                _Shared(self),
                tracker=(lambda: Tracker(self.topology, smooth=even)) if follow else None,
                gestures=self._make_finder,
                depth=1 if opened.live else 3,
            )
            for frame, result in pipeline.results():
                self._stages = dict(result.stages)
                yield frame, Poses(frame, result, self._style)

    def track(
        self, source: Any, *, smooth: bool = False, options: SourceOptions | None = None
    ) -> Iterator[tuple[Frame, Poses]]:
        """`stream` with people followed from frame to frame: `pose.track` stays the same."""
        return self.stream(source, track=True, smooth=smooth, options=options)

    def overlay(self, image: Any, poses: Sequence[Pose], overlay: str = DEFAULT_OVERLAY) -> None:
        """Draw poses into a picture, in place.

        Raises:
            UsageError: the picture is not a writable uint8 RGB array.
        """
        drawer = self._style.overlay(overlay, poses)
        if drawer is None:
            return
        pixels = np.asarray(image.pixels if isinstance(image, Frame) else image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or not pixels.flags.writeable:
            raise UsageError(
                "The overlay is drawn into the picture itself, which must be a writable uint8 "
                f"array (height, width, 3); this one is {pixels.dtype} {pixels.shape}."
            )
        rgb = np.ascontiguousarray(pixels[:, :, :3])
        drawer.draw(rgb, poses, None)
        if rgb is not pixels:
            pixels[:, :, :3] = rgb

    def close(self) -> None:
        """Release the engine, when the calls under way are done; safe to call twice."""
        try:
            with self._gate.change(close=True):
                self._estimator.close()
        except UsageError:
            if not self._gate.closed:
                raise


class _Shared:
    """The network of a `PoseNet` for one stream; a new threshold counts from the next frame on."""

    def __init__(self, net: PoseNet) -> None:
        self._net = net
        self.manifest = net._estimator.manifest
        self.topology = net.topology

    @property
    def threshold(self) -> float:
        """The least score of keypoints."""
        return self._net.threshold

    @property
    def engine_name(self) -> str:
        """What infers."""
        return self._net.engine

    @property
    def detect_every(self) -> int:
        """See `estimators.base.Expects`."""
        return detect_every(self._net._estimator)

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """As `Estimator.estimate`, not while it is changed or closed."""
        with self._net._gate.use():
            return self._net._estimator.estimate(frames, stopwatch)

    def close(self) -> None:
        """Nothing: the network is its owner's."""
