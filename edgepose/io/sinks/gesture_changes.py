"""Which gestures begin and end from one result to the next, for sinks that tell or count them."""

from __future__ import annotations

from collections.abc import Iterable

from edgepose.types import Gesture, Result

Change = tuple[str, int, Gesture]  # "begin" or "end", track, gesture
MISSED = 2.0  # seconds for which a tracker remembers who is not seen


class GestureChanges:
    """Remembers what the tracked people of each source do.

    Who is not seen goes on with it for two seconds: a person who is missed in a frame does not begin again.
    """

    def __init__(self) -> None:
        # by source, and by track: when it was last seen, and what it did then
        self._known: dict[str, dict[int, tuple[float, dict[str, Gesture]]]] = {}

    def update(self, result: Result) -> list[Change]:
        """The begins, then the ends, that a result brings about."""
        now = float(result.frame) if result.pts is None else result.pts
        known = self._known.setdefault(result.source, {})
        begun, ended = list[Change](), list[Change]()
        for pose in result.poses:
            if pose.track is None:
                continue
            doing = {gesture.name: gesture for gesture in pose.gestures}
            _, before = known.get(pose.track, (now, {}))
            begun += [("begin", pose.track, g) for name, g in doing.items() if name not in before]
            ended += _ends(pose.track, (g for name, g in before.items() if name not in doing))
            known[pose.track] = now, doing
        # a film that starts again ends what was done in it, too
        gone = [track for track, (seen, _) in known.items() if not 0 <= now - seen <= MISSED]
        for track in gone:
            ended += _ends(track, known.pop(track)[1].values())
        return begun + ended

    def finish(self) -> dict[str, list[Change]]:
        """The ends of everything that goes on, by source."""
        known, self._known = self._known, {}
        return {
            source: [
                c for track, (_, doing) in people.items() for c in _ends(track, doing.values())
            ]
            for source, people in known.items()
        }


def _ends(track: int, gestures: Iterable[Gesture]) -> list[Change]:
    return [("end", track, gesture) for gesture in gestures]
