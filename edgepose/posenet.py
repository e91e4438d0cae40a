"""The Python API: `PoseNet` for programs, and jetson-inference's names for programs written for it.

from edgepose import PoseNet
net = PoseNet("resnet18-body")
for pose in net.process(image):           # numpy, uint8 RGB (height, width, 3)
    print(pose.id, pose.score, pose["nose"].x if "nose" in pose else None)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.closing import Closing
from edgepose.engines import EngineOptions
from edgepose.errors import SourceError, SourceTimeout, UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.jetson_utils import to_host
from edgepose.networks.topology import Topology
from edgepose.options import OutputChoice, parse_argv
from edgepose.preprocess import as_rgb
from edgepose.timing import RateMeter, Stopwatch
from edgepose.types import Frame, Pose
from edgepose.wanted import (
    engine_options,
    estimator_options,
    find_detector,
    find_network,
    output_options,
    over,
    source_options,
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
        options = over(options, estimator_options(chosen.estimator, chosen.engine, detector))
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

    # snake_case: canonical ------------------------------------------------------------------------
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
        from edgepose.draw.overlay import Overlay, parse_overlay

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

    # jetson-inference's spellings -------------------------------------------------------------------
    def Process(self, image: Any, overlay: str = DEFAULT_OVERLAY) -> list[Pose]:
        """`process`, drawing into the picture by default, as jetson-inference does."""
        return self.process(image, overlay)

    def Overlay(
        self, image: Any, poses: Sequence[Pose], overlay: str = DEFAULT_OVERLAY, output: Any = None
    ) -> None:
        """`overlay`, into `output` where one is given."""
        target = image
        if output is not None:
            np.asarray(output)[...] = np.asarray(image)
            target = output
        self.overlay(target, poses, overlay)

    def GetThreshold(self) -> float:
        """The threshold for keypoints and links."""
        return 0.15 if self._options.threshold is None else self._options.threshold

    def SetThreshold(self, threshold: float) -> None:
        """Change the threshold; the engine is loaded again."""
        from dataclasses import replace

        self._options = replace(self._options, threshold=float(threshold))
        self._estimator.close()
        self._estimator = make_estimator(self._found, self._options)

    def GetNumKeypoints(self) -> int:
        """Number of keypoints of the topology."""
        return len(self.topology.keypoints)

    def GetKeypointName(self, number: int) -> str:
        """Name of a keypoint."""
        return self.topology.keypoints[number]

    def FindKeypointID(self, name: str) -> int:
        """Number of a keypoint.

        Raises:
            KeyError: no keypoint of that name.
        """
        if name not in self.topology.keypoints:
            raise KeyError(
                f"no keypoint named {name!r}; there are {', '.join(self.topology.keypoints)}"
            )
        return self.topology.keypoints.index(name)

    def SetKeypointAlpha(self, alpha: int, keypoint: int = -1) -> None:
        """Opacity of the overlay, 0..255 (of all keypoints; `keypoint` is accepted for compatibility)."""
        self._alpha = max(0, min(255, int(alpha)))

    def GetKeypointScale(self) -> float:
        """Radius of keypoints as a part of the longer side."""
        return self._overlay_scales["keypoint_scale"]

    def SetKeypointScale(self, scale: float) -> None:
        """Set the radius of keypoints."""
        self._overlay_scales["keypoint_scale"] = float(scale)

    def GetLinkScale(self) -> float:
        """Width of links as a part of the longer side."""
        return self._overlay_scales["link_scale"]

    def SetLinkScale(self, scale: float) -> None:
        """Set the width of links."""
        self._overlay_scales["link_scale"] = float(scale)

    def GetNetworkTime(self) -> float:
        """Milliseconds of the network alone for the last picture."""
        return self._stages.get("network", 0.0)

    def GetNetworkFPS(self) -> float:
        """1000 / `GetNetworkTime()`: the network alone, not the whole loop."""
        elapsed = self.GetNetworkTime()
        return 1000.0 / elapsed if elapsed > 0 else 0.0

    def GetModelPath(self) -> str:
        """File of the weights."""
        return str(self._found.model)

    def GetModelType(self) -> str:
        """Format of the weights, "onnx" or "xml"."""
        return self._found.model.suffix.lstrip(".")

    def PrintProfilerTimes(self) -> None:
        """Stage times of the last picture, on stderr."""
        for name, value in self._stages.items():
            print(f"{name:<12} {value:8.2f} ms", file=sys.stderr)

    def EnableDebug(self) -> None:
        """Accepted for compatibility; there is nothing to enable."""

    def EnableLayerProfiler(self) -> None:
        """Accepted for compatibility; use `edgepose bench` for stage times."""

    @staticmethod
    def Usage() -> str:
        """Help of the command line options that `argv` may hold."""
        return "See `posenet --help`: --network, --model, --topology, --threshold, --overlay, ..."


poseNet = PoseNet


def _pixels(image: Any) -> Any:
    """What a frame takes: RGB bytes on the device as they are, everything else as uint8 RGB."""
    interface = getattr(image, "__cuda_array_interface__", None)
    if interface is None:
        return as_rgb(image)
    shape = tuple(interface["shape"])
    if interface["typestr"] in ("|u1", "<u1") and len(shape) == 3 and shape[2] == 3:
        return image
    return as_rgb(to_host(image))


class Picture(np.ndarray[Any, np.dtype[np.uint8]]):
    """A captured picture: an array (height, width, 3) with the attributes of jetson-utils' cudaImage.

    What is computed from it (a part, a copy) is a picture without a `frame`.
    """

    frame: Frame | None = None

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.shape[0])

    @property
    def channels(self) -> int:
        """Bytes a pixel."""
        return int(self.shape[2])

    @property
    def timestamp(self) -> int:
        """Nanoseconds from the beginning of a film; 0 for a still picture."""
        return round((self.frame.pts or 0.0) * 1e9) if self.frame else 0


def _picture(pixels: Any, frame: Frame) -> Any:
    if not isinstance(pixels, np.ndarray):
        return pixels  # on the device: it is jetson-utils' own
    picture = pixels.view(Picture)
    picture.frame = frame
    return picture


class videoSource:
    """jetson-inference's source of pictures: `Capture()` gives numpy arrays (uint8 RGB; `Picture`).

    Args:
        uri: as on the command line (see docs/inputs-outputs.md).
        argv: command line whose --input-* options are honoured.
        positionArg: accepted for compatibility.
        options: dictionary with width, height, framerate, loop, codec, flipMethod, latency.
    """

    def __init__(
        self,
        uri: str,
        argv: Sequence[str] | None = None,
        positionArg: int = -1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        from edgepose.io.sources import open_source

        self._uri = uri
        self._options = _source_options(argv or (), options or {})
        self._source = open_source(uri, self._options)
        self._frames: Iterator[Frame] = iter(self._source)
        self._last: Frame | None = None
        self._ahead: Frame | None = None
        self._streaming = True
        self._count = 0
        self._rate = RateMeter()

    def Capture(
        self, format: str = "rgb8", timeout: int = 1000, stream: int = 0
    ) -> NDArray[np.uint8] | None:
        """The next picture, or None where a live source sent nothing in time.

        `IsStreaming()` turns False with the last picture of a file, so that the usual loop ends.

        Args:
            format: "rgb8" or "bgr8". timeout: milliseconds, for live sources.

        Raises:
            SourceError: the source failed, or has ended.
        """
        try:
            frame = self._ahead or next(self._frames, None)
            self._ahead = None if self._source.live or frame is None else next(self._frames, None)
        except SourceTimeout:
            return None
        if self._ahead is None and not self._source.live:
            self._streaming = False
        if frame is None:
            self._streaming = False
            raise SourceError(f"{self._uri} has ended: there are no more pictures in it.")
        self._last = frame
        self._count += 1
        self._rate.tick()
        pixels: NDArray[np.uint8] = frame.pixels
        bgr = format.lower().startswith("bgr")
        picture: NDArray[np.uint8] = _picture(pixels[:, :, ::-1].copy() if bgr else pixels, frame)
        return picture

    def IsStreaming(self) -> bool:
        """False after the end of the stream."""
        return self._streaming

    def GetWidth(self) -> int:
        """Width of the last picture, 0 before the first."""
        return self._last.width if self._last else 0

    def GetHeight(self) -> int:
        """Height of the last picture, 0 before the first."""
        return self._last.height if self._last else 0

    def GetFrameRate(self) -> float:
        """Frames a second of the source where it says so, else as measured."""
        return self._source.rate or self._rate.tick()

    def GetFrameCount(self) -> int:
        """Pictures captured so far."""
        return self._count

    def GetOptions(self) -> dict[str, Any]:
        """The options in use."""
        from dataclasses import asdict

        return {"resource": self._uri, **asdict(self._options)}

    @property
    def frame(self) -> Frame | None:
        """The last picture with its number, time and source."""
        return self._last

    def Open(self) -> None:
        """Accepted for compatibility; the source is open from the start."""

    def Close(self) -> None:
        """Release the source."""
        self._streaming = False
        self._source.close()

    @staticmethod
    def Usage() -> str:
        """Where the options are described."""
        return "See `posenet --help` for the --input-* options and docs/inputs-outputs.md for URIs."


class videoOutput:
    """jetson-inference's output: `Render(image)` writes numpy arrays (uint8 RGB).

    Args:
        uri: as on the command line; "" = a window where there is a display, else nothing.
        argv: command line whose --output-*, --bitrate and --headless options are honoured.
        positionArg: accepted for compatibility.
        options: dictionary with codec, bitrate, framerate, width, height.
    """

    def __init__(
        self,
        uri: str = "",
        argv: Sequence[str] | None = None,
        positionArg: int = -1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        from edgepose.io.outputs import default_output, open_output

        choice = parse_argv(argv or ()).output
        self._options = _output_options(choice, options or {})
        self._output = (
            open_output(uri, self._options)
            if uri
            else default_output(self._options, choice.headless)
        )
        self._count = 0
        self._size = (0, 0)
        self._rate = RateMeter()
        self._last_rate = 0.0

    def Render(self, image: Any, stream: int = 0) -> None:
        """Write one picture.

        Raises:
            OutputError: it cannot be written.
        """
        pixels = as_rgb(image)
        self._size = (pixels.shape[1], pixels.shape[0])
        if self._output is not None:
            self._output.write(self._frame(image, pixels))
        self._count += 1
        self._last_rate = self._rate.tick()

    def _frame(self, image: Any, pixels: NDArray[np.uint8]) -> Frame:
        """What is written: a captured film keeps its times, so that it plays as fast as before."""
        captured: Frame | None = getattr(image, "frame", None)
        if captured is not None and captured.pts is not None:
            return replace(captured, pixels=pixels)
        return Frame(pixels, index=self._count, name=f"{self._count}")

    def IsStreaming(self) -> bool:
        """False once the user closed the window."""
        return not getattr(self._output, "closed", False)

    def SetStatus(self, text: str) -> None:
        """Title of the window, where there is one."""
        setter = getattr(self._output, "set_status", None)
        if setter is not None:
            setter(text)

    def GetWidth(self) -> int:
        """Width of the last picture."""
        return self._size[0]

    def GetHeight(self) -> int:
        """Height of the last picture."""
        return self._size[1]

    def GetFrameRate(self) -> float:
        """Pictures a second, as measured."""
        return self._last_rate

    def GetOptions(self) -> dict[str, Any]:
        """The options in use."""
        from dataclasses import asdict

        return asdict(self._options)

    def Open(self) -> None:
        """Accepted for compatibility; the output is open from the start."""

    def Close(self) -> None:
        """Finish the output."""
        if self._output is not None:
            self._output.close()

    def __del__(self) -> None:
        # scripts written for jetson-inference never close their output
        if hasattr(self, "_output"):
            self.Close()

    @staticmethod
    def Usage() -> str:
        """Where the options are described."""
        return (
            "See `posenet --help` for the --output-* options and docs/inputs-outputs.md for URIs."
        )


def _source_options(argv: Sequence[str], options: Mapping[str, Any]) -> SourceOptions:
    keys = {"width": "width", "height": "height", "framerate": "rate", "loop": "loop"}
    keys |= {"codec": "codec", "flipMethod": "flip", "latency": "latency"}
    kinds = {"width": int, "height": int, "loop": int, "latency": int, "rate": float}
    values: dict[str, Any] = {keys[k]: v for k, v in options.items() if k in keys}
    base = SourceOptions(**{k: kinds.get(k, str)(v) for k, v in values.items()})
    return over(base, source_options(parse_argv(argv).source))


def _output_options(choice: OutputChoice, options: Mapping[str, Any]) -> OutputOptions:
    keys = {"codec": "codec", "bitrate": "bitrate", "framerate": "rate"}
    keys |= {"width": "width", "height": "height"}
    kinds = {"width": int, "height": int, "bitrate": int, "rate": float}
    values: dict[str, Any] = {keys[k]: v for k, v in options.items() if k in keys}
    base = OutputOptions(**{k: kinds.get(k, str)(v) for k, v in values.items()})
    return over(base, output_options(choice))
