"""The Python API: `PoseNet`. jetson-inference's names for it are in `edgepose/jetson_inference.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.closing import Closing, Gate
from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.engines import EngineOptions
from edgepose.errors import UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.io.jetson_utils import to_host
from edgepose.networks.topology import Topology
from edgepose.options import parse_argv
from edgepose.preprocess import as_rgb
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
)

DEFAULT_OVERLAY = "links,keypoints"


class PoseNet(Closing):
    """Finds poses in pictures.

    >>> from edgepose import PoseNet, loadImage
    >>> net = PoseNet("edgepose-lite-body")
    >>> (pose,) = net.process(loadImage("examples/images/astronaut.jpg"))
    >>> abs(pose["nose"].x - 227) < 15, pose.score > 0.3
    (True, True)
    >>> net.close()

    Args:
        network: name of a network (see `edgepose networks`), default resnet18-body.
        argv: command line of posenet; its --network, --model, --threshold and other options win over
            the arguments here, as users of jetson-inference expect; None = no command line.
        threshold: keypoints and links with a lower score are dropped; None = the network's own.
        model, topology: files of a custom network.
        options: everything else (thresholds one by one, detector, letterbox, ...).
        engine: engine, device, threads, precision.
        download: fetch the network at first use where it is not installed.
        track: follow people from picture to picture: `pose.track` stays the same. smooth: smooth the
            keypoints of tracks too. One PoseNet then follows one camera or film, in the order of its calls.

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
        engine: EngineOptions | None = None,
        download: bool = True,
        track: bool = False,
        smooth: bool = False,
    ) -> None:
        chosen = parse_argv(argv or ())
        asked = replace(
            chosen.network,
            network=chosen.network.network or network,
            model=chosen.network.model or (Path(model) if model else None),
            topology=chosen.network.topology or str(topology or ""),
            no_download=chosen.network.no_download or not download,
        )
        found = find_network(asked)
        options = options or EstimatorOptions()
        if threshold is not None:
            options = replace(options, threshold=threshold)
        detector = options.detector
        if detector is None or chosen.estimator.detector or chosen.estimator.detector_model:
            detector = find_detector(found, chosen.estimator, download=not asked.no_download)
        options = over(options, estimator_options(chosen.estimator, detector))
        base = engine or options.engine or EngineOptions()
        options = replace(options, engine=over(base, wanted_engine(chosen.engine)))
        self.network = found.manifest.name
        self._options = options
        self._found = found
        self._estimator = make_estimator(found, options)
        self._overlay_scales = {
            "keypoint_scale": chosen.overlay.keypoint_scale,
            "link_scale": chosen.overlay.link_scale,
        }
        self._alpha = chosen.overlay.alpha
        self._stages: dict[str, float] = {}
        self._gate = Gate("This PoseNet")
        self._lock = threading.Lock()  # of the count and the tracker
        self._count = 0
        smooth = smooth or chosen.data.smooth
        self._tracker: Tracker | None = None
        if track or smooth or chosen.data.track:
            self._tracker = Tracker(self.topology, smooth=OneEuro() if smooth else None)

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

    def process(self, image: Any, overlay: str = "none") -> list[Pose]:
        """The poses in a picture.

        Args:
            image: uint8 RGB (height, width, 3); grey and RGBA work too, floats 0..1 or 0..255, and
                uint16 of its whole range; anything numpy can view, or
                that lies on a GPU (`__cuda_array_interface__`), where an engine on it takes no copy; or
                a `Frame`.
            overlay: words to draw into `image` itself (see `edgepose.draw.overlay`), "none" = leave it.

        Raises:
            UsageError: not a picture, an unknown overlay word, or a picture that cannot be drawn on.
        """
        return self.process_batch([image], overlay)[0]

    def process_batch(self, images: Sequence[Any], overlay: str = "none") -> list[list[Pose]]:
        """The poses in several pictures, in one run where the network has a dynamic batch.

        Raises:
            UsageError: as `process`.
        """
        if not isinstance(images, Iterable) or isinstance(images, str | bytes):
            raise UsageError(
                f"process_batch takes a list of pictures, not {type(images).__name__}."
            )
        frames = [_frame(image) for image in images]
        watch = Stopwatch()
        with self._gate.use():
            with self._lock:
                first, self._count = self._count, self._count + len(frames)
            frames = [replace(frame, index=first + i) for i, frame in enumerate(frames)]
            found = [list(poses) for poses in self._estimator.estimate(frames, watch)]
        if self._tracker is not None:
            with self._lock:
                found = [self._follow(f, poses) for f, poses in zip(frames, found, strict=True)]
        for image, poses in zip(images, found, strict=True):
            with watch.stage("overlay"):
                self.overlay(image, poses, overlay)
        self._stages = watch.stages
        return found

    def _follow(self, frame: Frame, poses: Sequence[Pose]) -> list[Pose]:
        assert self._tracker is not None
        now = time.monotonic() if frame.pts is None else frame.pts
        return list(self._tracker.update(poses, now))

    def overlay(self, image: Any, poses: Sequence[Pose], overlay: str = DEFAULT_OVERLAY) -> None:
        """Draw poses into a picture, in place.

        Raises:
            UsageError: the picture is not a writable uint8 RGB array.
        """
        words = parse_overlay(overlay)
        if not words:
            return
        pixels = np.asarray(image.pixels if isinstance(image, Frame) else image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or not pixels.flags.writeable:
            raise UsageError(
                "The overlay is drawn into the picture itself, which must be a writable uint8 "
                f"array (height, width, 3); this one is {pixels.dtype} {pixels.shape}."
            )
        drawer = Overlay(self.topology, words, alpha=self._alpha, **self._overlay_scales)
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


def _frame(image: Any) -> Frame:
    """A picture with its time where it has one: a frame, or what `videoSource` captured."""
    if isinstance(image, Frame):
        return image
    if isinstance(image, str | bytes | Path):
        raise UsageError(
            f"{image!r} is a name, not a picture: read it with edgepose.loadImage(...)."
        )
    captured = getattr(image, "frame", None)
    pts = captured.pts if isinstance(captured, Frame) else None
    return Frame(_pixels(image), pts=pts)


def _pixels(image: Any) -> Any:
    """What a frame takes: RGB bytes on the device as they are, everything else as uint8 RGB."""
    interface = getattr(image, "__cuda_array_interface__", None)
    if interface is None:
        return as_rgb(image)
    try:
        shape, kind = tuple(interface["shape"]), interface["typestr"]
    except (TypeError, KeyError) as e:
        raise UsageError(f"A picture's __cuda_array_interface__ is not one: {e!r}.") from None
    if kind in ("|u1", "<u1") and len(shape) == 3 and shape[2] == 3:
        return image
    return as_rgb(to_host(image))
