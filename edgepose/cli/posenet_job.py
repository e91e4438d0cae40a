"""What `posenet` does with its arguments: open everything, run the pipeline, sum up."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk, Ticker
from edgepose.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PARTLY,
    EdgeposeError,
    OutputError,
    SourceError,
    UnknownNameError,
    UsageError,
)

if TYPE_CHECKING:
    from edgepose.io.base import Output, Sink, Source, SourceOptions
    from edgepose.networks.registry import Network
    from edgepose.pipeline import Summary
    from edgepose.types import Frame, Result

OnEvent = Callable[[dict[str, Any]], None]

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


def split_positionals(
    words: Sequence[str], sources: Sequence[str], outputs: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Inputs and outputs of a command line.

    As jetson-inference: `INPUT [OUTPUT]`. With more words all but the last are inputs; where
    --output is given all are. Where an input is given by option, words are outputs.

    Raises:
        UsageError: no input, or an unquoted glob whose last match would become the output.
    """
    words = list(words)
    if sources:
        return list(sources), list(outputs) + words
    if not words:
        if _is_jetson():
            return ["csi://0"], list(outputs)
        raise UsageError(
            "Name an input: a picture, a video, /dev/video0, rtsp://... ; see posenet --help."
        )
    if outputs or len(words) == 1:
        return words, list(outputs)
    *inputs, output = words
    if is_input_only(output):
        return words, []
    if len(inputs) == 1 and is_photo(output):
        raise UsageError(
            f"The second name is the output, and {output} is a photo out of a camera. Write "
            f"--output {output} if it is to be overwritten; quote the glob ('*.jpg') if it is an input."
        )
    if len(inputs) > 1 and Path(output).is_file():
        raise UsageError(
            f"The last of several names is the output, and {output} is an existing file. Quote the "
            "glob ('*.jpg') or name the output with --output."
        )
    return inputs, [output]


def is_photo(name: str) -> bool:
    """True for an existing picture with a camera's EXIF data, which no output of ours has.

    `posenet *.jpg` in a folder of two photos must not overwrite the second.
    """
    try:
        with open(name, "rb") as file:
            head = file.read(65536)
    except OSError:
        return False
    return head.startswith(b"\xff\xd8") and b"Exif\0\0" in head


def is_input_only(word: str) -> bool:
    """True for names that nothing can be written to: cameras, test sources."""
    from edgepose.io import outputs, sources
    from edgepose.io.uri import parse

    scheme = parse(word).scheme
    return scheme in sources.SCHEMES and scheme not in outputs.SCHEMES


