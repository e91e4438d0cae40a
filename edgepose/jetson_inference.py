"""jetson-inference's names for the same things, so that its programs run with their import lines changed.

What has no meaning without jetson-utils is accepted or missing; docs/migrate.md lists it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.closing import Closing
from edgepose.errors import SourceError, SourceTimeout
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import default_output, open_output
from edgepose.io.sources import open_source
from edgepose.jetson_pictures import (
    Log,
    cudaAllocMapped,
    cudaDeviceSynchronize,
    cudaFont,
    cudaFromNumpy,
    cudaMemcpy,
    cudaResize,
    cudaToNumpy,
    loadImage,
    picture,
    rgb_of,
    saveImage,
)
from edgepose.options import (
    CameraChoice,
    EngineChoice,
    EstimatorChoice,
    NetworkChoice,
    OutputChoice,
    OverlayChoice,
    SourceChoice,
    fields_of,
    parse_argv,
)
from edgepose.posenet import PoseNet
from edgepose.poses import DEFAULT_OVERLAY, Poses
from edgepose.timing import RateMeter
from edgepose.types import Frame, Pose
from edgepose.wanted import output_options, over, source_options

__all__ = [
    "Log",
    "cudaAllocMapped",
    "cudaDeviceSynchronize",
    "cudaFont",
    "cudaFromNumpy",
    "cudaMemcpy",
    "cudaResize",
    "cudaToNumpy",
    "loadImage",
    "poseNet",
    "saveImage",
    "videoOutput",
    "videoSource",
]


class poseNet(PoseNet):
    """`PoseNet` under jetson-inference's name, with its spellings of the methods."""

    def Process(self, image: Any, overlay: str = DEFAULT_OVERLAY) -> Poses:
        """`process`, drawing into the picture by default, as jetson-inference does."""
        return self.process_batch([image], overlay)[0]

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
        """`threshold`."""
        return self.threshold

    def SetThreshold(self, threshold: float) -> None:
        """Change `threshold`."""
        self.threshold = threshold

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
        self._style = replace(self._style, alpha=max(0, min(255, int(alpha))))

    def GetKeypointScale(self) -> float:
        """Radius of keypoints as a part of the longer side."""
        return self._style.keypoint_scale

    def SetKeypointScale(self, scale: float) -> None:
        """Set the radius of keypoints."""
        self._style = replace(self._style, keypoint_scale=float(scale))

    def GetLinkScale(self) -> float:
        """Width of links as a part of the longer side."""
        return self._style.link_scale

    def SetLinkScale(self, scale: float) -> None:
        """Set the width of links."""
        self._style = replace(self._style, link_scale=float(scale))

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
        """Help of the options that `argv` may hold."""
        return _usage("poseNet", NetworkChoice, EstimatorChoice, EngineChoice, OverlayChoice)


class videoSource(Closing):
    """jetson-inference's source of pictures: `Capture()` gives numpy arrays (uint8 RGB; `Picture`).

    It is also an iterator of its pictures, and a context manager.

    >>> from edgepose import videoSource
    >>> argv = ["--input-width=320", "--input-height=240"]
    >>> source = videoSource("test://people?frames=2&rate=0", argv)
    >>> while source.IsStreaming():
    ...     picture = source.Capture()
    >>> picture.shape, source.GetFrameCount()
    ((240, 320, 3), 2)
    >>> source.Close()
    >>> with videoSource("test://people?frames=2&rate=0") as source:
    ...     [picture.shape for picture in source]
    [(480, 640, 3), (480, 640, 3)]

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
        self._uri = uri
        self._options = _source_options(argv or (), options or {})
        self._source = open_source(uri, self._options)
        self._frames: Iterator[Frame] = iter(self._source)
        self._last: Frame | None = None
        self._ahead: Frame | None = None
        self._streaming = True
        self._count = 0
        self._rate = RateMeter()

    def Capture(self, format: str = "rgb8", timeout: int = 1000, stream: int = 0) -> Any:
        """The next picture, or None where a live source sent nothing in time.

        `IsStreaming()` turns False with the last picture of a file, so that the usual loop ends.

        Args:
            format: rgb8, bgr8, rgba8, bgra8, gray8, and the same in float32 (rgb32f, 0..255).
            timeout: accepted for compatibility; `--timeout` in argv is that of a live source.

        Raises:
            SourceError: the source failed, or has ended. UnknownNameError: no such format.
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
        return picture(frame.pixels, format, frame)

    def __iter__(self) -> Iterator[Any]:
        """The pictures to the end of the source; silence of a live one is waited for."""
        while self._streaming:
            image = self.Capture()
            if image is not None:
                yield image

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
        return {"resource": self._uri, **asdict(self._options)}

    @property
    def frame(self) -> Frame | None:
        """The last picture with its number, time and source."""
        return self._last

    def Open(self) -> None:
        """Accepted for compatibility; the source is open from the start."""

    def close(self) -> None:
        """Release the source."""
        self._streaming = False
        self._source.close()

    Close = close

    @staticmethod
    def Usage() -> str:
        """Help of the options that `argv` may hold."""
        return _usage("videoSource", CameraChoice, SourceChoice)


class videoOutput(Closing):
    """jetson-inference's output: `Render(image)` writes numpy arrays (uint8 RGB); a context manager too.

    >>> import os, tempfile
    >>> from edgepose import cudaAllocMapped, videoOutput
    >>> folder = tempfile.mkdtemp()
    >>> output = videoOutput(os.path.join(folder, "%i.png"))
    >>> for _ in range(2):
    ...     output.Render(cudaAllocMapped(width=64, height=48))
    >>> output.Close()
    >>> sorted(os.listdir(folder))
    ['0.png', '1.png']

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
        choice = parse_argv(argv or ()).output
        self._options = _output_options(choice, options or {})
        self._output = (
            open_output(uri, self._options)
            if uri
            else default_output(self._options, choice.headless)
        )
        if self._output is not None:
            # scripts written for jetson-inference never close their output; __del__ comes too late
            # for them: at the end of a script that failed nothing can be imported any more
            weakref.finalize(self, self._output.close)
        self._count = 0
        self._size = (0, 0)
        self._rate = RateMeter()
        self._last_rate = 0.0

    def Render(self, image: Any, stream: int = 0) -> None:
        """Write one picture.

        Raises:
            OutputError: it cannot be written.
        """
        pixels = rgb_of(image)
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
        return self._output is None or not self._output.closed

    def SetStatus(self, text: str) -> None:
        """Title of the window, where there is one."""
        if self._output is not None:
            self._output.status(text)

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
        return asdict(self._options)

    def Open(self) -> None:
        """Accepted for compatibility; the output is open from the start."""

    def close(self) -> None:
        """Finish the output."""
        if self._output is not None:
            self._output.close()

    Close = close

    @staticmethod
    def Usage() -> str:
        """Help of the options that `argv` may hold."""
        return _usage("videoOutput", OutputChoice)


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


def _usage(title: str, *groups: type) -> str:
    fields = [f for group in groups for f in fields_of(group) if not f.option.argument]
    shown = [f"  {f.names[0]:<20} {f.option.help}" for f in fields if not f.option.hidden]
    return "\n".join([f"{title} arguments:", *shown, ""]) + "\n"
