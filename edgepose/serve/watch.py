"""One run over an input: a pipeline with a tracker, events recorded, pictures encoded once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.events.detector import EventDetector
from edgepose.events.event import ENTER, EXIT, Event
from edgepose.io.base import Output, SourceOptions
from edgepose.io.sources import open_source
from edgepose.pipeline import Follower, Pipeline, Summary, frame_time
from edgepose.serve.paced import Paced
from edgepose.serve.pictures import encode, of_event
from edgepose.track.tracker import Tracker
from edgepose.types import Frame, Pose, Result

if TYPE_CHECKING:
    from edgepose.events.store import EventStore
    from edgepose.events.zones import Zones
    from edgepose.networks.topology import Topology
    from edgepose.serve.engines import SharedEstimator
    from edgepose.types import Pixels


@dataclass(frozen=True)
class ChannelOptions:
    """How a channel runs.

    Attributes:
        overlay: words of the overlay.
        quality: of the JPEG pictures, 1..100.
        longest: pictures are sent with at most so many pixels on the longer side.
        enter_after, exit_after: debounce of events in seconds.
        zones: polygons and lines for events.
        gestures: makes what tells the gestures of tracked people.
        snapshots: store a picture with each event.
        loop: start films again at their end.
        pace: play films in real time, leaving out frames that would come late.
        source: how inputs are opened.
        linger: seconds for which it goes on after its last viewer.
        retry: seconds before an input that failed is opened again.
        poses: takes every result, for keeping.
        camera: its name, for events. example: what is seen shows how it works: its events are left out unless they are asked for.
        denied: seconds before a password that was refused is tried again.
        tell: seconds between words about an input of which there is nothing new.
        clock: UTC seconds.
    """

    overlay: str = "links,keypoints,ids,gestures"
    quality: int = 80
    longest: int = 1280
    enter_after: float = 0.5
    exit_after: float = 2.0
    zones: Zones | None = None
    gestures: Callable[[], Follower] | None = None
    snapshots: bool = False
    loop: bool = True
    pace: bool = True
    source: SourceOptions = field(default_factory=SourceOptions)
    linger: float = 3.0
    retry: float = 2.0
    denied: float = 900.0
    tell: float = 3600.0
    example: bool = False
    poses: Callable[[Result], None] | None = None
    camera: str = ""
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class Hooks:
    """Whom a run tells.

    Attributes:
        on_result: (result, people inside by track id with the UTC time of their enter).
        on_picture: an encoded picture.
        on_source: what the input says: connected, lost, back, ...
        on_inside: how many people are inside by zone, "" = the picture; told when it changes.
        pictures_wanted: whether anybody looks.
    """

    on_result: Callable[[Result, Mapping[int, float]], None]
    on_picture: Callable[[bytes], None]
    on_source: Callable[[dict[str, Any]], None]
    on_inside: Callable[[dict[str, int]], None]
    pictures_wanted: Callable[[], bool]


class Watch:
    """One run.

    Args:
        uri: the input. display: the same without credentials.
        store: where events go; None = nowhere.

    Raises:
        UsageError, SourceError: the input cannot be opened.
    """

    def __init__(
        self,
        uri: str,
        display: str,
        estimator: SharedEstimator,
        options: ChannelOptions,
        store: EventStore | None,
        hooks: Hooks,
    ) -> None:
        self._options, self._store, self._hooks = options, store, hooks
        source = open_source(uri, replace(options.source, wait=True, on_event=hooks.on_source))
        paced = not source.live and options.pace
        self._waits = paced or source.live
        # films without pacing run in their own time from here, all others in that of the clock
        self._start = 0.0 if self._waits else time.monotonic()
        self._detector = EventDetector(
            options.zones,
            enter_after=options.enter_after,
            exit_after=options.exit_after,
            epoch=self._epoch(),
            source=display,
        )
        self._inside: dict[int, float] = {}
        self._guard = threading.Lock()
        self._heard = time.monotonic()
        self._times: dict[str, float] = {}
        self._session = (
            store.begin(display, options.clock(), example=options.example, camera=options.camera)
            if store
            else None
        )
        self._pipeline = Pipeline(
            Paced(source) if paced else source,
            estimator,
            overlay=_LazyOverlay(estimator.topology, options.overlay, hooks, self._times),
            tracker=lambda: Tracker(estimator.topology, max_lost=options.exit_after),
            gestures=options.gestures,
            outputs=[_Pictures(self._picture)],
            on_result=self._result,
        )

    def run(self, tick: Callable[[Summary], None]) -> None:
        """Run to the end of the input or until `stop`; `tick` is called ten times a second.

        Raises:
            EdgeposeError: the first error of any stage.
        """
        try:
            self._pipeline.run(tick)
        finally:
            self.leave("end of stream")
            self._pipeline.source.close()
            if self._store is not None and self._session is not None:
                self._store.end(self._session)

    def stop(self) -> None:
        """End the run from any thread."""
        self._pipeline.stop()

    def silent_for(self) -> float:
        """Seconds since the last result."""
        return time.monotonic() - self._heard

    def _epoch(self) -> float:
        """UTC time of the source's time 0, by the clock as it is now: it may have been corrected."""
        return self._options.clock() - time.monotonic() + self._start

    def leave(self, note: str) -> None:
        """Everybody who is inside leaves."""
        with self._guard:
            self._detector.epoch = self._epoch()
            self._record(self._detector.finish(note), None)

    def rezone(self, zones: Zones) -> None:
        """Go on with other zones and lines."""
        with self._guard:
            self._detector.epoch = self._epoch()
            self._record(self._detector.change(zones), None)
            self._tell_inside()

    def _tell_inside(self) -> None:
        inside = self._detector.inside
        self._hooks.on_inside({zone: len(tracks) for zone, tracks in inside.items()})

    def _result(self, frame: Frame, result: Result) -> None:
        self._heard = time.monotonic()
        with self._guard:
            epoch = self._detector.epoch = self._epoch()
            events = self._detector.update(
                result.poses, frame_time(frame), frame.width, frame.height, frame.index
            )
            self._record(events, frame)
            inside = {track: epoch + since for track, since in self._inside.items()}
        stages = {**result.stages, **self._times}
        if self._waits:  # its decode is mostly the wait for the next frame
            stages.pop("decode", None)
        self._hooks.on_result(replace(result, stages=stages), inside)

    def _record(self, events: Sequence[Event], frame: Frame | None) -> None:
        for event in events:
            if event.zone == "" and event.track is not None:
                if event.event == ENTER:
                    self._inside[event.track] = event.time - self._detector.epoch
                elif event.event == EXIT:
                    self._inside.pop(event.track, None)
        if events:
            self._tell_inside()
        if self._store is None or self._session is None or not events:
            return
        pictures: tuple[bytes, ...] = ()
        if self._options.snapshots and frame is not None:
            pictures = tuple(self._seen(event, frame) for event in events)
        self._store.record(self._session, events, pictures)

    def _picture(self, frame: Frame) -> None:
        if self._hooks.pictures_wanted():
            start = time.perf_counter()
            jpeg = self._encode(frame)
            self._times["encode"] = (time.perf_counter() - start) * 1e3
            self._hooks.on_picture(jpeg)

    def _encode(self, frame: Frame) -> bytes:
        return encode(frame.pixels, self._options.longest, self._options.quality)

    def _seen(self, event: Event, frame: Frame) -> bytes:
        """The picture of an event."""
        shape = next((s for s in self._detector.zones.shapes if s.name == event.zone), None)
        options = self._options
        return of_event(frame.pixels, event, shape, options.longest, options.quality)


class _LazyOverlay(Overlay):
    """Draws only where somebody looks."""

    def __init__(
        self, topology: Topology, words: str, hooks: Hooks, times: dict[str, float]
    ) -> None:
        super().__init__(topology, parse_overlay(words), tracked=True)
        self._hooks, self._times = hooks, times

    def draw(
        self, pixels: Pixels, poses: Sequence[Pose], stats: Mapping[str, object] | None = None
    ) -> None:
        """Draw into the pixels, in place."""
        if self._hooks.pictures_wanted():
            start = time.perf_counter()
            super().draw(pixels, poses, stats)
            self._times["overlay"] = (time.perf_counter() - start) * 1e3


class _Pictures(Output):
    """The pipeline's output."""

    def __init__(self, write: Callable[[Frame], None]) -> None:
        self._write = write

    def write(self, frame: Frame) -> None:
        """Hand one frame on."""
        self._write(frame)
