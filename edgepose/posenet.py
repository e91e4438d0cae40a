"""The Python API: `PoseNet`. jetson-inference's names for it are in `edgepose/jetson_inference.py`.

from edgepose import PoseNet
net = PoseNet("resnet18-body")
for pose in net.process(image):           # numpy, uint8 RGB (height, width, 3)
    print(pose.id, pose.score, pose["nose"].x if "nose" in pose else None)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.closing import Closing
from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.engines import EngineOptions
from edgepose.errors import UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.io.jetson_utils import to_host
from edgepose.networks.topology import Topology
from edgepose.options import parse_argv
from edgepose.preprocess import as_rgb
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose
from edgepose.wanted import (
    engine_options,
    estimator_options,
    find_detector,
    find_network,
    over,
)

DEFAULT_OVERLAY = "links,keypoints"


class PoseNet(Closing):
    """Finds poses in pictures.

    Args:
        network: name of a network (see `edgepose networks`), default resnet18-body.
        argv: command line of posenet; its --network, --model, --threshold and other options win over
            the arguments here, as users of jetson-inference expect; None = no command line.
        threshold: keypoints and links with a lower score are dropped; None = 0.15 or the network's.
        model, topology: files of a custom network.
        options: everything else (thresholds one by one, detector, letterbox, ...).
        engine: engine, device, threads, precision.
        download: fetch the network at first use where it is not installed.

    Raises:
        UnknownNameError: no such network. DownloadError, NetworkFileError, EngineError: it cannot be
            fetched, read or run. UsageError: an option in argv that posenet does not have.
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
            options = replace(options, threshold=float(threshold))
        detector = options.detector
        if detector is None or chosen.estimator.detector or chosen.estimator.detector_model:
            detector = find_detector(found, chosen.estimator, download=not asked.no_download)
        options = over(options, estimator_options(chosen.estimator, detector))
        base = engine or options.engine or EngineOptions()
        options = replace(options, engine=over(base, engine_options(chosen.engine)))
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
        self._count = 0

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
        """The least score of keypoints and links; a new one loads the engine again."""
        return 0.15 if self._options.threshold is None else self._options.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._options = replace(self._options, threshold=float(value))
        self._estimator.close()
        self._estimator = make_estimator(self._found, self._options)

    def process(self, image: Any, overlay: str = "none") -> list[Pose]:
        """The poses in a picture.

        Args:
            image: uint8 RGB (height, width, 3); grey and RGBA work too; anything numpy can view, or
                that lies on a GPU (`__cuda_array_interface__`), where an engine on it takes no copy.
            overlay: words to draw into `image` itself (see `edgepose.draw.overlay`), "none" = leave it.

        Raises:
            UsageError: not a picture, an unknown overlay word, or a picture that cannot be drawn on.
        """
        return self.process_batch([image], overlay)[0]

    def process_batch(self, images: Sequence[Any], overlay: str = "none") -> list[list[Pose]]:
        """The poses in several pictures, in one run where the network has a dynamic batch."""
        frames = [Frame(_pixels(image), index=self._count + i) for i, image in enumerate(images)]
        watch = Stopwatch()
        found = self._estimator.estimate(frames, watch)
        self._count += len(frames)
        for image, poses in zip(images, found, strict=True):
            with watch.stage("overlay"):
                self.overlay(image, poses, overlay)
        self._stages = watch.stages
        return [list(poses) for poses in found]

    def overlay(self, image: Any, poses: Sequence[Pose], overlay: str = DEFAULT_OVERLAY) -> None:
        """Draw poses into a picture, in place.

        Raises:
            UsageError: the picture is not a writable uint8 RGB array.
        """
        words = parse_overlay(overlay)
        if not words:
            return
        pixels = np.asarray(image)
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
        """Release the engine; safe to call twice."""
        self._estimator.close()


def _pixels(image: Any) -> Any:
    """What a frame takes: RGB bytes on the device as they are, everything else as uint8 RGB."""
    interface = getattr(image, "__cuda_array_interface__", None)
    if interface is None:
        return as_rgb(image)
    shape = tuple(interface["shape"])
    if interface["typestr"] in ("|u1", "<u1") and len(shape) == 3 and shape[2] == 3:
        return image
    return as_rgb(to_host(image))
