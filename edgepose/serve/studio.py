"""Everything behind the pages: channels, engines, the store of events, and what is known of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.errors import EdgeposeError, UnknownNameError, UsageError
from edgepose.serve.channel import Channel, ChannelOptions

if TYPE_CHECKING:
    from edgepose.engines import EngineOptions
    from edgepose.estimators import Estimator
    from edgepose.events.event import Event
    from edgepose.events.log import EventLog, Filter, HourCount, NumberedPage, Page
    from edgepose.networks.registry import Network

MAX_ENGINES = 3  # device and precision may be asked for by address: not without bound
DEVICES = ("CPU", "GPU", "NPU", "AUTO", "MYRIAD")
PRECISIONS = {"fp32": "fp32", "fp16": "fp16", "fp16-int8": "int8", "int8": "int8"}


class Studio:
    """The channels and what they share.

    Args:
        sources: input URIs by name: "camera", "example".
        network: what finds poses. engine: how it runs.
        options: of the channels.
        database: file of the events; None = they are not stored.
        max_viewers: of one channel.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        network: Network,
        engine: EngineOptions,
        options: ChannelOptions,
        database: Path | None,
        max_viewers: int = 100,
    ) -> None:
        from edgepose.events.store import EventStore

        if not sources:
            raise UsageError("Name a source or an example video to serve.")
        self.sources = dict(sources)
        self.current = next(iter(self.sources))
        self.max_viewers = max_viewers
        self.started = time.time()
        self._network, self._engine, self._options = network, engine, options
        self._estimators: dict[tuple[str, str], tuple[Estimator, threading.Lock]] = {}
        self._channels: dict[tuple[str, str, str], Channel] = {}
        self._guard = threading.RLock()
        self._log: EventLog | None = None
        self._database = database
        self._store = (
            EventStore(database, on_commit=self._committed) if database is not None else None
        )
        if options.always:
            self.channel(self.current)

    # channels -----------------------------------------------------------------------------------
    def channel(self, name: str, device: str = "", precision: str = "") -> Channel:
        """The channel of a source, made at first use.

        Raises:
            KeyError: no such source. UsageError: no such device or precision, or too many engines.
        """
        from edgepose.io.sources.uri import parse

        uri = self.sources[name]
        engine = self._wanted(device, precision)
        key = (name, engine.device, engine.precision)
        with self._guard:
            if key not in self._channels:
                self._make_room(engine)
                first = not device and not precision
                self._channels[key] = Channel(
                    name,
                    uri,
                    parse(uri).display,
                    lambda: self._estimator(engine),
                    self._options if first else replace(self._options, always=False),
                    self._store if first else None,
                )
            return self._channels[key]

    def _wanted(self, device: str, precision: str) -> EngineOptions:
        changes: dict[str, Any] = {}
        if device:
            if device.upper() not in DEVICES:
                raise UnknownNameError("device", device[:20], DEVICES)
            changes["device"] = "AUTO" if device.upper() == "MYRIAD" else device.upper()
        if precision:
            if precision.lower() not in PRECISIONS:
                raise UnknownNameError("precision", precision[:20], PRECISIONS)
            wanted = PRECISIONS[precision.lower()]
            # the weights decide over int8; engines that cannot change it run them as they are
            changes["precision"] = "" if wanted == "int8" else wanted
        return replace(self._engine, **changes)

    def _make_room(self, engine: EngineOptions) -> None:
        keys = {(e.device, e.precision) for e in [self._engine, engine]}
        keys |= {(device, precision) for _, device, precision in self._channels}
        if len(keys) > MAX_ENGINES:
            raise UsageError(f"There are {MAX_ENGINES} engines already; use one of them.")

    def _estimator(self, engine: EngineOptions) -> tuple[Estimator, threading.Lock]:
        from edgepose.estimators import EstimatorOptions, make_estimator

        key = (engine.device, engine.precision)
        with self._guard:
            if key not in self._estimators:
                made = make_estimator(self._network, EstimatorOptions(engine=engine))
                self._estimators[key] = (made, threading.Lock())
            return self._estimators[key]

    def switch(self, name: str) -> None:
        """Make a source the current one."""
        self.current = name

    # events -------------------------------------------------------------------------------------
    def _committed(self, events: tuple[Event, ...]) -> None:
        """Tell viewers of events once they are on the disk."""
        with self._guard:
            channels = list(self._channels.values())
        for event in events:
            for channel in channels:
                if channel.display == event.source:
                    channel.messages.publish({"type": "event", **event.as_dict()})

    def _events(self) -> EventLog:
        from edgepose.events.log import EventLog

        if self._database is None:
            raise UsageError("Events are not stored here; start edgepose serve with --db FILE.")
        with self._guard:
            if self._log is None:
                self._log = EventLog(self._database)
            return self._log

    def numbered(self, page: int, per_page: int) -> NumberedPage:
        """A page of enter and exit events of the whole picture, oldest first."""
        from edgepose.events.log import Filter

        wanted = Filter(events=("enter", "exit"), zones=("",))
        return self._events().numbered(wanted, page=page, per_page=per_page, newest_first=False)

    def page(self, wanted: Filter, cursor: str, limit: int, newest_first: bool) -> Page:
        """Events behind a cursor."""
        return self._events().page(wanted, cursor=cursor, limit=limit, newest_first=newest_first)

    def hours(self, wanted: Filter) -> list[HourCount]:
        """Counts by hour."""
        return self._events().hours(wanted)

    # what is known --------------------------------------------------------------------------------
    def stats(self) -> dict[str, Any]:
        """State of every channel that was ever looked at."""
        with self._guard:
            channels = list(self._channels.values())
        store = self._store
        return {
            "source": self.current,
            "network": self._network.manifest.name,
            "uptime_s": round(time.time() - self.started, 1),
            "channels": [c.status() for c in channels],
            "events": {
                "stored": store is not None,
                "dropped": store.dropped if store else 0,
                "error": str(store.error) if store and store.error else "",
            },
        }

    def networks(self) -> list[dict[str, Any]]:
        """The networks that edgepose knows, and which are installed."""
        from edgepose.networks import registry

        return [
            {
                "name": m.name,
                "family": m.family,
                "description": m.description,
                "installed": registry.installed(m) is not None,
                "current": m.name == self._network.manifest.name,
            }
            for m in registry.manifests()
        ]

    def health(self) -> dict[str, Any]:
        """ok, unless events cannot be written or a channel that must run has failed."""
        with self._guard:
            channels = list(self._channels.values())
        failed = [c.name for c in channels if c.state == "failed"]
        error = str(self._store.error) if self._store and self._store.error else ""
        return {"ok": not failed and not error, "failed": failed, "events": error}

    def metrics(self) -> str:
        """The same for Prometheus."""
        lines = []
        kinds: dict[str, tuple[str, Callable[[Mapping[str, Any]], float]]] = {
            "edgepose_frames_total": ("counter", lambda s: s["frames"]),
            "edgepose_people": ("gauge", lambda s: s["people"]),
            "edgepose_viewers": ("gauge", lambda s: s["viewers"]),
            "edgepose_frames_per_second": ("gauge", lambda s: s["fps"]),
            "edgepose_inference_milliseconds": ("gauge", lambda s: s["inference_ms"]),
            "edgepose_live": ("gauge", lambda s: float(s["state"] == "live")),
        }
        channels = self.stats()["channels"]
        for name, (kind, value) in kinds.items():
            lines.append(f"# TYPE {name} {kind}")
            for number, status in enumerate(channels):
                label = f'source="{status["source"]}",channel="{number}"'
                lines.append(f"{name}{{{label}}} {value(status)}")
        return "\n".join(lines) + "\n"

    def close(self) -> None:
        """End channels, engines and the store; safe to call twice."""
        with self._guard:
            channels = list(self._channels.values())
        for channel in channels:
            channel.close()
        for estimator, guard in self._estimators.values():
            with guard:
                estimator.close()
        if self._store is not None:
            self._store.close()
        if self._log is not None:
            with contextlib.suppress(EdgeposeError):
                self._log.close()
