"""One event: a person enters, leaves or crosses a line, begins or ends a gesture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edgepose.types import Box

ENTER, EXIT, CROSS = "enter", "exit", "cross"
BEGIN, END = "begin", "end"  # of gestures
KINDS = (ENTER, EXIT, CROSS, BEGIN, END)
EXAMPLE = "example"  # sessions that show how it works begin with this word
FIRST, LAST = -62135596800.0, 253402300799.0  # the years 1 to 9999


@dataclass(frozen=True)
class Event:
    """An event, of the whole picture or of a zone.

    Attributes:
        event: enter, exit, cross, begin or end.
        time: when it happened, seconds since 1970 UTC: of an enter when the person was first seen, of an
            exit when last seen; of a begin and an end when the gesture began, and was last seen.
        track: track id of the person; None where none is known (imported events).
        zone: name of the zone or line; "" = the whole picture.
        direction: of a cross: where to, by default "right" or "left".
        frame: number of the frame in its source.
        dwell: of an exit: seconds from enter to exit; of an end: from begin to end.
        box: of the person in image pixels.
        gesture: of a begin and an end. score: how sure it is, 0..1; of an end the highest that it was.
        note: why, where it was not seen: "end of stream", "closed at start".
        source: path or URI without credentials. session: name of the session. camera: name of the input
            where one program watches several.
        snapshot: path of a picture, relative to the database's folder, or "".
        id: number in the database, None until it is written.
    """

    event: str
    time: float
    track: int | None = None
    zone: str = ""
    direction: str = ""
    frame: int | None = None
    dwell: float | None = None
    box: Box | None = None
    note: str = ""
    source: str = ""
    session: str = ""
    camera: str = ""
    snapshot: str = ""
    id: int | None = None
    gesture: str = ""
    score: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times in ISO 8601 UTC with milliseconds, the box as a list."""
        return {
            "id": self.id,
            "event": self.event,
            "time": iso_time(self.time),
            "track": self.track,
            "zone": self.zone,
            "direction": self.direction,
            "gesture": self.gesture,
            "score": None if self.score is None else round(self.score, 4),
            "dwell": None if self.dwell is None else round(self.dwell, 3),
            "frame": self.frame,
            "box": None if self.box is None else [round(v, 1) for v in self.box],
            "source": self.source,
            "session": self.session,
            "camera": self.camera,
            "snapshot": self.snapshot,
            "note": self.note,
        }

    def sent(self) -> dict[str, Any]:
        """For messages: as `as_dict`, without what is empty, and without the picture's place here."""
        told = {k: v for k, v in self.as_dict().items() if v is not None and v != ""}
        told.pop("snapshot", None)
        return told


def event_of(data: Mapping[str, Any]) -> Event:
    """The event that `as_dict` wrote; fields that are absent are empty, unknown ones are passed over.

    Raises:
        ValueError: a field is not what it should be; the message names it.
    """
    values: dict[str, Any] = {}
    for name, value in data.items():
        kinds = _KINDS_OF.get(name)
        if kinds is None or value is None:
            continue
        if type(value) not in kinds:
            raise ValueError(f"{name} is {str(value)[:40]!r}")
        values[name] = value
    if data.get("event") not in KINDS:
        raise ValueError(f"event is {str(data.get('event'))[:40]!r}, none of {', '.join(KINDS)}")
    for name in ("id", "track", "frame"):
        if not 0 <= values.get(name, 0) < 2**63:
            raise ValueError(f"{name} is out of bounds")
    for name in values.keys() & {"dwell", "score"}:
        values[name] = float(values[name])
    values["time"] = seconds_of(values.get("time", ""))
    box = data.get("box")
    if box is not None:
        if not (type(box) is list and len(box) == 4 and all(type(v) in (int, float) for v in box)):
            raise ValueError("box is not four numbers")
        values["box"] = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return Event(**values)


_TEXT, _WHOLE = (str,), (int,)
_KINDS_OF: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ("event", "time", "zone", "direction", "note", "source", "session", "camera", "gesture"),
        _TEXT,
    ),
    **dict.fromkeys(("id", "track", "frame"), _WHOLE),
    "snapshot": _TEXT,
    "dwell": (int, float),
    "score": (int, float),
}


def seconds_of(text: str) -> float:
    """UTC seconds of what `iso_time` wrote; a time without an offset is UTC.

    Raises:
        ValueError: it is no time.
    """
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"time is {text[:40]!r}") from None


def readable(text: str) -> str:
    """Text that UTF-8 can carry: what a file name holds beside text is written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def iso_time(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, for example 2026-11-21T07:16:50.123Z.

    A time that no calendar has is the first or the last one of the calendar.
    """
    moment = datetime.fromtimestamp(min(max(seconds, FIRST), LAST), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
