"""Everything behind the pages: channels, and what they share."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.closing import Closing
from edgepose.errors import EdgeposeError, UsageError
from edgepose.events.event import EXAMPLE, readable
from edgepose.events.store import EventStore
from edgepose.events.tables import Retention
from edgepose.io.uri import parse
from edgepose.serve.channel import Channel
from edgepose.serve.engines import MAX_ENGINES, Choice, EnginePool, Key
from edgepose.serve.recorded import Recorded
from edgepose.serve.watch import ChannelOptions
from edgepose.serve.zone_book import ZoneBook

if TYPE_CHECKING:
    from edgepose.events.event import Event
    from edgepose.fleet.delivery import Target
    from edgepose.networks.topology import Topology
    from edgepose.types import Result

    Keeper = Callable[[str, Result, Topology | None], None]

CLOSE_SECONDS = 1.5


class Studio(Closing):
    """The channels and what they share.

    Args:
        sources: input URIs by name: cameras and "example"; the first is the current one.
        engines: what infers.
        options: of the channels. zones: of each input, None = those of the options for all cameras.
        database: file of the events; None = they are not stored. retention: what is kept of them.
        always: infer on all cameras without viewers too; on the example where there is no camera.
        max_viewers: of one channel.

    Attributes:
        displays: the inputs by name, without credentials. zones: of each of them.
        store: of the events, None where they are not stored. recorded: what was stored.
        started: `time.monotonic()` of the start.

    Raises:
        StoreError: the database cannot be opened.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        engines: EnginePool,
        options: ChannelOptions,
        *,
        zones: ZoneBook | None = None,
        database: Path | None = None,
        retention: Retention | None = None,
        always: bool = False,
        max_viewers: int = 100,
    ) -> None:
        if not sources:
            raise UsageError("Name a source or an example video to serve.")
        self.sources = dict(sources)
        self.displays = {name: readable(parse(uri).display) for name, uri in sources.items()}
        self.current = next(iter(self.sources))
        self.max_viewers = max_viewers
        self.started = time.monotonic()
        self.engines, self.network = engines, engines.standard.network
        self._options, self._always = options, always
        self.zones = zones or ZoneBook(self.cameras, options.zones)
        self._channels: dict[tuple[str, Key], Channel] = {}
        self._guard = threading.RLock()  # of the channels
        self._closed = False
        self._targets: list[Target] = []
        self._keepers: list[Keeper] = []
        self.store: EventStore | None = None
        if database is not None:
            self.store = EventStore(database, retention=retention, on_commit=self._committed)
        self.recorded = Recorded(database)

    def prepare(self) -> str:
        """Load the engine and, where it was asked for, begin; the engine's name.

        Raises:
            EngineError: the network cannot run here.
        """
        name = self.engines.get(self.engines.standard).engine_name
        self.switch(self.current)
        return name

    @property
    def channels(self) -> list[Channel]:
        """Every channel that was ever looked at."""
        with self._guard:
            return list(self._channels.values())

    def channel(self, name: str, device: str = "", precision: str = "") -> Channel:
        """The channel of a source, made at first use.

        Raises:
            KeyError: no such source. UsageError: no such device or precision, or too many engines.
        """
        uri = self.sources[name]
        choice = self.engines.choose(device, precision)
        with self._guard:
            if (name, choice.key) not in self._channels:
                if self._closed:
                    raise UsageError("The server is ending.")
                self._make_room(choice.key)
                self._channels[name, choice.key] = self._make(name, uri, choice)
            return self._channels[name, choice.key]

    def _make(self, name: str, uri: str, choice: Choice) -> Channel:
        store = self.store if choice == self.engines.standard else None
        # nobody counts the people of a test picture or of the film beside the camera
        shows = name == EXAMPLE or parse(uri).scheme == "test"
        topology = choice.network.topology
        keeps = None if shows or store is None else partial(self._keep, name, topology)
        zones = self.zones.of(name)
        return Channel(
            name,
            uri,
            self.displays[name],
            lambda: self.engines.get(choice),
            replace(self._options, example=shows, camera=name, zones=zones, poses=keeps),
            store,
        )

    def _make_room(self, wanted: Key) -> None:
        """Give up an engine that nobody looks through, where another one is wanted."""
        used = {key for _, key in self._channels}
        if not self.engines.is_full(wanted, used):
            return
        for key in used - {self.engines.standard.key}:
            mine = {at: c for at, c in self._channels.items() if at[1] == key}
            if not any(c.wanted for c in mine.values()):
                for at in mine:
                    del self._channels[at]
                # not here: whoever waits for the lock would wait for the last inference too
                gone = (key, list(mine.values()))
                threading.Thread(target=self._retire, args=gone, daemon=True).start()
                return
        raise UsageError(f"{MAX_ENGINES} engines are in use already; take one of theirs.")

    def _retire(self, key: Key, channels: list[Channel]) -> None:
        """End channels that were taken out, then their engine."""
        for channel in channels:
            channel.close()
        self.engines.drop(key)

    def switch(self, name: str) -> None:
        """Make a source the current one, for all who do not name another."""
        self.current = name
        for channel in self.channels:
            channel.publish("source", {"source": name})
        self._keep_going()

    @property
    def cameras(self) -> list[str]:
        """The names of what is recorded for good: all but the example, unless there is nothing else."""
        return [name for name in self.sources if name != EXAMPLE] or list(self.sources)

    def change_zones(self, name: str, data: Any) -> dict[str, Any]:
        """Take other zones for an input, and tell who looks at it; see `ZoneBook.change`."""
        with self._guard:
            zones = self.zones.change(name, data)
            channels = [c for c in self.channels if c.name == name]
            for channel in channels:
                channel.rezone(zones)
        document = self.zones.document(name)
        for channel in channels:
            channel.publish("zones", document)
        return document

    def _keep_going(self) -> None:
        for name in self.cameras if self._always else ():
            channel = self.channel(name)
            channel.always = True
            channel.look()

    def keep(self, keeper: Keeper) -> None:
        """Give a keeper every result of the cameras, in whatever network they are; it must not wait."""
        self._keepers.append(keeper)

    def _keep(self, name: str, topology: Topology | None, result: Result) -> None:
        for keeper in self._keepers:
            keeper(name, result, topology)

    def deliver(self, target: Target) -> None:
        """Tell a target whenever there are new events; it is closed at the end."""
        self._targets.append(target)

    def adopt(
        self,
        options: ChannelOptions,
        zones: ZoneBook,
        retention: Retention,
        engines: EnginePool | None,
    ) -> None:
        """Go on with other settings: all channels begin anew, viewers come back by themselves.

        Args:
            engines: loaded ones, None = those there are.
        """
        with self._guard:
            old = list(self._channels.values())
            down = {c.name for c in old if c.state != "live"}
            self._channels.clear()
            self._options, self.zones = options, zones
            before, self.engines = self.engines, engines or self.engines
            self.network = self.engines.standard.network
        for channel in old:
            channel.close(CLOSE_SECONDS)
        if engines is not None:
            before.close()
        if self.store is not None:
            self.store.keep(retention)
        self._keep_going()
        for channel in self.channels:
            channel.was_down = channel.name in down

    def _committed(self, events: tuple[Event, ...]) -> None:
        """Tell viewers and targets of events once they are on the disk."""
        for target in self._targets:
            target.wake()
        channels = self.channels
        for event in events:
            for channel in channels:
                if channel.name == event.camera:
                    channel.publish("event", {"event": event.as_dict()})

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
        self.engines.close()
        if self.store is not None:
            self.store.close(1.0)  # before the targets: who was inside has left now
        for target in self._targets:
            target.close()
        with contextlib.suppress(EdgeposeError):
            self.recorded.close()
