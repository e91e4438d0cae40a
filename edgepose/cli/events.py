"""`edgepose events`: list, export and count recorded events, import those of another database."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from edgepose.cli.console import say_line
from edgepose.cli.serve_options import (
    TIMES,
    EventFilter,
    EventsExport,
    EventsHours,
    EventsImport,
    EventsList,
)
from edgepose.errors import OutputError, UnknownNameError, UsageError
from edgepose.events.event import KINDS, Event, iso_time
from edgepose.events.log import EventLog, Filter, HourCount
from edgepose.events.openvino_demo import import_demo
from edgepose.events.store import default_path
from edgepose.files import refuse_input, replacing


def list_events(asked: EventsList) -> None:
    """Show events, the newest first."""
    with EventLog(asked.db or default_path()) as events:
        page = events.page(make_filter(asked.which, events), cursor=asked.cursor, limit=asked.limit)
    if asked.json:
        _print_json({"events": [e.as_dict() for e in page.events], "cursor": page.cursor})
        return
    _table(page.events)
    if page.cursor:
        say_line(f"More: --cursor {page.cursor}")


def export(asked: EventsExport) -> None:
    """Write events to a file or to stdout, the oldest first."""
    output = asked.output
    kind = asked.format.lower() or Path(output).suffix.lstrip(".").lower() or "csv"
    if kind not in _WRITERS:
        if not asked.format:
            raise UsageError(f"{output}: name it *.csv, *.json or *.jsonl, or give --format.")
        raise UnknownNameError("format", asked.format, _WRITERS)
    if output != "-":
        refuse_input(output, (asked.db or default_path(),))
    with EventLog(asked.db or default_path()) as events:
        counted = _Counted(events.all(make_filter(asked.which, events)))
        lines = _WRITERS[kind](counted)
        if output == "-":
            sys.stdout.writelines(lines)
        else:
            _write(Path(output), lines)
            say_line(f"{counted.count} events in {output}")


def hours(asked: EventsHours) -> None:
    """Plot counts by hour (local time) in the terminal."""
    which = asked.which
    # people are counted once, not once more for every zone, unless a zone is asked for
    if not which.zone and "cross" not in which.event:
        which = replace(which, zone=("",))
    with EventLog(asked.db or default_path()) as events:
        counts = events.hours(make_filter(which, events))
    if asked.of_day:
        counts = _by_hour_of_day(counts)
    if asked.json:
        rows = [{"enter": c.enter, "exit": c.exit, "cross": c.cross} for c in counts]
        keys = [c.start // 3600 if asked.of_day else iso_time(c.start) for c in counts]
        key = "hour" if asked.of_day else "start"
        _print_json([{key: k, **row} for k, row in zip(keys, rows, strict=True)])
        return
    _plot(counts if asked.of_day else _with_gaps(counts), of_day=asked.of_day)


def import_events(asked: EventsImport) -> None:
    """Bring over the events of another program's database."""
    target = asked.db or default_path()
    done = import_demo(asked.file, target)
    if asked.json:
        _print_json(
            {
                "new": done.new,
                "known": done.known,
                "skipped": done.skipped,
                "sessions": done.sessions,
            }
        )
        return
    extra = f", {done.known} were there already" if done.known else ""
    extra += f", {done.skipped} rows were not understood" if done.skipped else ""
    say_line(f"{done.new} events of {done.sessions} sessions into {target}{extra}")


# arguments -----------------------------------------------------------------------------------------


SOURCES = {"camera": "without", "example": "only"}  # examples, by the tabs of `edgepose serve`


def make_filter(which: EventFilter, events: EventLog) -> Filter:
    """The filter of the common options; a source may be named by its last part, or as in `edgepose serve`.

    Raises:
        UsageError: an unknown kind of event, a time that cannot be read, or sources that exclude each other.
    """
    tabs = [word for word in which.source if word in SOURCES]
    if tabs and len(which.source) > 1:
        raise UsageError(f"--source {tabs[0]} goes alone; name the other sources by their paths.")
    kinds = [kind.lower() for kind in which.event]
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("event", kind, KINDS)
    now = time.time()
    return Filter(
        events=kinds,
        zones=which.zone,
        gestures=which.gesture,
        tracks=which.track,
        sources=() if tabs else events.named(which.source),
        examples=SOURCES[tabs[0]] if tabs else "",
        sessions=which.session,
        since=parse_time(which.since, now) if which.since else None,
        until=parse_time(which.until, now) if which.until else None,
    )


def parse_time(text: str, now: float) -> float:
    """UTC seconds of a date or time (local unless it says otherwise), or of a span before `now`.

    Raises:
        UsageError: it is none of them.
    """
    word = text.strip().lower()
    span = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*([smhdw])", word)
    if span:
        seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[span[2]]
        return now - float(span[1]) * seconds
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if word == "today":
        return midnight.timestamp()
    if word == "yesterday":
        return (midnight - timedelta(days=1)).timestamp()
    try:
        # Python 3.10 does not know the Z
        return datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip())).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text!r} is not a time; write for example {TIMES}.") from None