def _is_jetson() -> bool:
    try:
        return "jetson" in Path("/proc/device-tree/model").read_text(errors="replace").lower()
    except OSError:
        return False


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
    _refuse_one_name_twice([*outputs, *(target for _, target in _wanted_sinks(a))])
    on_event = EventTeller(talk)
    source = _open_sources(a, inputs, talk, broken, on_event)
    stack.callback(source.close)
    if source.stills and source.length == 0:
        raise _behind_the_end(source, a["start"])
    # before the network, which may be fetched and built for minutes: outputs that cannot be written
    pictures = _open_outputs(a, outputs, inputs, source, stack, on_event)
    _check_sinks(a)
    network = find_network(a, talk)
    estimator = _estimator(a, network, talk)
    stack.callback(estimator.close)
    sinks = _open_sinks(a, files_of(source, inputs), stack)
    on_event.listen([s.event for s in sinks if hasattr(s, "event")])
    for sink in sinks:
        if hasattr(sink, "attach"):
            sink.attach(source, pictures)
    pipeline = Pipeline(
        source,
        estimator,
        overlay=_overlay(a, words, estimator.topology),
        tracker=_tracker(a, estimator.topology),
        outputs=pictures,
        sinks=sinks,
        on_result=_teller(talk, source, quiet_data=_stdout_taken(a)),
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
        error = _behind_the_end(source, a["start"])
    if isinstance(error, OutputError) and not _kept(pictures, sinks):
        raise error
    files = max(len(inputs), len(files_of(source, inputs)))
    return _sum_up(summary, a, talk, broken, error, outputs, files)


def _kept(outputs: Sequence[Output], sinks: Sequence[Sink]) -> bool:
    """Whether anything of a run that an output ended was written."""
    counters: Any = [getattr(output, "counters", {}) for output in outputs]
    return bool(sinks) or any(lane["written"] for lanes in counters for lane in lanes.values())


def _finish(outputs: Sequence[Output], error: EdgeposeError | None) -> EdgeposeError | None:
    """Close the outputs, so that what is said next is true; the first error of the run."""
    for output in outputs:
        try:
            output.close()
        except OutputError as e:
            error = error or e
    return error


# network and engine -----------------------------------------------------------------------------
def find_network(a: Mapping[str, Any], talk: Talk) -> Network:
    """The network that the arguments name, fetched where it has to be.

    Without --network and --model: resnet18-body where it is installed or can be fetched, as in
    jetson-inference, else the one that edgepose ships, said in one line.
    """
    from edgepose.cli.download import progress_for
    from edgepose.networks import registry

    chosen = {
        "variant": a["variant"],
        "model": a["model"],
        "topology": a["topology"],
        "colors": a["colors"],
        "input_blob": a["input_blob"],
        "output_cmap": a["output_cmap"],
        "output_paf": a["output_paf"],
        "download": not a["no_download"],
        "progress": progress_for(talk),
    }
    return registry.resolve(a["network"], **chosen)


def _engine_options(a: Mapping[str, Any], talk: Talk) -> Any:
    from edgepose.cli.build_engine import progress_for
    from edgepose.engines import EngineOptions

    return EngineOptions(
        engine=a["engine"],
        device=a["device"],
        threads=a["threads"],
        precision=a["precision"],
        build=not a["no_build"],
        engine_file=a["engine_file"],
        progress=progress_for(talk),
        log=talk.info,
    )


def _estimator(a: Mapping[str, Any], network: Network, talk: Talk) -> Any:
    from edgepose.cli.download import progress_for
    from edgepose.estimators import EstimatorOptions, make_estimator
    from edgepose.networks import registry

    detector = None
    if network.manifest.family == "top-down":
        name = a["detector"] or network.manifest.detector
        detector = registry.resolve(
            name,
            model=a["detector_model"],
            download=not a["no_download"],
            progress=progress_for(talk),
        )
    elif a["detector"] or a["detector_model"]:
        talk.once(f"{network.manifest.name} needs no detector; --detector is ignored.")
    estimator = make_estimator(
        network,
        EstimatorOptions(
            threshold=a["threshold"],
            keypoint_threshold=a["keypoint_threshold"],
            link_threshold=a["link_threshold"],
            min_keypoints=a["min_keypoints"],
            min_score=a["min_score"],
            resize=_one_of("--resize", a["resize"], ("", "stretch", "letterbox")),
            size=parse_size("--network-size", a["network_size"]),
            detector=detector,
            detector_size=a["detector_size"],
            box_threshold=a["box_threshold"],
            nms_threshold=a["nms_threshold"],
            max_people=a["max_people"],
            flip_test=a["flip_test"],
            batch=a["batch_size"],
            engine=_engine_options(a, talk),
        ),
    )
    _check_tensor_names(a, getattr(estimator, "engine", None))
    choice = getattr(getattr(estimator, "engine", None), "choice", None)
    talk.info(f"{network.manifest.name} on {estimator.engine_name}{_why(choice, a['engine'])}")
    for line in choice.lines() if choice is not None else ():
        talk.verbose(f"  {line}")
    for note in choice.notes if choice is not None else ():
        talk.once(note)
    return estimator


def _check_tensor_names(a: Mapping[str, Any], engine: Any) -> None:
    """Of a custom network the tensors that are named must be there: no guess replaces them.

    Raises:
        UnknownNameError: one is not; says which there are.
    """
    if engine is None or a["topology"] is None:
        return
    for flag, tensors in (
        ("input_blob", engine.inputs),
        ("output_cmap", engine.outputs),
        ("output_paf", engine.outputs),
    ):
        names = [t.name for t in tensors]
        if a[flag] and a[flag] not in names:
            engine.close()
            raise UnknownNameError(f"tensor for --{flag.replace('_', '-')}", a[flag], names)


def _why(choice: Any, asked: str) -> str:
    """Why this engine, where edgepose chose it, and why the better ones were passed over."""
    if choice is None or asked != "auto":
        return ""
    over = choice.line().partition("; ")[2]
    return f": {choice.because}" + (f"; {over}" if over else "")


def _one_of(flag: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise UnknownNameError(f"value of {flag}", value, [x for x in allowed if x])
    return value


def parse_size(flag: str, text: str) -> tuple[int, int] | None:
    """(width, height) of "WxH", None of "".

    Raises:
        UsageError: not two whole numbers from 1 to 16384.
    """
    if not text:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(
        p.isascii() and p.isdigit() and 0 < int(p) <= 16384 for p in parts
    ):
        raise UsageError(f"{flag} {text!r} is not WIDTHxHEIGHT, such as 256x256.")
    return int(parts[0]), int(parts[1])


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


# input ------------------------------------------------------------------------------------------
def _open_sources(
    a: Mapping[str, Any], uris: Sequence[str], talk: Talk, broken: list[str], on_event: OnEvent
) -> Source:
    from edgepose.io.base import SourceOptions
    from edgepose.io.sources import open_source
    from edgepose.io.sources.chain import in_turn

    def on_error(path: str, error: Exception) -> None:
        broken.append(path)
        talk.error(f"edgepose: {error}")

    options = SourceOptions(
        width=a["input_width"],
        height=a["input_height"],
        rate=a["input_rate"],
        flip=a["input_flip"],
        loop=a["input_loop"],
        start=a["start"],
        frames=a["frames"],
        codec=a["input_codec"],
        latency=a["input_latency"],
        transport=_one_of("--rtsp-transport", a["rtsp_transport"], ("tcp", "udp")),
        timeout=a["timeout"],
        reconnect=a["reconnect"],
        reconnect_limit=a["reconnect_limit"],
        wait=a["wait"],
        save=a["input_save"],
        on_event=on_event,
        on_error=on_error,
    )
    if len(uris) == 1:
        return open_source(uris[0], options)
    sources = _open_each(uris, options, on_error)
    if not any(source.live for source in sources):
        return in_turn(sources, options)
    if not all(source.live for source in sources):
        for source in sources:
            source.close()
        raise UsageError("Files and live inputs cannot be mixed in one command; run posenet twice.")
    from edgepose.batching import DynamicBatcher

    seen: dict[str, int] = {}
    for source in sources:  # two cameras of one name must not share a file
        seen[source.name] = seen.get(source.name, 0) + 1
        if seen[source.name] > 1:
            source.name = f"{source.name}-{seen[source.name]}"
    return DynamicBatcher(
        cast("list[Any]", sources),
        size=min(len(sources), a["batch_size"]),
        deadline=a["batch_timeout"],
        on_error=on_error,
    )


def _open_each(
    uris: Sequence[str], options: SourceOptions, on_error: Callable[[str, Exception], None]
) -> list[Source]:
    """The sources that can be opened; a file that cannot is told, unless it is the last hope.

    Raises:
        SourceError: a live source, or none of all files, can be opened.
    """
    from edgepose.io.sources import open_source
    from edgepose.io.uri import parse

    sources: list[Source] = []
    failed: list[tuple[str, SourceError]] = []
    for uri in uris:
        try:
            sources.append(open_source(uri, options))
        except SourceError as e:
            failed.append((uri, e))
            if parse(uri).scheme != "file" or len(failed) == len(uris):
                for source in sources:
                    source.close()
                for other, earlier in failed[:-1]:
                    on_error(other, earlier)
                raise
    for uri, error in failed:
        on_error(uri, error)
    return sources


def _behind_the_end(source: Source, start: int) -> SourceError:
    return SourceError(
        f"{source.name} has no frame {start} (--start): it ends before; 0 is the first."
    )


def _sound_of(source: Source, files: Sequence[str]) -> str:
    """The film whose sound goes into the output; "" where there is none."""
    from edgepose.io.uri import parse

    silent = source.stills or source.live or len(files) != 1 or parse(files[0]).scheme == "test"
    return "" if silent else files[0]


def files_of(source: Source, inputs: Sequence[str]) -> Sequence[str]:
    """The files behind the inputs where they are known (a folder's pictures), else the inputs."""
    return getattr(source, "paths", None) or inputs


# output -----------------------------------------------------------------------------------------
def _stdout_taken(a: Mapping[str, Any]) -> bool:
    return "-" in (a["json"], a["csv"], a["coco"]) or bool(a["format"])


def _open_outputs(
    a: Mapping[str, Any],
    uris: Sequence[str],
    inputs: Sequence[str],
    source: Source,
    stack: ExitStack,
    on_event: OnEvent,
) -> list[Output]:
    from edgepose.io.base import OutputOptions
    from edgepose.io.named import PLACE, ByName
    from edgepose.io.outputs import default_output, open_output
    from edgepose.io.outputs.fanout import FanOut
    from edgepose.io.uri import parse

    files = files_of(source, inputs)
    options = OutputOptions(
        codec=a["output_codec"],
        bitrate=a["bitrate"],
        encoder=a["output_encoder"],
        rate=a["output_rate"],
        input_rate=source.rate,
        width=a["output_width"],
        height=a["output_height"],
        audio="" if a["no_audio"] else _sound_of(source, files),
        inputs=tuple(files),
    )
    outputs: list[Output] = [
        ByName(uri, lambda target: open_output(target, options))
        if PLACE in uri
        else open_output(uri, options)
        for uri in uris
    ]
    whole = source.stills and not a["start"] and not a["frames"]
    for output in outputs:
        if hasattr(output, "expect"):
            output.expect(getattr(source, "paths", ()) if whole else (), source.length)
    if not uris and not _stdout_taken(a):
        window = default_output(options, a["headless"])
        outputs += [window] if window is not None else []
    named = [(parse(uri).display, o) for uri, o in zip(uris or ["display"], outputs, strict=False)]
    if not named:
        return []
    fan = FanOut(named, live=source.live, report=on_event)
    stack.callback(fan.close)
    return [fan]


def _wanted_sinks(a: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, target) of every sink that the arguments ask for."""
    wanted = [(kind, a[kind]) for kind in ("json", "csv", "coco", "mqtt", "metrics") if a[kind]]
    if a["format"]:
        wanted.append((_one_of("--format", a["format"], ("json", "csv", "dict")), "-"))
    if sum(target == "-" for _, target in wanted) > 1:
        raise UsageError("Only one kind of data can be printed on stdout; give the others a file.")
    return wanted


def _refuse_one_name_twice(targets: Sequence[str]) -> None:
    """Two outputs or sinks into one file would destroy each other; folders may be shared.

    Raises:
        UsageError: a file is named twice.
    """
    from edgepose.io.uri import parse

    seen: set[str] = set()
    for target in targets:
        path = os.path.realpath(os.path.expanduser(parse(target).path))
        if parse(target).scheme != "file" or (os.path.exists(path) and not os.path.isfile(path)):
            continue  # a stream, a folder, a device
        if path in seen:
            raise UsageError(f"{target} is named for two outputs. Give each a file of its own.")
        seen.add(path)


def _check_sinks(a: Mapping[str, Any]) -> None:
    """Refuse files that cannot be written, without making them yet."""
    from edgepose.io.targets import check_folder

    for kind, target in _wanted_sinks(a):
        if target != "-" and kind in ("json", "csv", "coco"):
            check_folder(os.path.dirname(os.path.expanduser(target)), create=False)


def _open_sinks(a: Mapping[str, Any], inputs: Sequence[str], stack: ExitStack) -> list[Sink]:
    from edgepose.io.base import SinkOptions
    from edgepose.io.named import PLACE, ByName
    from edgepose.io.sinks import open_sink

    options = SinkOptions(inputs=tuple(inputs))
    sinks: list[Sink] = []
    for kind, target in _wanted_sinks(a):
        if PLACE in target:
            sinks.append(ByName(target, partial(open_sink, kind, options=options)))
        else:
            sinks.append(open_sink(kind, target, options))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks


def _overlay(a: Mapping[str, Any], words: frozenset[str], topology: Any) -> Any:
    from edgepose.draw.overlay import Overlay

    if not words:
        return None
    return Overlay(
        topology,
        words,
        keypoint_scale=a["keypoint_scale"],
        link_scale=a["link_scale"],
        line_width=a["line_width"],
        alpha=a["alpha"],
    )


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
