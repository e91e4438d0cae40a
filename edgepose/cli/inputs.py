"""The inputs of `posenet`: which words of the command line they are, and how they are opened."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from edgepose.batching import DynamicBatcher
from edgepose.errors import SourceError, UsageError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.outputs import SCHEMES as OUTPUT_SCHEMES
from edgepose.io.sources import SCHEMES as INPUT_SCHEMES
from edgepose.io.sources import header, open_source
from edgepose.io.sources.chain import in_turn
from edgepose.io.uri import parse
from edgepose.options import SourceChoice
from edgepose.wanted import source_options

log = logging.getLogger(__name__)
OnEvent = Callable[[dict[str, Any]], None]


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


def is_file(word: str) -> bool:
    """True for what is read as fast as it is asked for: no camera, stream or named pipe."""
    return parse(word).scheme == "file" and not Path(word).is_fifo()


def many_frames(inputs: Sequence[str]) -> bool:
    """Whether several frames may be under way at a time: films and folders, not one picture alone."""
    return all(map(is_file, inputs)) and not (len(inputs) == 1 and _is_picture(inputs[0]))


def _is_picture(name: str) -> bool:
    path = parse(name).path
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return bool(header.kind(file.read(header.HEAD)))
    except OSError:  # said when it is opened
        return False


def is_photo(name: str) -> bool:
    """True for an existing picture with a camera's EXIF data, which no output of ours has.

    `posenet *.jpg` in a folder of two photos must not overwrite the second.
    """
    if not os.path.isfile(name):
        return False  # to open a named pipe is to wait for whoever reads it
    try:
        with open(name, "rb") as file:
            head = file.read(65536)
    except OSError:
        return False
    return head.startswith(b"\xff\xd8") and b"Exif\0\0" in head


def is_input_only(word: str) -> bool:
    """True for names that nothing can be written to: cameras, test sources."""
    scheme = parse(word).scheme
    return scheme in INPUT_SCHEMES and scheme not in OUTPUT_SCHEMES


def _is_jetson() -> bool:
    try:
        return "jetson" in Path("/proc/device-tree/model").read_text(errors="replace").lower()
    except OSError:
        return False


def open_sources(
    choice: SourceChoice,
    uris: Sequence[str],
    outputs: Sequence[str],
    batch: int,
    broken: list[str],
    on_event: OnEvent,
) -> Source:
    """One source of all inputs: files one after the other, live ones side by side.

    Args:
        batch: most live sources in one run. broken: gets the names of files that cannot be read.
        on_event: told when a live source comes and goes.

    Raises:
        SourceError: nothing can be opened. UsageError: files and live inputs together.
    """

    def on_error(path: str, error: Exception) -> None:
        broken.append(path)
        log.error("edgepose: %s", error)

    options = source_options(choice)
    options = replace(options, outputs=tuple(outputs), on_event=on_event, on_error=on_error)
    if len(uris) == 1:
        return open_source(uris[0], options)
    sources = _open_each(uris, options, on_error)
    if not any(source.live for source in sources):
        return in_turn(sources, options)
    if not all(source.live for source in sources):
        for source in sources:
            source.close()
        raise UsageError("Files and live inputs cannot be mixed in one command; run posenet twice.")
    seen: dict[str, int] = {}
    for source in sources:  # two cameras of one name must not share a file
        seen[source.name] = seen.get(source.name, 0) + 1
        if seen[source.name] > 1:
            source.name = f"{source.name}-{seen[source.name]}"
    return DynamicBatcher(
        cast("list[Any]", sources),
        size=min(len(sources), batch),
        deadline=choice.batch_timeout,
        on_error=on_error,
    )


def _open_each(
    uris: Sequence[str], options: SourceOptions, on_error: Callable[[str, Exception], None]
) -> list[Source]:
    """The sources that can be opened; a file that cannot is told, unless it is the last hope.

    Raises:
        SourceError: a live source, or none of all files, can be opened.
    """

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


def behind_the_end(source: Source, start: int) -> SourceError:
    return SourceError(
        f"{source.name} has no frame {start} (--start): it ends before; 0 is the first."
    )


def files_of(source: Source, inputs: Sequence[str]) -> Sequence[str]:
    """The files behind the inputs where they are known (a folder's pictures), else the inputs."""
    return source.paths or inputs
