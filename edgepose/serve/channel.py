"""One input with one inference, however many look at it.

A channel runs while somebody looks (or always), and ends a few seconds after the last one has gone.
Pictures, poses, figures, events and states are published as they come; every one is encoded once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgepose.errors import EdgeposeError, EngineError, SourceDenied, UsageError
from edgepose.events.event import iso_time, readable
from edgepose.events.zones import Zones
from edgepose.io.sinks.gesture_changes import GestureChanges
from edgepose.io.sinks.rows import result_row, score, to_json
from edgepose.serve.feed import Feed
from edgepose.serve.times import Times
from edgepose.serve.watch import ChannelOptions, Hooks, Watch
from edgepose.timing import RateMeter
from edgepose.types import Result

if TYPE_CHECKING:
    from edgepose.events.store import EventStore
    from edgepose.pipeline import Summary
    from edgepose.serve.engines import SharedEstimator

log = logging.getLogger(__name__)

HISTORY = 600  # points of the chart of people
SAMPLE = 0.5  # seconds between them
FIGURES = 0.25  # seconds between messages with figures
STILL = 2.0  # a result is not the newest any more after so many seconds
KEPT = ("event", "state", "source")
BOUNDARY = "frame"
_PART = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
_BEHIND = (
    f"\r\n--{BOUNDARY}\r\n".encode()
)  # lets browsers show a picture at once, not with the next one


def jpeg_of(part: bytes) -> bytes:
    """The JPEG in a part of a feed of pictures."""
    return part.partition(b"\r\n\r\n")[2].removesuffix(_BEHIND)


class Channel:
    """One input.

    Args:
        name: "camera" or "example".
        uri: the input. display: the same without credentials, for people.
        estimator: makes what finds poses, at first use.
        options: how it runs.
        store: where events go; None = nowhere.

    Attributes:
        frames, found: frames inferred and poses found in all of them. seen: poses in the newest.
        always: runs without viewers too. was_down: did not deliver before the settings changed.
        inside: people by zone, "" = the picture. times: of the stages, as histograms.
        source_events: what the input said, counted. gestures: those that began, counted.
    """

    def __init__(
        self,
        name: str,
        uri: str,
        display: str,
        estimator: Callable[[], SharedEstimator],
        options: ChannelOptions,
        store: EventStore | None,
    ) -> None:
        self.name, self.display = name, display
        self.pictures: Feed[bytes] = Feed(replay=True)
        self.messages: Feed[str] = Feed(KEPT)
        self.state, self.reason = "idle", ""
        self.always = self.was_down = False
        self.inside = _nobody(options.zones)
        self.frames = self.found = self.seen = 0
        self.times: dict[str, Times] = {}
        self.source_events: Counter[str] = Counter()
        self.gestures: Counter[str] = Counter()
        self._changes = GestureChanges()
        self.poses: dict[str, Any] | None = None
        self._uri, self._options, self._store = uri, options, store
        self._make = estimator
        self._lost_since: float | None = None
        self._said = ""
        self._told_at = time.monotonic()
        self._rate, self._fps = RateMeter(), 0.0
        self._stages: dict[str, float] = {}
        self._people: list[dict[str, Any]] = []
        self._names, self._what = ("", ""), "person"
        self._history: deque[tuple[float, int]] = deque(maxlen=HISTORY)
        self._told = self._heard = self._looked = 0.0
        self._watch: Watch | None = None
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"channel {name}", daemon=True)
        self._thread.start()

    # viewers ------------------------------------------------------------------------------------
    @property
    def viewers(self) -> int:
        """How many look: pages have pictures and messages, others only one of them."""
        return max(self.pictures.listeners, self.messages.listeners)

    def look(self) -> None:
        """Somebody looks: run."""
        self._looked = time.monotonic()
        self._wake.set()

    @property
    def wanted(self) -> bool:
        """True where the channel shall run now."""
        if self.always or self.viewers:
            self._looked = time.monotonic()
        return bool(self._looked) and time.monotonic() - self._looked < self._options.linger

    def stop(self) -> None:
        """Begin to end everything; `close` waits for it."""
        self._closed.set()
        self._wake.set()
        watch = self._watch
        if watch is not None:
            watch.stop()
        self.pictures.close()
        self.messages.close()

    def close(self, timeout: float = 5.0) -> None:
        """End everything, waiting at most so many seconds; safe to call twice."""
        self.stop()
        self._thread.join(timeout)

    def rezone(self, zones: Zones) -> None:
        """Go on with other zones and lines, without a break."""
        self._options = replace(self._options, zones=zones)
        watch = self._watch
        if watch is None:
            self.inside = _nobody(zones)
        else:
            watch.rezone(zones)

    # the run ------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._closed.is_set():
            if not self.wanted:
                if self.state in ("connecting", "lost"):
                    self._set("idle")
                self._wake.wait(1.0)
                self._wake.clear()
                continue
            ended = self._try()
            if not self._closed.is_set() and ended and not self._options.loop:
                self._until_somebody_new_looks()

    def _try(self) -> bool:
        """Watch the input once; True where it came to its end, or where trying again is no use."""
        try:
            if self.state != "live":
                self._set("connecting")
            stopped = self._watch_once()
        except (EngineError, UsageError) as e:
            self._set("failed", str(e))
            self._until_somebody_new_looks()
            return False
        except SourceDenied as e:  # cameras lock the account of who tries again and again
            self._set("failed", str(e))
            self._closed.wait(self._options.denied)
            return False
        except EdgeposeError as e:
            self._set("lost", str(e))
            self._closed.wait(self._options.retry)
            return False
        except Exception as e:  # a defect must not end the service
            self._set("failed", f"{type(e).__name__}: {e}")
            self._closed.wait(self._options.retry)
            return False
        if stopped:
            self._set("idle")
        elif not self._options.loop:
            self._set("ended")
        return not stopped

    def _until_somebody_new_looks(self) -> None:
        self._wake.clear()
        while not self._closed.is_set() and not self._wake.wait(1.0):
            continue

    def _watch_once(self) -> bool:
        """Run over the input; True where it was stopped."""
        hooks = Hooks(
            self._on_result,
            self._on_picture,
            self._on_source,
            self._on_inside,
            lambda: bool(self.pictures.listeners),
        )
        options = self._options
        estimator = self._make()
        self._what = estimator.topology.name
        watch = Watch(self._uri, self.display, estimator, options, self._store, hooks)
        self._watch = watch
        if self._options.zones is not options.zones:  # changed while it was being made
            self.rezone(self._options.zones or Zones())
        stopped = False

        def tick(_: Summary) -> None:
            nonlocal stopped
            self._say_now_and_then()
            if not stopped and (self._closed.is_set() or not self.wanted):
                stopped = True
                watch.stop()
            if self.state == "lost" and watch.silent_for() > self._options.exit_after:
                watch.leave("input lost")
                self._people = []

        try:
            watch.run(tick)
        finally:
            self._watch = None
            self._people = []
        if stopped:  # who comes later must not take an old picture for a new one
            self.pictures.forget()
        return stopped or self._closed.is_set()

    def _on_inside(self, counts: dict[str, int]) -> None:
        self.inside = counts

    def _on_source(self, event: dict[str, Any]) -> None:
        """What a live input says of itself."""
        states = {"connected": "live", "back": "live", "lost": "lost", "waiting": "lost"}
        state = states.get(str(event.get("event")))
        self.source_events[str(event.get("event"))] += 1
        if state:
            self._set(state, str(event.get("error", "")))

    def _set(self, state: str, reason: str = "") -> None:
        if self._closed.is_set() and state in ("lost", "failed"):
            state, reason = "idle", ""  # engine and input may be gone before the last frame is done
        if (state, reason) == (self.state, self.reason):
            return
        self.state, self.reason = state, readable(reason)
        if state == "lost":
            self._lost_since = self._lost_since or time.monotonic()
        elif state != "connecting":
            self._lost_since = None
        if state != "live":
            self.seen = 0
        self.publish("state", self.status())
        self._say(state)

    def _say(self, state: str) -> None:
        """Tell people what they may want to know, once for each change."""
        text = f"{self.display}: {state}: {self.reason}".rstrip(": ")
        if state in ("live", "lost", "failed") and text != self._said:
            self._said = text
            log.info("%s", text)

    def _say_now_and_then(self) -> None:
        """An input without an end is told once an hour, also while nothing changes."""
        now = time.monotonic()
        if now - self._told_at < self._options.tell:
            return
        self._told_at = now
        text = "%s: %s, %.1f frames/s, %d frames, %d people inside"
        log.info(text, self.display, self.state, self.fps, self.frames, self.inside.get("", 0))

    # results ------------------------------------------------------------------------------------
    def publish(self, kind: str, message: Mapping[str, Any]) -> None:
        """Send a message to all who listen to its kind."""
        if self.messages.wants(kind):
            self.messages.publish(to_json({"type": kind, **message}), kind)

    def _on_picture(self, jpeg: bytes) -> None:
        self.pictures.publish(b"".join((_PART % len(jpeg), jpeg, _BEHIND)))

    def _on_result(self, result: Result, inside: Mapping[int, float]) -> None:
        if self.state == "connecting":  # films do not say that they are there
            self._set("live")
        now = time.monotonic()
        self.frames += 1
        self.seen = len(result.poses)
        self.found += self.seen
        changes = self._changes.update(result)
        self.gestures.update(g.name for word, _, g in changes if word == "begin")
        self._fps = self._rate.tick(now)
        for name, value in result.stages.items():
            mean = self._stages.get(name, value)
            self._stages[name] = mean + 0.1 * (value - mean)
            if name not in self.times:
                self.times[name] = Times()
            self.times[name].observe(value / 1e3)
        self._names = (result.network, result.engine)
        self._people = _people(result, inside)
        self.poses, self._heard = result_row(result), now
        self.publish("poses", self.poses)
        if self._options.poses is not None:
            self._options.poses(result)
        if not self._history or now - self._history[-1][0] >= SAMPLE:
            self._history.append((now, len(inside)))
        if now - self._told >= FIGURES:
            self._told = now
            self.publish("figures", self.status())

    # what is known ------------------------------------------------------------------------------
    @property
    def fps(self) -> float:
        """Frames a second now."""
        recent = self.state == "live" and time.monotonic() - self._heard < STILL
        return round(self._fps, 1) if recent else 0.0

    @property
    def silent_for(self) -> float:
        """Seconds without a result while it is live or waits for its first frame, else 0."""
        watched = self.state in ("live", "connecting") and self._heard
        return time.monotonic() - self._heard if watched else 0.0

    @property
    def lost_for(self) -> float:
        """Seconds for which the input has been lost, 0 where it is not."""
        return 0.0 if self._lost_since is None else time.monotonic() - self._lost_since

    def status(self) -> dict[str, Any]:
        """State, viewers, speed and who is in view."""
        return {
            "time": iso_time(time.time()),
            "source": self.name,
            "input": self.display,
            "state": self.state,
            "reason": self.reason,
            "viewers": self.viewers,
            "frames": self.frames,
            "fps": self.fps,
            "inference_ms": round(self._stages.get("network", 0.0), 2),
            "stages_ms": {k: round(v, 2) for k, v in list(self._stages.items())},
            "what": self._what,
            "people": len(self._people),
            "inside": self._people,
            "zones": {name: count for name, count in self.inside.items() if name},
            "network": self._names[0],
            "engine": self._names[1],
        }

    def history(self) -> list[list[float]]:
        """[seconds ago, people], oldest first."""
        now = time.monotonic()
        return [[round(now - t, 1), n] for t, n in list(self._history)]


def _nobody(zones: Zones | None) -> dict[str, int]:
    return {"": 0, **{zone.name: 0 for zone in (zones.zones if zones else ())}}


def _people(result: Result, inside: Mapping[int, float]) -> list[dict[str, Any]]:
    """Who has entered and not left: id of the pose in the frame (None while hidden), since when."""
    poses = {pose.track: pose for pose in result.poses}
    return [
        {
            "track": track,
            "id": poses[track].id if track in poses else None,
            "score": score(poses[track].score) if track in poses else None,
            "since": iso_time(since),
            "gestures": [g.name for g in poses[track].gestures] if track in poses else [],
        }
        for track, since in sorted(inside.items())
    ]
