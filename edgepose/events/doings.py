"""From gestures of tracked poses to events: `begin` and `end`, but where a zone says that it is fine.

Gestures come debounced; here they only get a place. A gesture that a zone takes for fine begins when the
person leaves that zone and still does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgepose.events.zones import Zone
from edgepose.types import Box, Gesture


@dataclass
class Doing:
    """A gesture of a track that has begun.

    Attributes:
        zone: the first zone that held the person when it began, "" where none did.
        began, seen: seconds. frame, box: where it was last seen. score: the highest so far.
    """

    zone: str
    began: float
    seen: float
    frame: int
    box: Box
    score: float


Key = tuple[int, str]  # track and gesture


class Doings:
    """What tracked people do.

    Args:
        exit_after: seconds for which a track must be gone to have ended what it did.
    """

    def __init__(self, exit_after: float) -> None:
        self._exit_after = exit_after
        self._doings: dict[Key, Doing] = {}

    def begun(
        self, track: int, gestures: Sequence[Gesture], zones: Sequence[Zone], seen: Doing
    ) -> Iterator[tuple[Key, Doing]]:
        """What of the gestures of a pose begins; `zones` hold the person, `seen` tells when and where."""
        for gesture in gestures:
            key = (track, gesture.name)
            doing = self._doings.get(key)
            if doing is not None:
                doing.seen, doing.frame, doing.box = seen.seen, seen.frame, seen.box
                doing.score = max(doing.score, gesture.score)
            elif not any(gesture.name in zone.fine for zone in zones):
                zone = zones[0].name if zones else ""
                began = seen.seen - gesture.seconds
                doing = Doing(zone, began, seen.seen, seen.frame, seen.box, gesture.score)
                self._doings[key] = doing
                yield key, doing

    def ended(self, seen: Sequence[int], now: float) -> Iterator[tuple[Key, Doing]]:
        """What has ended: of tracks that are seen now, and of those that are gone."""
        for key, doing in sorted(self._doings.items()):
            gone = now - doing.seen
            if gone > 0 and (key[0] in seen or gone >= self._exit_after):
                yield key, self._doings.pop(key)

    def all_ended(self) -> Iterator[tuple[Key, Doing]]:
        """Everything ends, with the source."""
        yield from sorted(self._doings.items())
        self._doings.clear()
