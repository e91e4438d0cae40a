"""Everything behind the pages: channels, engines, the store of events, and what is known of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.errors import EdgeposeError, StoreError, UnknownNameError, UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.events.log import EventLog, Filter
from edgepose.events.store import EventStore
from edgepose.events.tables import Retention
from edgepose.io.uri import parse
from edgepose.networks import registry
from edgepose.serve.channel import Channel
from edgepose.serve.watch import ChannelOptions, SharedEstimator

if TYPE_CHECKING:
    from edgepose.engines import EngineOptions
    from edgepose.events.event import Event
    from edgepose.events.log import HourCount, NumberedPage, Page
    from edgepose.networks.resolve import Network

MAX_ENGINES = 3  # device and precision may be asked for by address: not without bound
CLOSE_SECONDS = 1.5
DEVICES = ("CPU", "GPU", "NPU", "AUTO")
PRECISIONS = ("FP32", "FP16", "FP16-INT8")


class NoEvents(UsageError):
    """Events are not stored here."""


class Studio:
    """The channels and what they share.

    Args:
        sources: input URIs by name: "camera", "example"; the first is the current one.
        network: what finds poses. estimator: how it runs; its engine options are the default.
        options: of the channels.
        database: file of the events; None = they are not stored. retention: what is kept of them.
        always: infer on the current source without viewers too.
        max_viewers: of one channel.
        on_notice: told what people may want to know.

    Raises:
        StoreError: the database cannot be opened.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        network: Network,
        estimator: EstimatorOptions,
        engine: EngineOptions,
        options: ChannelOptions,
        *,
        database: Path | None = None,
        retention: Retention | None = None,
        always: bool = False,
        max_viewers: int = 100,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        if not sources:
            raise UsageError("Name a source or an example video to serve.")
        self.sources = dict(sources)
        self.displays = {name: parse(uri).display for name, uri in sources.items()}
        self.current = next(iter(self.sources))
        self.max_viewers = max_viewers
        self.started = time.time()
        self.network = network
        self._options, self._estimator_options, self._engine = options, estimator, engine
        self._always = always
        self._say = on_notice or (lambda _: None)
        self._estimators: dict[tuple[EngineOptions, Path], SharedEstimator] = {}
        self._channels: dict[tuple[str, EngineOptions, Path], Channel] = {}
        self._guard = threading.RLock()  # of the channels
        self._engines_guard = threading.Lock()  # held while an engine loads
        self._closed = False
        self._database = database
        self._log: EventLog | None = None
        self._store: EventStore | None = None
        if database is not None:
            self._store = EventStore(
                database,
                retention=retention,
                on_commit=self._committed,
                on_error=lambda error: self._say(str(error or "Events are written again.")),
                on_notice=self._say,
            )
            self._log = EventLog(database)

    def prepare(self) -> str:
        """Load the engine and, where it was asked for, begin; the engine's name.

        Raises:
            EngineError: the network cannot run here.
        """
        name = self._estimator(self._engine, self.network).engine_name
        self.switch(self.current)
        return name

    # channels -----------------------------------------------------------------------------------
    def channel(self, name: str, device: str = "", precision: str = "") -> Channel:
        """The channel of a source, made at first use.

        Raises:
            KeyError: no such source. UsageError: no such device or precision, or too many engines.
        """
        uri = self.sources[name]
        engine, network = self._wanted(device, precision)
        key = (name, engine, network.model)
        standard = key[1:] == (self._engine, self.network.model)
        with self._guard:
            if key not in self._channels:
                if self._closed:
                    raise UsageError("The server is ending.")
                self._make_room(key[1:])
                self._channels[key] = Channel(
                    name,
                    uri,
                    self.displays[name],
                    lambda: self._estimator(engine, network),
                    self._options,
                    self._store if standard else None,
                    self._on_state,
                )
            return self._channels[key]

    def _on_state(self, name: str, state: str, reason: str) -> None:
        if state in ("lost", "failed") or (state == "live" and reason):
            self._say(f"{self.displays[name]}: {state}: {reason}".rstrip(": "))
        elif state == "live":
            self._say(f"{self.displays[name]}: live")

    def _wanted(self, device: str, precision: str) -> tuple[EngineOptions, Network]:
        """The engine and the weights for a device and a precision, "" = as the server was started."""
        engine, network = self._engine, self.network
        is_ir = network.model.suffix.lower() == ".xml"
        if device:
            known = device.upper()
            if known == "MYRIAD":
                raise UsageError("OpenVINO has dropped MYRIAD sticks; use CPU, GPU, NPU or AUTO.")
            if known not in DEVICES:
                raise UnknownNameError("device", device[:20], DEVICES)
            if known == "CPU" and engine.engine in ("auto", "onnxruntime") and not is_ir:
                engine = replace(engine, engine="onnxruntime", device="")
            elif known != "AUTO" or is_ir:
                engine = replace(engine, engine="openvino", device=known)
        if precision:
            known = {"INT8": "FP16-INT8"}.get(precision.upper(), precision.upper())
            if known not in PRECISIONS:
                raise UnknownNameError("precision", precision[:20], PRECISIONS)
            model = self._weights(known)
            if model is not None:
                network = replace(network, model=model, variant=known)
            elif known == "FP16-INT8":
                raise UsageError(f"There are no {known} weights of {network.manifest.name} here.")
            else:
                engine = replace(engine, precision=known.lower())
        if self._same(engine) and network.model == self.network.model:
            return self._engine, self.network
        return engine, network

    def _weights(self, precision: str) -> Path | None:
        """Weights of a precision that are here: those in use, or an installed variant."""
        if self.network.model.parent.name.upper() == precision:
            return self.network.model
        if self.network.variant.upper() == precision:
            return self.network.model
        try:
            return registry.installed(self.network.manifest, precision)
        except UnknownNameError:
            return None

    def _same(self, engine: EngineOptions) -> bool:
        """True where an engine asked for by name is what "auto" would take."""
        from edgepose.engines import choose

        if engine == self._engine:
            return True
        if self._engine.engine != "auto" or engine.precision != self._engine.precision:
            return False
        taken = choose(self.network.model, self._engine).name
        device = self._engine.device or ("CPU" if taken == "openvino" else "")
        return (engine.engine, engine.device) == (taken, device)

    def _make_room(self, wanted: tuple[EngineOptions, Path]) -> None:
        """Give up engines that nobody looks through, where another one is wanted."""
        standard = (self._engine, self.network.model)
        used = {standard, *(key[1:] for key in self._channels)}
        if wanted in used or len(used) < MAX_ENGINES:
            return
        for engine in used - {standard}:
            mine = {k: c for k, c in self._channels.items() if k[1:] == engine}
            if not any(c.wanted for c in mine.values()):
                for key in mine:
                    del self._channels[key]
                # not here: whoever waits for the lock would wait for the last inference too
                threading.Thread(
                    target=self._retire, args=(engine, list(mine.values())), daemon=True
                ).start()
                return
        raise UsageError(f"{MAX_ENGINES} engines are in use already; take one of theirs.")

    def _retire(self, engine: tuple[EngineOptions, Path], channels: list[Channel]) -> None:
        """End channels that were taken out, then their engine."""
        for channel in channels:
            channel.close()
        with self._engines_guard:
            shared = self._estimators.pop(engine, None)
        if shared is not None:
            shared.release()

    def _estimator(self, engine: EngineOptions, network: Network) -> SharedEstimator:
        key = (engine, network.model)
        with self._engines_guard:
            if key not in self._estimators:
                options = replace(self._estimator_options, engine=engine)
                self._estimators[key] = SharedEstimator(make_estimator(network, options))
            return self._estimators[key]

    def switch(self, name: str) -> None:
        """Make a source the current one, for all who do not name another."""
        self.current = name
        with self._guard:
            channels = list(self._channels.values())
        for channel in channels:
            channel.always = False
            channel.publish("source", {"source": name})
        if self._always:
            channel = self.channel(name)
            channel.always = True
            channel.look()

    # events -------------------------------------------------------------------------------------
    def _committed(self, events: tuple[Event, ...]) -> None:
        """Tell viewers of events once they are on the disk."""
        with self._guard:
            channels = list(self._channels.values())
        for event in events:
            for channel in channels:
                if channel.display == event.source:
                    channel.publish("event", {"event": event.as_dict()})

    @property
    def events(self) -> EventLog:
        """The stored events.

        Raises:
            NoEvents: they are not stored.
        """
        if self._log is None:
            raise NoEvents("Events are not stored here; start edgepose serve with --db FILE.")
        return self._log

    def numbered(self, page: int, per_page: int) -> NumberedPage:
        """A page of enter and exit events of the whole picture, oldest first."""
        wanted = Filter(events=("enter", "exit"), zones=("",))
        return self.events.numbered(wanted, page=page, per_page=per_page, newest_first=False)

    def page(self, wanted: Filter, cursor: str, limit: int, newest_first: bool) -> Page:
        """Events behind a cursor."""
        return self.events.page(wanted, cursor=cursor, limit=limit, newest_first=newest_first)

    def hours(self, wanted: Filter) -> list[HourCount]:
        """Counts by hour."""
        return self.events.hours(wanted)

    def snapshot(self, number: int) -> bytes | None:
        """The picture stored with an event, None where there is none."""
        log, database = self.events, self._database
        found = log.page(cursor=str(number - 1), limit=1, newest_first=False).events
        if not found or found[0].id != number or not found[0].snapshot or database is None:
            return None
        file = (database.parent / found[0].snapshot).resolve()
        if not file.is_relative_to(database.parent.resolve()):
            return None
        with contextlib.suppress(OSError):
            return file.read_bytes()
        return None

    # what is known --------------------------------------------------------------------------------
    @property
    def channels(self) -> list[Channel]:
        """Every channel that was ever looked at."""
        with self._guard:
            return list(self._channels.values())

    def stats(self) -> dict[str, Any]:
        """States and speed."""
        store = self._store
        return {
            "source": self.current,
            "sources": [{"name": n, "input": d} for n, d in self.displays.items()],
            "network": self.network.manifest.name,
            "uptime_s": round(time.time() - self.started, 1),
            "channels": [c.status() for c in self.channels],
            "events": {
                "stored": store is not None,
                "dropped": store.dropped if store else 0,
                "error": str(store.error) if store and store.error else "",
            },
        }

    def networks(self) -> list[dict[str, Any]]:
        """The networks that edgepose knows, and which are installed."""
        return [
            {
                "name": m.name,
                "family": m.family,
                "description": m.description,
                "installed": registry.installed(m) is not None,
                "current": m.name == self.network.manifest.name,
            }
            for m in registry.manifests()
        ]

    def health(self) -> dict[str, Any]:
        """ok, unless events cannot be written or a channel has failed; nothing that is secret."""
        failed = sorted({c.name for c in self.channels if c.state == "failed"})
        events = self._store is None or self._store.error is None
        return {"ok": not failed and events, "failed": failed, "events_written": events}

    def metrics(self) -> str:
        """The same for Prometheus."""
        kinds: dict[str, tuple[str, Callable[[Mapping[str, Any]], float]]] = {
            "edgepose_frames_total": ("counter", lambda s: s["frames"]),
            "edgepose_people": ("gauge", lambda s: s["people"]),
            "edgepose_viewers": ("gauge", lambda s: s["viewers"]),
            "edgepose_frames_per_second": ("gauge", lambda s: s["fps"]),
            "edgepose_inference_milliseconds": ("gauge", lambda s: s["inference_ms"]),
            "edgepose_live": ("gauge", lambda s: float(s["state"] == "live")),
        }
        statuses = [c.status() for c in self.channels]
        lines = []
        for name, (kind, value) in kinds.items():
            lines.append(f"# TYPE {name} {kind}")
            for number, status in enumerate(statuses):
                label = f'source="{status["source"]}",channel="{number}"'
                lines.append(f"{name}{{{label}}} {value(status)}")
        if self._store is not None:
            lines.append("# TYPE edgepose_events_dropped_total counter")
            lines.append(f"edgepose_events_dropped_total {self._store.dropped}")
        return "\n".join(lines) + "\n"

    # the end ------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Begin to end: viewers' streams end, pipelines stop."""
        with self._guard:
            self._closed = True
        for channel in self.channels:
            channel.stop()

    def close(self) -> None:
        """End channels, engines and the store; safe to call twice."""
        self.stop()
        deadline = time.monotonic() + CLOSE_SECONDS
        for channel in self.channels:  # one may hang in a driver or in connecting
            channel.close(max(0.0, deadline - time.monotonic()))
        for shared in self._estimators.values():
            shared.release()
        if self._store is not None:
            self._store.close(1.0)
        if self._log is not None:
            with contextlib.suppress(EdgeposeError, StoreError):
                self._log.close()
