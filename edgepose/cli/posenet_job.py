"""What `posenet` does with its arguments: open everything, run the pipeline, sum up."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk, Ticker
from edgepose.cli.inputs import OnEvent, behind_the_end, files_of, open_sources, split_positionals
from edgepose.cli.outputs import (
    check_sinks,
    make_overlay,
    open_outputs,
    open_sinks,
    refuse_one_name_twice,
    stdout_taken,
    wanted_sinks,
)
from edgepose.cli.wanted import find_network, load_estimator
from edgepose.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PARTLY,
    EdgeposeError,
    OutputError,
    SourceError,
)

if TYPE_CHECKING:
    from edgepose.io.base import Output, Sink, Source
    from edgepose.pipeline import Summary
    from edgepose.types import Frame, Result

NO_MEANING = [
    "labels",
    "prototxt",
    "mean_pixel",
    "input_decoder",
    "output_save",
    "output_latency",
    "num_buffers",
    "log_file",
    "maximized",
    "fullscreen",
]


def run(arguments: Mapping[str, Any]) -> int:
    """Run `posenet` and return its exit code.

    Raises:
        EdgeposeError: for everything that went wrong before or during the run.
    """
    a = dict(arguments)
    level = "error" if a["quiet"] else "verbose" if a["verbose"] else a["log_level"]
    talk = Talk(level, progress=not a["no_progress"])
    for name in NO_MEANING:
        if a[name]:
            talk.once(
                f"--{name.replace('_', '-')} has no meaning here; it is accepted and ignored."
            )
    inputs, outputs = split_positionals(a["inputs"] or [], a["source"] or [], a["output"] or [])
    broken: list[str] = []
    _web_settings(a)
    terminate_as_interrupt()
    with ExitStack() as stack:
        return _run(a, inputs, outputs, talk, broken, stack)


def _web_settings(a: Mapping[str, Any]) -> None:
    """jetson-inference's options of WebRTC and https, which our servers read from the environment."""
    for name, variable in (("ssl_cert", "SSL_CERT"), ("ssl_key", "SSL_KEY")):
        if a[name]:
            os.environ[variable] = a[name]
    if a["stun_server"] and a["stun_server"] != "disabled":
        server = str(a["stun_server"])
        os.environ["EDGEPOSE_STUN"] = server if ":" in server[:6] else f"stun:{server}"


def _run(
    a: dict[str, Any],
    inputs: list[str],
    outputs: list[str],
    talk: Talk,
    broken: list[str],
    stack: ExitStack,
) -> int:
    from edgepose.draw.overlay import parse_overlay
    from edgepose.pipeline import Pipeline

    words = parse_overlay(a["overlay"])
    refuse_one_name_twice([*outputs, *(target for _, target in wanted_sinks(a))])
    on_event = EventTeller(talk)
    source = open_sources(a, inputs, talk, broken, on_event)
    stack.callback(source.close)
    if source.stills and source.length == 0:
        raise behind_the_end(source, a["start"])
    # before the network, which may be fetched and built for minutes: outputs that cannot be written
    pictures = open_outputs(a, outputs, inputs, source, stack, on_event)
    check_sinks(a)
    network = find_network(a, talk)
    estimator = load_estimator(a, network, talk)
    stack.callback(estimator.close)
    sinks = open_sinks(a, files_of(source, inputs), stack)
    on_event.listen([s.event for s in sinks])
    for sink in sinks:
        sink.attach(source, pictures)
    pipeline = Pipeline(
        source,
        estimator,
        overlay=make_overlay(a, words, estimator.topology),
        tracker=_tracker(a, estimator.topology),
        outputs=pictures,
        sinks=sinks,
        on_result=_teller(talk, source, quiet_data=stdout_taken(a)),
    )
    if not pictures and not sinks:
        talk.verbose("No output: poses are counted only. Name one, or use --json -.")
    ticker = Ticker(talk, source.length)
    error: EdgeposeError | None = None
    with ticker.shown():
        try:
            pipeline.run(ticker)
        except (SourceError, OutputError) as e:
            if not pipeline.summary.frames:
                raise
            error = e
    error = _finish(pictures, error)
    summary = pipeline.summary  # the length of a film may be an estimate: its end says for sure
    if a["start"] and not (summary.frames or summary.interrupted or broken or error):
        error = behind_the_end(source, a["start"])
    if isinstance(error, OutputError) and not _kept(pictures, sinks):
        raise error
    files = max(len(inputs), len(files_of(source, inputs)))
    return _sum_up(summary, a, talk, broken, error, outputs, files)


def _kept(outputs: Sequence[Output], sinks: Sequence[Sink]) -> bool:
    """Whether anything of a run that an output ended was written."""
    counters = [output.counts() for output in outputs]
    return bool(sinks) or any(lane["written"] for lanes in counters for lane in lanes.values())


def _finish(outputs: Sequence[Output], error: EdgeposeError | None) -> EdgeposeError | None:
    """Close the outputs, so that what is said next is true; the first error of the run."""
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


def _tracker(a: Mapping[str, Any], topology: Any) -> Any:
    if not (a["track"] or a["smooth"]):
        return None
    from edgepose.track.one_euro import OneEuro
    from edgepose.track.tracker import Tracker

    return lambda: Tracker(topology, smooth=OneEuro() if a["smooth"] else None)


# messages ---------------------------------------------------------------------------------------
def _teller(talk: Talk, source: Source, *, quiet_data: bool) -> Any:
    """Tells people about each still picture; films have the progress line."""
    if not source.stills or quiet_data:
        return None

    def tell(frame: Frame, result: Result) -> None:
        people = len(result.poses)
        talk.info(
            f"{os.path.basename(frame.source)}: {_count(people, 'person', 'people')}, "
            f"{result.inference_ms:.1f} ms"
        )
        for pose in result.poses:
            left, top, right, bottom = (round(v) for v in pose.box)
            talk.verbose(
                f"  pose {pose.id}  score {pose.score:.2f}  box {left},{top},{right},{bottom}  "
                f"{len(pose)} keypoints"
            )

    return tell


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _sum_up(
    summary: Summary,
    a: Mapping[str, Any],
    talk: Talk,
    broken: Sequence[str],
    error: EdgeposeError | None,
    outputs: Sequence[str],
    files: int,
) -> int:
    if error is not None:
        talk.error(f"edgepose: {error}")
    rate = summary.frames / summary.seconds if summary.seconds else 0.0
    whole = outputs and not isinstance(error, OutputError)
    where = f"; written to {', '.join(outputs)}" if whole else ""
    talk.info(
        f"{_count(summary.frames, 'frame', 'frames')}, "
        f"{_count(summary.people, 'person', 'people')}, {summary.seconds:.1f} s, "
        f"{rate:.1f} frames/s{where}"
    )
    if a["profile"]:
        print(profile_table(summary), file=sys.stderr)
    if broken and files > 1:
        count = len(set(broken))
        talk.error(
            f"edgepose: {count} of {max(files, count)} inputs could not be read, or not to the end."
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
