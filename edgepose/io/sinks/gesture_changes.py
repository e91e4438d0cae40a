"""Which gestures begin and end from one result to the next, for sinks that tell or count them."""

from __future__ import annotations

from edgepose.types import Gesture, Result

Change = tuple[str, int, Gesture]  # "begin" or "end", track, gesture


class GestureChanges:
    """Remembers what the tracked people of each source did in its last result."""

    def __init__(self) -> None:
        self._last: dict[str, dict[tuple[int, str], Gesture]] = {}

    def update(self, result: Result) -> list[Change]:
        """The begins, then the ends, that a result brings about."""
        now = {
            (pose.track, gesture.name): gesture
            for pose in result.poses
            if pose.track is not None
            for gesture in pose.gestures
        }
        last = self._last.get(result.source, {})
        self._last[result.source] = now
        begun: list[Change] = [("begin", k[0], g) for k, g in now.items() if k not in last]
        return begun + [("end", k[0], g) for k, g in last.items() if k not in now]
