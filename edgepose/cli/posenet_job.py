"""What `posenet` does with its arguments: open everything, run the pipeline, sum up."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from edgepose.cli.common import finishing, terminate_as_interrupt
from edgepose.cli.console import Talk, Ticker, say_line
from edgepose.cli.inputs import (
    OnEvent,
    behind_the_end,
    files_of,
    is_file,
    open_sources,
)
from edgepose.cli.loading import Begun, find_network, load_estimator
from edgepose.cli.outputs import (
    check_sinks,
    make_overlay,
    open_outputs,
    open_sinks,
    refuse_one_name_twice,
    stdout_taken,
    tracked,
    wanted_sinks,
)
from edgepose.draw.overlay import DEFAULT, parse_overlay
from edgepose.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PARTLY,
    EdgeposeError,
    OutputError,
    SourceError,
)
from edgepose.io.base import Output, Sink, Source
from edgepose.io.targets import VIDEOS
from edgepose.io.uri import parse
from edgepose.networks.topology import Topology
from edgepose.options import NoMeaning, Posenet
from edgepose.pipeline import Pipeline, Summary
from edgepose.track.one_euro import OneEuro
from edgepose.track.tracker import Tracker
from edgepose.types import Frame, Result
from edgepose.wanted import wanted_gestures

log = logging.getLogger(__name__)


def run(
    asked: Posenet,
    inputs: list[str],
    outputs: list[str],
    lanes: int = 1,
    begun: Begun | None = None,
) -> int:
    """Run `posenet` and return its exit code.

    Args:
        lanes: frames that may be under way at the same time. begun: the engine, which is being loaded for them.

    Raises:
        EdgeposeError: for everything that went wrong before or during the run.
    """
    talk = Talk.of(asked.talk)
    say_what_has_no_meaning(asked.unused)
    terminate_as_interrupt()
    with ExitStack() as stack:
        return _run(asked, inputs, outputs, talk, stack, lanes, begun)


def say_what_has_no_meaning(unused: NoMeaning) -> None:
    """Options of jetson-inference that were given and do nothing here."""
    for field in dataclasses.fields(unused):
        if getattr(unused, field.name):
            name = field.name.replace("_", "-")
            log.warning("--%s has no meaning here; it is accepted and ignored.", name)


# options that do nothing unless ...
OF_LIVE = ("input_save", "wait", "reconnect_limit", "batch_timeout")
OF_FILMS = ("output_codec", "bitrate", "output_encoder", "output_rate")


def without_effect(asked: Posenet, inputs: Sequence[str], outputs: Sequence[str]) -> Iterator[str]:
    """Sentences about options that were given and do nothing with these inputs and outputs."""
    live = not all(map(is_file, inputs))
    ends = tuple(f".{v}" for v in VIDEOS)
    films = any(
        parse(o).scheme not in ("file", "display") or o.lower().endswith(ends) for o in outputs
    )
    for meant, names, choice, what in (
        (live, OF_LIVE, asked.source, "cameras and streams, and no input is one"),
        (films, OF_FILMS, asked.output, "films and streams, and no output is one"),
    ):
        plain = type(choice)()
        given = [n for n in names if getattr(choice, n) != getattr(plain, n)]
        if given and not meant:
            flags = " and ".join(f"--{n.replace('_', '-')}" for n in given)
            yield f"{flags} ignored: for {what}."


def _run(
    asked: Posenet,
    inputs: list[str],
    outputs: list[str],
    talk: Talk,
    stack: ExitStack,
    lanes: int,
    begun: Begun | None,
) -> int:
    words = parse_overlay(asked.overlay.overlay)
    data, start = asked.data, asked.source.start
    if data.gestures and words == DEFAULT:
        words |= {"gestures"}
    broken: list[str] = []
    refuse_one_name_twice([*outputs, *(target for _, target in wanted_sinks(data))])
    on_event = EventTeller(talk)
    source = open_sources(
        asked.source, inputs, outputs, asked.estimator.batch_size, broken, on_event
    )
    stack.callback(source.close)
    if source.stills and source.length == 0:
        raise behind_the_end(source, start)
    for sentence in without_effect(asked, inputs, outputs):
        log.warning(sentence)
    # before the network, which may be fetched and built for minutes: outputs that cannot be written
    pictures = open_outputs(
        asked.output,
        outputs,
        inputs,
        source,
        whole=not start and not asked.source.frames,
        window=not stdout_taken(data),
        stack=stack,
        on_event=on_event,
    )
    check_sinks(data)
    network = begun.network if begun else find_network(asked.network, talk, asked.engine.precision)
    together = len(inputs) if source.live else 1
    estimator = load_estimator(
        network, asked.network, asked.estimator, asked.engine, talk, together, lanes, begun
    )
    stack.callback(estimator.close)
    sinks = open_sinks(data, files_of(source, inputs), estimator.topology, stack)
    on_event.listen([s.event for s in sinks])
    for sink in sinks:
        sink.attach(source, pictures)
    finders = wanted_gestures(data.gestures, estimator.topology)
    followed = tracked(data) or bool(data.gestures and not source.stills)
    trackers = _Trackers(estimator.topology, smooth=data.smooth) if followed else None
    pipeline = Pipeline(
        source,
        estimator,
        overlay=make_overlay(asked.overlay, words, estimator.topology, followed=followed),
        tracker=trackers,
        gestures=finders,
        outputs=pictures,
        sinks=sinks,
        on_result=_teller(talk, source, quiet_data=stdout_taken(data)),
    )
    ticker = Ticker(talk, source.length)
    error: EdgeposeError | None = None
    with ticker.shown():
        try:
            pipeline.run(ticker)
        except (SourceError, OutputError) as e:
            if not pipeline.summary.frames:
                raise
            error = e
    with finishing():
        error = _finish([*pictures, *sinks], error)
    summary = pipeline.summary  # the length of a film may be an estimate: its end says for sure
    if start and not (summary.frames or summary.interrupted or broken or error):
        error = behind_the_end(source, start)
    if isinstance(error, OutputError) and not _kept(pictures, sinks):
        raise error
    if error is not None:
        log.error("edgepose: %s", error)
    files = max(len(inputs), len(files_of(source, inputs)))
    kept = outputs if not isinstance(error, OutputError) else []
    found = _count(summary.poses, "pose", "poses")
    if trackers is not None and summary.poses:
        found += trackers.told
    _sum_up(summary, found, talk, kept, nothing=not pictures and not sinks)
    if asked.profile:
        say_line(profile_table(summary))
    return _exit_code(summary, broken, error, files)


def _kept(outputs: Sequence[Output], sinks: Sequence[Sink]) -> bool:
    """Whether anything of a run that an output ended was written."""
    counters = [output.counts() for output in outputs]
    return bool(sinks) or any(lane["written"] for lanes in counters for lane in lanes.values())


def _finish(outputs: Sequence[Output | Sink], error: EdgeposeError | None) -> EdgeposeError | None:
    """Close the outputs, so that what is said next is true and comes last; the first error."""
    for output in outputs:
        try:
            output.close()
        except OutputError as e:
            error = error or e
    return error


class EventTeller:
    """Tells status events of sources and outputs to the user and, once they are open, to the sinks.

    Sources are opened first and say at once that they are connected: what the sinks missed is kept
    for them. Called from the threads of sources and outputs.
    """

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._lock = threading.Lock()
        self._listeners: list[OnEvent] | None = None
        self._missed: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        subject = event.get("source") or event.get("output") or ""
        known = ("event", "source", "output", "name")
        words = ", ".join(f"{k} {v}" for k, v in event.items() if k not in known)
        self._talk.info(f"{subject}: {event.get('event', '')} {words}".rstrip())
        with self._lock:
            if self._listeners is None:
                self._missed.append(event)
                return
        for listener in self._listeners:
            with suppress(OutputError):  # results tell of a full disk, too
                listener(event)

    def listen(self, listeners: Sequence[OnEvent]) -> None:
        """Give the listeners what they missed, and from now on everything."""
        with self._lock:
            missed, self._missed, self._listeners = self._missed, [], list(listeners)
        for event in missed:
            for listener in listeners:
                listener(event)


class _Trackers:
    """Makes a tracker for each source, and knows how many all of them have followed."""

    def __init__(self, topology: Topology, *, smooth: bool) -> None:
        self._topology, self._smooth = topology, smooth
        self._made: list[Tracker] = []

    def __call__(self) -> Tracker:
        self._made.append(Tracker(self._topology, smooth=OneEuro() if self._smooth else None))
        return self._made[-1]

    @property
    def told(self) -> str:
        """How many were followed, in words that go on behind the number of poses."""
        count, one = sum(tracker.count for tracker in self._made), self._topology.name
        if not count:
            return ", none of them sure enough to be followed"
        return f" of {_count(count, one, 'people' if one == 'person' else f'{one}s')}"


# messages ---------------------------------------------------------------------------------------
def _teller(
    talk: Talk, source: Source, *, quiet_data: bool
) -> Callable[[Frame, Result], None] | None:
    """Tells people about each still picture; films have the progress line."""
    if not source.stills or quiet_data:
        return None

    def tell(frame: Frame, result: Result) -> None:
        count = len(result.poses)
        talk.info(
            f"{os.path.basename(frame.source)}: {_count(count, 'pose', 'poses')}, "
            f"{result.inference_ms:.1f} ms"
        )
        for pose in result.poses:
            left, top, right, bottom = (round(v) for v in pose.box)
            talk.verbose(
                f"  pose {pose.id}  score {pose.score:.2f}  box {left},{top},{right},{bottom}  "
                f"{len(pose)} keypoints  {', '.join(g.name for g in pose.gestures)}".rstrip()
            )

    return tell


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _sum_up(
    summary: Summary, found: str, talk: Talk, outputs: Sequence[str], *, nothing: bool
) -> None:
    """One line on the run: what was found, how fast, and where it is."""
    rate = summary.frames / summary.seconds if summary.seconds else 0.0
    where = f"; written to {', '.join(outputs)}" if outputs else ""
    if nothing:
        where = "; nothing written: name an output, --json - or --csv FILE"
    talk.info(
        f"{_count(summary.frames, 'frame', 'frames')}, "
        f"{found}, {summary.seconds:.1f} s, "
        f"{rate:.1f} frames/s{where}"
    )


def _exit_code(
    summary: Summary, broken: Sequence[str], error: EdgeposeError | None, files: int
) -> int:
    """What the run ends with; inputs that could not be read are said."""
    if broken and files > 1:
        count = len(set(broken))
        log.error(
            "edgepose: %d of %d inputs could not be read, or not to the end.",
            count,
            max(files, count),
        )
    if summary.interrupted:
        return EXIT_INTERRUPTED
    if broken or error is not None:
        return EXIT_PARTLY if summary.frames else EXIT_FAILED
    return EXIT_DONE


def profile_table(summary: Summary) -> str:
    """Mean and percentiles of every stage as lines of text."""
    lines = [f"{'stage':<12}{'mean ms':>10}{'p50':>10}{'p90':>10}{'p99':>10}"]
    for name, s in summary.stages.items():
        row = (s.mean, s.percentile(50), s.percentile(90), s.percentile(99))
        lines.append(f"{name:<12}" + "".join(f"{v:>10.2f}" for v in row))
    return "\n".join(lines)