# what is written -----------------------------------------------------------------------------------


def _print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False))


FIELDS = (
    "id", "event", "time", "track", "zone", "direction", "gesture", "score", "dwell", "frame", "left", "top", "right",
    "bottom", "source", "session", "camera", "snapshot", "note",
)  # fmt: skip


def _csv(events: Iterable[Event]) -> Iterable[str]:
    def row(values: Iterable[Any]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        return text.getvalue()

    yield row(FIELDS)
    for event in events:
        data = event.as_dict()
        box = data.pop("box") or (None,) * 4
        data |= dict(zip(("left", "top", "right", "bottom"), box, strict=True))
        yield row(data[field] for field in FIELDS)


def _json_lines(events: Iterable[Event]) -> Iterable[str]:
    for event in events:
        yield json.dumps(event.as_dict(), ensure_ascii=False) + "\n"


def _json_array(events: Iterable[Event]) -> Iterable[str]:
    first = True
    yield "["
    for line in _json_lines(events):
        yield ("\n " if first else ",\n ") + line.rstrip("\n")
        first = False
    yield "]\n" if first else "\n]\n"


_WRITERS = {"csv": _csv, "json": _json_array, "jsonl": _json_lines}


class _Counted:
    """Events, and how many of them have passed."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events
        self.count = 0

    def __iter__(self) -> Iterator[Event]:
        for event in self._events:
            self.count += 1
            yield event


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write a file whole or not at all."""
    try:
        with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
    except OSError as e:
        raise OutputError(f"{path} cannot be written: {e.strerror or e}.") from None


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _called(source: str) -> str:
    """A source as people call it: a film without its folder, a device or an address whole."""
    whole = "://" in source or source.startswith("/dev/")
    return source if whole else Path(source).name


def _table(events: Iterable[Event]) -> None:
    """A table for people; plain words where stdout is no terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("time", "event", "track", "zone", "dwell", "source", "session", "note")
    for name in columns:
        right = name in ("track", "dwell")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    style = {"enter": "green", "exit": "yellow", "cross": "cyan"}
    count = 0
    for e in events:
        count += 1
        what = f"{e.event} {e.direction or e.gesture}".strip()
        table.add_row(
            _local(e.time),
            f"[{style.get(e.event, 'default')}]{escape(what)}[/]",
            "" if e.track is None else f"#{e.track}",
            escape(e.zone),
            "" if e.dwell is None else f"{e.dwell:.1f} s",
            escape(_called(e.source)),
            escape(e.session),
            escape(e.note),
        )
    if not count:
        say_line("No events.")
        return
    # a pipe has no width: lines stay whole for grep and cut
    width = None if sys.stdout.isatty() else 1000
    Console(width=width, highlight=False).print(table)


# counts by hour --------------------------------------------------------------------------------------


def _by_hour_of_day(counts: list[HourCount]) -> list[HourCount]:
    """24 sums, `start` being the hour times 3600."""
    sums = [[0, 0, 0] for _ in range(24)]
    for c in counts:
        hour = sums[datetime.fromtimestamp(c.start).hour]
        hour[:] = (hour[0] + c.enter, hour[1] + c.exit, hour[2] + c.cross)
    return [HourCount(3600.0 * i, *row) for i, row in enumerate(sums)]


def _with_gaps(counts: list[HourCount]) -> list[HourCount]:
    """Empty hours put in between, but a long gap as a single start of NaN."""
    out: list[HourCount] = []
    for c in counts:
        if out:
            missing = round((c.start - out[-1].start) / 3600) - 1
            if missing > 6:
                out.append(HourCount(float("nan")))
            else:
                out += [HourCount(out[-1].start + 3600 * (i + 1)) for i in range(missing)]
        out.append(c)
    return out


def _plot(counts: list[HourCount], *, of_day: bool) -> None:
    """One bar a row: enters, or what was found where there are none."""
    from rich.console import Console

    if not counts:
        say_line("No events.")
        return
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    kind = next(
        (k for k in ("enter", "cross", "exit") if any(getattr(c, k) for c in counts)), "enter"
    )
    most = max(getattr(c, kind) for c in counts) or 1
    room = max(10, console.width - 42)
    console.print(f"[bold]{'hour':<16} {kind:<5}[/]", markup=True)
    for c in counts:
        if c.start != c.start:
            console.print("      ...", style="dim")
            continue
        value = getattr(c, kind)
        label = f"{int(c.start // 3600):02}:00" if of_day else _local(c.start)[:16]
        rest = ", ".join(
            f"{getattr(c, k)} {k}"
            for k in ("enter", "exit", "cross")
            if k != kind and getattr(c, k)
        )
        console.print(
            f"{label:<16} [cyan]{bar(value / most * room)}[/] {value or ''}  [dim]{rest}[/]".rstrip()
        )


def bar(length: float) -> str:
    """A bar of `length` characters, to an eighth of one."""
    eighths = round(length * 8)
    full, part = divmod(max(eighths, 1 if length > 0 else 0), 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[part - 1] if part else "")
