"""The outputs and sinks of `posenet`: checked before the network is loaded, then opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from edgepose.cli.inputs import OnEvent, files_of
from edgepose.cli.wanted import one_of
from edgepose.errors import UsageError

if TYPE_CHECKING:
    from edgepose.io.base import Output, Sink, Source


def stdout_taken(a: Mapping[str, Any]) -> bool:
    return "-" in (a["json"], a["csv"], a["coco"]) or bool(a["format"])


def open_outputs(
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
        audio="" if a["no_audio"] else source.sound,
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
        output.expect(source.paths if whole else (), source.length)
    if not uris and not stdout_taken(a):
        window = default_output(options, a["headless"])
        outputs += [window] if window is not None else []
    named = [(parse(uri).display, o) for uri, o in zip(uris or ["display"], outputs, strict=False)]
    if not named:
        return []
    fan = FanOut(named, live=source.live, report=on_event)
    stack.callback(fan.close)
    return [fan]


def wanted_sinks(a: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, target) of every sink that the arguments ask for."""
    wanted = [(kind, a[kind]) for kind in ("json", "csv", "coco", "mqtt", "metrics") if a[kind]]
    if a["format"]:
        wanted.append((one_of("--format", a["format"], ("json", "csv", "dict")), "-"))
    if sum(target == "-" for _, target in wanted) > 1:
        raise UsageError("Only one kind of data can be printed on stdout; give the others a file.")
    return wanted


def refuse_one_name_twice(targets: Sequence[str]) -> None:
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


def check_sinks(a: Mapping[str, Any]) -> None:
    """Refuse files that cannot be written, without making them yet."""
    from edgepose.io.targets import check_folder

    for kind, target in wanted_sinks(a):
        if target != "-" and kind in ("json", "csv", "coco"):
            check_folder(os.path.dirname(os.path.expanduser(target)), create=False)


def open_sinks(a: Mapping[str, Any], inputs: Sequence[str], stack: ExitStack) -> list[Sink]:
    from edgepose.io.base import SinkOptions
    from edgepose.io.named import PLACE, ByName
    from edgepose.io.sinks import open_sink

    options = SinkOptions(inputs=tuple(inputs))
    sinks: list[Sink] = []
    for kind, target in wanted_sinks(a):
        if PLACE in target:
            sinks.append(ByName(target, partial(open_sink, kind, options=options)))
        else:
            sinks.append(open_sink(kind, target, options))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks


def make_overlay(a: Mapping[str, Any], words: frozenset[str], topology: Any) -> Any:
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
