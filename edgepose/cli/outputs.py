"""The outputs and sinks of `posenet`: checked before the network is loaded, then opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from edgepose.cli.inputs import OnEvent, files_of
from edgepose.draw.overlay import Overlay
from edgepose.errors import UsageError
from edgepose.events.zones import load_zones
from edgepose.files import identity
from edgepose.flags import one_of
from edgepose.io.base import Output, Sink, SinkOptions, Source, load
from edgepose.io.named import PLACE, ByName
from edgepose.io.outputs import default_output, open_output
from edgepose.io.outputs.fanout import FanOut
from edgepose.io.sinks import open_sink
from edgepose.io.targets import check_folder
from edgepose.io.uri import parse
from edgepose.networks.topology import Topology
from edgepose.options import DataChoice, OutputChoice, OverlayChoice
from edgepose.wanted import output_options

_PEOPLE = {"mqtt": "edgepose.fleet.people:PeopleSink"}  # not loaded where nobody asks for it


def tracked(data: DataChoice) -> bool:
    """Whether people are followed."""
    return data.track or data.smooth or data.mqtt_discovery or data.zones is not None


def stdout_taken(data: DataChoice) -> bool:
    """Whether stdout carries data."""
    return "-" in (data.json, data.csv, data.coco) or bool(data.format)


def open_outputs(
    choice: OutputChoice,
    uris: Sequence[str],
    inputs: Sequence[str],
    source: Source,
    *,
    whole: bool,
    window: bool,
    stack: ExitStack,
    on_event: OnEvent,
) -> list[Output]:
    """What pictures go to: nothing, or one fan to all outputs.

    Args:
        inputs: names of the inputs. whole: all of their frames come. window: open one where nothing
            else is named. stack: closes the outputs. on_event: told when a stream comes and goes.

    Raises:
        OutputError: one cannot be written.
    """
    files = files_of(source, inputs)
    options = replace(
        output_options(choice),
        input_rate=source.rate,
        audio="" if choice.no_audio else source.sound,
        inputs=tuple(files),
    )
    outputs: list[Output] = [
        ByName(uri, lambda target: open_output(target, options))
        if PLACE in uri
        else open_output(uri, options)
        for uri in uris
    ]
    for output in outputs:
        output.expect(source.paths if whole and source.stills else (), source.length)
    if not uris and window:
        shown = default_output(options, choice.headless)
        outputs += [shown] if shown is not None else []
    named = [(parse(uri).display, o) for uri, o in zip(uris or ["display"], outputs, strict=False)]
    if not named:
        return []
    fan = FanOut(named, live=source.live, report=on_event)
    stack.callback(fan.close)
    return [fan]


def wanted_sinks(data: DataChoice) -> list[tuple[str, str]]:
    """(kind, target) of every sink that is asked for."""
    kinds = ("json", "csv", "coco", "parquet", "mqtt", "metrics")
    wanted = [(kind, target) for kind in kinds if (target := getattr(data, kind))]
    if data.format:
        wanted.append((one_of("--format", data.format, ("json", "csv", "dict")), "-"))
    if sum(target == "-" for _, target in wanted) > 1:
        raise UsageError("Only one kind of data can be printed on stdout; give the others a file.")
    return wanted


def refuse_one_name_twice(targets: Sequence[str]) -> None:
    """Two outputs or sinks into one file would destroy each other; folders may be shared.

    Raises:
        UsageError: a file is named twice.
    """
    seen: set[tuple[int, int, str]] = set()
    for target in targets:
        path = os.path.expanduser(parse(target).path)
        if parse(target).scheme != "file" or (os.path.exists(path) and not os.path.isfile(path)):
            continue  # a stream, a folder, a device
        if identity(path) in seen:
            raise UsageError(f"{target} is named for two outputs. Give each a file of its own.")
        seen.add(identity(path))


def check_sinks(data: DataChoice) -> None:
    """Refuse files that cannot be written, without making them yet, and what needs --mqtt without it."""
    for flag, given in (("--zones", data.zones), ("--mqtt-discovery", data.mqtt_discovery)):
        if given and not data.mqtt:
            raise UsageError(f"{flag} says what goes to --mqtt; name that, too.")
    for kind, target in wanted_sinks(data):
        if target != "-" and kind in ("json", "csv", "coco", "parquet"):
            check_folder(os.path.dirname(os.path.expanduser(target)), create=False)


def open_sinks(
    data: DataChoice, inputs: Sequence[str], topology: Topology, stack: ExitStack
) -> list[Sink]:
    """Where data go, each closed by the stack."""
    options = SinkOptions(inputs=tuple(inputs), topology=topology)
    sinks: list[Sink] = []
    for kind, target in wanted_sinks(data):
        opener: Callable[[str], Sink] = partial(open_sink, kind, options=options)
        if kind == "mqtt" and tracked(data):
            zones = load_zones(data.zones) if data.zones else None
            people = load(_PEOPLE, kind, "sink")
            opener = partial(people, zones=zones, announce=data.mqtt_discovery)
        sinks.append(ByName(target, opener) if PLACE in target else opener(target))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks


def make_overlay(
    choice: OverlayChoice, words: frozenset[str], topology: Topology, *, followed: bool
) -> Overlay | None:
    """What draws poses, of people who are followed or not; None where nothing is to be drawn."""
    if not words:
        return None
    return Overlay(
        topology,
        words,
        keypoint_scale=choice.keypoint_scale,
        link_scale=choice.link_scale,
        line_width=choice.line_width,
        alpha=choice.alpha,
        tracked=followed,
    )
