"""The interfaces of sources, outputs and sinks, and the options they share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from edgepose.closing import Closing as Closing
from edgepose.errors import UnknownNameError
from edgepose.networks.topology import Topology
from edgepose.types import Frame, Result

S = TypeVar("S")


def load(table: Mapping[str, str], key: str, what: str) -> Any:
    """The object that a table names for a key, as "module:attribute"; imported only now.

    Raises:
        UnknownNameError: the table has no such key; the message lists those it has.
    """
    if key not in table:
        raise UnknownNameError(what, key, sorted(table))
    module, _, attribute = table[key].partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class SourceOptions:
    """Options of inputs; None or 0 = as the input is.

    Attributes:
        width, height, rate: asked of a camera (nearest is taken) or applied to files by resizing / dropping.
        flip: none, counterclockwise, rotate-180, clockwise, horizontal, vertical,
            upper-right-diagonal, upper-left-diagonal.
        loop: 0 = once, -1 = for ever, N = N passes in all.
        start: first frame of a file. frames: at most so many frames (0 = all).
        codec: codec of streams that do not say (rtp, stdin).
        latency: jitter buffer of network streams in milliseconds.
        transport: RTSP transport: tcp or udp.
        timeout: seconds to connect, and without a frame until a live source counts as stalled.
        reconnect: try again when a live source is lost; reconnect_limit: give up after so many
            tries in a row (0 = never). wait: also wait for a source that is absent at the start.
        save: also store the compressed input in this file.
        on_event: called with dictionaries {"event": connected|lost|back|ended, "source": ...} from the reading thread.
        outputs: names of the outputs, which nobody can have meant as the input.
        on_error: called with (path, error) for a broken file among several, which is then skipped;
            None = raise.
    """

    width: int = 0
    height: int = 0
    rate: float = 0.0
    flip: str = "none"
    loop: int = 0
    start: int = 0
    frames: int = 0
    codec: str = ""
    latency: int = 10
    transport: str = "tcp"
    timeout: float = 10.0
    reconnect: bool = True
    reconnect_limit: int = 0
    wait: bool = False
    save: str = ""
    outputs: tuple[str, ...] = ()
    on_event: Callable[[dict[str, Any]], None] | None = None
    on_error: Callable[[str, Exception], None] | None = None


@dataclass(frozen=True)
class OutputOptions:
    """Options of outputs.

    Attributes:
        codec: h264, h265, vp8, vp9, mjpeg. bitrate: bits a second, 0 = by quality.
        encoder: "" = the first that works, cpu, nvenc, v4l2, or an FFmpeg encoder's name.
        rate: frames a second of the output at most, 0 = the input's.
        input_rate: frames a second of the input where known (Source.rate), else 0.
        width, height: 0 = the frame's.
        audio: path of a file whose audio is copied into a video output, or "".
        quality: JPEG quality 1..100.
        inputs: paths of the input images where known, to refuse writing over one of them.
    """

    codec: str = "h264"
    bitrate: int = 0
    encoder: str = ""
    rate: float = 0.0
    input_rate: float = 0.0
    width: int = 0
    height: int = 0
    audio: str = ""
    quality: int = 95
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class SinkOptions:
    """Options of sinks.

    Attributes:
        inputs: paths of the input images where known: refused as targets, and COCO image ids are
            taken from their digits where these are unique.
        topology: of the poses, for files that name keypoints and links once.
    """

    inputs: tuple[str, ...] = ()
    topology: Topology | None = None


class Source(Protocol):
    """An iterator of frames and a context manager; what inherits from it need not say the defaults.

    Iteration ends at the end of the stream; a lost live source that is not to be reconnected raises
    SourceLost, silence raises SourceTimeout, a broken one SourceError.

    Attributes:
        live: frames may be dropped (cameras, streams) or not (files).
        length: number of frames where known, else None.
        rate: frames a second where known, else 0.
        name: short name for `{name}`.
        stills: the frames are separate pictures, not a film.
        paths: the local files that it reads, where it reads any.
        sound: the local file whose sound belongs to the frames, "" where there is none.
    """

    live: bool = False
    length: int | None = None
    rate: float = 0.0
    name: str = ""
    stills: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        return ()

    @property
    def sound(self) -> str:
        return ""

    def counts(self) -> dict[str, dict[str, int]]:
        """What happened so far (read, taken, dropped, late, ...) by the names of live sources."""
        return {}

    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None:
        """Release the input; called from any thread it ends a blocked read; safe to call twice."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Output(Closing):
    """Where pictures go. `write` may change nothing of the frame.

    Attributes:
        drops: a window or stream: it may lose frames, and may fail without ending the run.
        takes_device: it takes pixels on the device as they are.
        ready: it has reached where it sends to (one may connect in the background).
        closed: a window that its user closed.
    """

    drops: bool = False
    takes_device: bool = False

    @property
    def ready(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return False

    def expect(self, stills: Sequence[str], frames: int | None) -> None:
        """Refuse at the start what a long job would only show in its middle.

        Args:
            stills: the pictures that will come, in their order; empty where they are not known.
            frames: how many frames will come, where known.

        Raises:
            OutputError: they cannot be written as asked.
        """

    def write(self, frame: Frame) -> None:
        """Write one frame (host pixels, uint8 RGB).

        Raises:
            OutputError: it cannot be written.
        """
        raise NotImplementedError

    def status(self, text: str) -> None:
        """Set the title of a window; other outputs have none."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Frames written and dropped, and failures, by output, where it counts."""
        return {}


class Sink(Closing):
    """Where data go; each row is written when it arrives."""

    def write(self, result: Result) -> None:
        """Write one result.

        Raises:
            OutputError: it cannot be written.
        """
        raise NotImplementedError

    def event(self, event: dict[str, Any]) -> None:
        """Take a status event of a source or output; most sinks have no place for them."""

    def attach(self, source: Source, outputs: Sequence[Output]) -> None:
        """Learn where the counters of the running job are; most sinks have no use for them."""
