"""One input with one inference, however many look at it.

A channel runs its pipeline while somebody looks (or always), and ends it a few seconds after the last
one has gone. Every picture is encoded once; results, events and states are published as they come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgepose.errors import EdgeposeError
from edgepose.io.base import Closing, SourceOptions
from edgepose.serve.feed import Feed
from edgepose.timing import RateMeter, Stopwatch
from edgepose.types import Frame, Pose, Result

if TYPE_CHECKING:
    from edgepose.estimators import Estimator
    from edgepose.events.event import Event
    from edgepose.events.store import EventStore, Session
    from edgepose.events.zones import Zones
    from edgepose.io.base import Source
    from edgepose.pipeline import Pipeline

LINGER = 3.0  # seconds that a channel goes on after its last viewer
HISTORY = 600  # points of the chart of people
RETRY = 2.0  # seconds before an input that failed is opened again


@dataclass(frozen=True)
class ChannelOptions:
    """How a channel runs.

    Attributes:
        overlay: words of the overlay.
        quality: of the JPEG pictures, 1..100.
        longest: pictures are sent with at most so many pixels on the longer side.
        enter_after, exit_after: debounce of events in seconds.
        zones: polygons and lines for events.
        snapshots: store a picture with each event.
        loop: start films again at their end.
        pace: play films in real time, leaving out frames that would come late.
        always: infer without viewers too.
    """

    overlay: str = "links,keypoints,ids"
    quality: int = 80
    longest: int = 1280
    enter_after: float = 0.5
    exit_after: float = 2.0
    zones: Zones | None = None
    snapshots: bool = False
    loop: bool = True
    pace: bool = True
    always: bool = False
    source: SourceOptions = field(default_factory=SourceOptions)


class _Shared:
    """An estimator that several channels use in turns."""

    def __init__(self, estimator: Estimator, guard: threading.Lock) -> None:
        self._estimator, self._guard = estimator, guard
        self.manifest, self.topology = estimator.manifest, estimator.topology

    @property
    def engine_name(self) -> str:
        return self._estimator.engine_name

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        with self._guard:
            return self._estimator.estimate(frames, stopwatch)

    def close(self) -> None:
        pass


class Paced:
    """A film as if it were live: in real time, without the frames that would come late."""

    live = True
    stills = False

    def __init__(self, source: Source, pace: bool) -> None:
        self._source, self._pace = source, pace
        self.length, self.rate, self.name = source.length, source.rate, source.name
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        start, first, last = 0.0, 0.0, -1.0
        for frame in self._source:
            if self._closed.is_set():
                return
            now = time.monotonic()
            pts = frame.pts if frame.pts is not None else last + 1.0
            if not start or pts < last:
                start, first = now, pts
            last = pts
            wait = start + pts - first - now
            if self._pace and wait > 0 and self._closed.wait(wait):
                return
            if self._pace and wait < -1.0 / (self.rate or 30.0):
                continue
            yield replace(frame, captured=time.monotonic())

    def close(self) -> None:
        """End the iteration."""
        self._closed.set()
        self._source.close()

    def __enter__(self) -> Paced:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Pictures(Closing):
    """The pipeline's output: encodes each picture once, where somebody looks."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def write(self, frame: Frame) -> None:
        """Encode and publish."""
        if self._channel.pictures.viewers:
            self._channel.pictures.publish(self._channel.encode(frame))

    def close(self) -> None:
        """Nothing to finish."""


class Channel:
    """One input.

    Args:
        name: "camera" or "example".
        uri: the input. display: the same without credentials, for people.
        estimator: makes the estimator at first use, and the lock that guards it.
        options: how it runs.
        store: where events go; None = nowhere.
    """

    def __init__(
        self,
        name: str,
        uri: str,
        display: str,
        estimator: Callable[[], tuple[Estimator, threading.Lock]],
        options: ChannelOptions,
        store: EventStore | None,
    ) -> None:
        self.name, self.display = name, display
        self.pictures: Feed[bytes] = Feed()
        self.messages: Feed[dict[str, Any]] = Feed()
        self.state = "idle"
        self.reason = ""
        self.people_over_time: deque[tuple[float, int]] = deque(maxlen=HISTORY)
        self.result: dict[str, Any] | None = None
        self.frames = 0
        self._uri, self._options, self._store = uri, options, store
        self._make = estimator
        self._rate = RateMeter()
        self._seen = 0.0
        self._pipeline: Pipeline | None = None
        self._detector: Any = None
        self._session: Session | None = None
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"channel {name}", daemon=True)
        self._thread.start()

    # viewers ------------------------------------------------------------------------------------
    @property
    def viewers(self) -> int:
        """How many look at pictures or data."""
        return self.pictures.viewers + self.messages.viewers

    def look(self) -> None:
        """Somebody begins to look: run."""
        self._seen = time.monotonic()
        self._wake.set()

    def wanted(self) -> bool:
        """True where the channel shall run now."""
        if self._options.always or self.viewers:
            self._seen = time.monotonic()
            return True
        return bool(self._seen) and time.monotonic() - self._seen < LINGER

    def close(self) -> None:
        """End everything; safe to call twice."""
        self._closed.set()
        self._wake.set()
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.stop()
        self._thread.join(5)
        self.pictures.close()
        self.messages.close()

    # the run ------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._closed.is_set():
            if not self.wanted():
                self._wake.wait(0.5)
                self._wake.clear()
                continue
            try:
                self._set("connecting")
                ended = self._watch()
            except EdgeposeError as e:
                self._set("lost", str(e))
                self._closed.wait(RETRY)
                continue
            except Exception as e:  # a defect must not end the service
                self._set("failed", f"{type(e).__name__}: {e}")
                self._closed.wait(RETRY)
                continue
            self._set("ended" if ended else "idle")
            if ended and not self._options.loop:
                self._closed.wait(RETRY)
                self._wait_for_new_viewer()

    def _wait_for_new_viewer(self) -> None:
        self._wake.clear()
        while not self._closed.is_set() and not self._wake.wait(0.5):
            continue

    def _watch(self) -> bool:
        """Run one pipeline; True where the input came to its end."""
        from edgepose.draw.overlay import Overlay, parse_overlay
        from edgepose.events.detector import EventDetector
        from edgepose.io.sources import open_source
        from edgepose.pipeline import Pipeline
        from edgepose.track.tracker import Tracker

        estimator, guard = self._make()
        o = self._options
        source = open_source(self._uri, replace(o.source, on_event=self._on_event))
        watched: Source = source if source.live else Paced(source, o.pace)
        started = time.time()
        self._detector = EventDetector(
            o.zones,
            enter_after=o.enter_after,
            exit_after=o.exit_after,
            epoch=started - time.monotonic(),
            source=self.display,
        )
        self._session = self._store.begin(self.display, started) if self._store else None
        pipeline = Pipeline(
            watched,
            _Shared(estimator, guard),
            overlay=Overlay(estimator.topology, parse_overlay(o.overlay)),
            tracker=lambda: Tracker(estimator.topology, max_lost=o.exit_after),
            outputs=[_Pictures(self)],
            on_result=self._on_result,
        )
        self._pipeline = pipeline
        stopped = False

        def tick(_: object) -> None:
            nonlocal stopped
            if (self._closed.is_set() or not self.wanted()) and not stopped:
                stopped = True
                pipeline.stop()

        try:
            pipeline.run(tick)
        finally:
            self._pipeline = None
            self._end_session()
            source.close()
        return not stopped

    def _end_session(self) -> None:
        events = self._detector.finish()
        self._record(events, None)
        if self._store is not None and self._session is not None:
            self._store.end(self._session)

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = str(event.get("event", ""))
        states = {"connected": "live", "back": "live", "lost": "lost", "ended": "ended"}
        if kind in states:
            self._set(states[kind], str(event.get("reason", event.get("error", ""))))

    def _set(self, state: str, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason = state, reason
            self.messages.publish({"type": "state", **self.status()})

    # results ------------------------------------------------------------------------------------
    def _on_result(self, frame: Frame, result: Result) -> None:
        if self.state != "live":
            self._set("live")
        self.frames += 1
        rate = self._rate.tick()
        now = time.monotonic()
        events = self._detector.update(result.poses, now, frame.width, frame.height, frame.index)
        self._record(events, frame)
        if not self.people_over_time or now - self.people_over_time[-1][0] >= 0.5:
            self.people_over_time.append((now, len(result.poses)))
        self.result = _message(result, rate)
        self.messages.publish(self.result)

    def _record(self, events: Sequence[Event], frame: Frame | None) -> None:
        if self._store is None or self._session is None or not events:
            return
        pictures: tuple[bytes, ...] = ()
        if self._options.snapshots and frame is not None:
            pictures = (self.encode(frame),) * len(events)
        self._store.record(self._session, events, pictures)

    def encode(self, frame: Frame) -> bytes:
        """JPEG of a frame, at most `longest` pixels wide or high."""
        import cv2

        pixels = frame.pixels
        scale = self._options.longest / max(pixels.shape[:2])
        if scale < 1:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._options.quality]
        return bytes(cv2.imencode(".jpg", bgr, quality)[1])

    def status(self) -> dict[str, Any]:
        """State, viewers and speed, for pages and the API."""
        result = self.result or {}
        return {
            "source": self.name,
            "input": self.display,
            "state": self.state,
            "reason": self.reason,
            "viewers": self.viewers,
            "frames": self.frames,
            "fps": result.get("fps", 0.0) if self.state == "live" else 0.0,
            "inference_ms": result.get("inference_ms", 0.0),
            "stages_ms": result.get("stages_ms", {}),
            "people": result.get("people", 0) if self.state == "live" else 0,
            "network": result.get("network", ""),
            "engine": result.get("engine", ""),
        }

    def history(self) -> list[list[float]]:
        """[seconds ago, people], oldest first."""
        now = time.monotonic()
        return [[round(now - t, 1), n] for t, n in list(self.people_over_time)]


def _message(result: Result, rate: float) -> dict[str, Any]:
    """What viewers get of a result as JSON."""
    poses = []
    for number, pose in enumerate(result.poses, 1):
        poses.append(
            {
                "order": number,
                "track": pose.track,
                "score": round(pose.score, 3),
                "box": [round(v, 1) for v in pose.box],
                "keypoints": {
                    k.name: [round(k.x, 1), round(k.y, 1), round(k.score, 3)]
                    for k in pose.keypoints
                },
            }
        )
    return {
        "type": "result",
        "frame": result.frame,
        "width": result.width,
        "height": result.height,
        "people": len(poses),
        "fps": round(rate, 1),
        "inference_ms": round(result.inference_ms, 2),
        "stages_ms": {k: round(v, 2) for k, v in dict(result.stages).items()},
        "network": result.network,
        "engine": result.engine,
        "poses": poses,
    }
