"""What a job is: its options as job.json, its sources, and the tasks that are still to do."""

from __future__ import annotations

import codecs
import glob
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgepose.batch.files import FILM, PICTURES, Folder, Task, key_of, key_of_name
from edgepose.errors import EdgeposeError, OutputError, SourceError, UsageError
from edgepose.files import file_digest, write_atomically
from edgepose.gestures.finder import ENDING
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source
from edgepose.io.sources.file import IMAGES, VIDEOS, braces, images_of, natural
from edgepose.io.sources.images import ImageSource
from edgepose.io.sources.segments import Segment, cut
from edgepose.io.sources.video import VideoSource, plan_film
from edgepose.io.uri import parse
from edgepose.json_file import read_json
from edgepose.networks.resolve import Network
from edgepose.options import (
    CameraChoice,
    EngineChoice,
    EstimatorChoice,
    NetworkChoice,
    build,
    fields_of,
)
from edgepose.version import __version__

log = logging.getLogger(__name__)

SCHEMA = 1
# a film that is not longer than so many segments is not worth the reading of all its packets
SHORT = 1.5
# options that change how a result is come by, and not the result
NO_RESULT = ("no_download", "no_build", "input_codec", "input_latency", "rtsp_transport", "timeout")
WHOLE = ("zones", "weights", "taught")  # told as other, without what in them is
GROUPS: dict[str, type[Any]] = {
    "network": NetworkChoice,
    "estimator": EstimatorChoice,
    "camera": CameraChoice,
    "engine": EngineChoice,
}


@dataclass(frozen=True)
class Job:
    """Everything that changes results, as job.json keeps it.

    Attributes:
        network, estimator, camera, engine: options as of posenet. track, smooth: follow people.
        gestures: what people do is told, as of posenet's option; its files by absolute paths.
        taught: sha256 of these files by path.
        zones: content of a zones file, {} = none.
        segment: least seconds of a segment. shard: pictures in one file.
        weights: sha256 of the network's and the detector's file by name.
        edgepose: the version.
    """

    network: NetworkChoice = field(default_factory=NetworkChoice)
    estimator: EstimatorChoice = field(default_factory=EstimatorChoice)
    camera: CameraChoice = field(default_factory=CameraChoice)
    engine: EngineChoice = field(default_factory=EngineChoice)
    track: bool = False
    smooth: bool = False
    gestures: str = ""
    taught: dict[str, str] = field(default_factory=dict)
    zones: dict[str, Any] = field(default_factory=dict)
    segment: float = 60.0
    shard: int = 256
    weights: dict[str, str] = field(default_factory=dict)
    edgepose: str = __version__

    def to_json(self) -> dict[str, Any]:
        """As job.json has it; paths are absolute."""
        row = {"schema": SCHEMA, **asdict(self)}
        return json.loads(json.dumps(row, default=os.path.abspath))  # type: ignore[no-any-return]

    @classmethod
    def of_json(cls, row: dict[str, Any]) -> Job:
        """What `to_json` gave."""
        groups = {name: _group(kind, row[name]) for name, kind in GROUPS.items()}
        return cls(**{f.name: groups.get(f.name, row[f.name]) for f in fields(cls)})

    def source_options(self) -> SourceOptions:
        """How films and pictures are read."""
        c = self.camera
        return SourceOptions(
            width=c.input_width, height=c.input_height, rate=c.input_rate, flip=c.input_flip
        )


def _group(kind: type[Any], values: dict[str, Any]) -> Any:
    paths = {f.name for f in fields_of(kind) if f.kind is Path}  # type: ignore[arg-type]
    return build(
        kind, {k: Path(v) if v is not None and k in paths else v for k, v in values.items()}
    )


def digests(*networks: Network | None) -> dict[str, str]:
    """sha256 of the weights of networks by their names; what names a network decides nothing."""
    return {n.manifest.name: file_digest(n.model) for n in networks if n is not None}


def absolute_gestures(words: str) -> str:
    """A value of --gestures whose files are found from every folder."""
    each = (word.strip() for word in words.split(","))
    return ",".join(os.path.abspath(w) if w.endswith(ENDING) else w for w in each)


def gesture_files(words: str) -> dict[str, str]:
    """sha256 of the files in a value of --gestures by their paths.

    Raises:
        OSError: one cannot be read.
    """
    return {word: file_digest(word) for word in words.split(",") if word.endswith(ENDING)}


def settled(folder: Folder, job: Job) -> Job | None:
    """The job that a folder holds, which is the same; None where it holds none.

    `threads` 0 takes those of the job that is there, whose results depend on them.

    Raises:
        UsageError: DIR holds another job; names the differences.
    """
    known = stored(folder)
    if known is None:
        return None
    if not job.engine.threads:
        job = replace(job, engine=replace(job.engine, threads=known.engine.threads))
    different = list(_differences(known.to_json(), job.to_json()))
    if different:
        raise UsageError(
            f"{folder.root} holds a job with other options: {'; '.join(different)}. Name another "
            "--out, or begin anew with --overwrite."
        )
    return known


def settle(folder: Folder, job: Job, overwrite: bool = False) -> Job:
    """Write job.json, or find that it asks for the same.

    Raises:
        UsageError: see `settled`. OutputError: it cannot be written.
    """
    folder.make()
    known = None if overwrite else settled(folder, job)
    if known is not None:
        return known
    try:
        if overwrite:
            _clear(folder)
        write_atomically(folder.job, json.dumps(job.to_json(), indent=1) + "\n")
    except OSError as e:
        raise OutputError(f"{folder.job} cannot be written: {e.strerror or e}.") from None
    return job


def _clear(folder: Folder) -> None:
    """Delete what an earlier job left, and nothing else."""
    for pattern in ("work/*/*", "poses/*=*.parquet", "events/film=*.jsonl"):
        for path in folder.root.glob(pattern):
            path.unlink(missing_ok=True)
    for path in (folder.job, folder.engine, folder.manifest):
        path.unlink(missing_ok=True)


def stored(folder: Folder) -> Job | None:
    """The job that a folder holds, None where it holds none.

    Raises:
        UsageError: job.json is not one that this version knows.
    """
    try:
        row = read_json(folder.job)
        if row.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {row.get('schema')!r}, not {SCHEMA}")
        return Job.of_json(row)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise UsageError(f"{folder.job} is not a job of edgepose {__version__}: {e}.") from None


def _differences(old: dict[str, Any], new: dict[str, Any], name: str = "") -> Iterator[str]:
    for key in sorted({*old, *new} - set(NO_RESULT)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and key not in WHOLE:
            yield from _differences(a, b, key)
        elif a != b and key in WHOLE:
            yield f"other {key}"
        elif a != b:
            yield f"{key} was {a!r} and is {b!r}"


# sources ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Item:
    """A film or a shard of pictures.

    Attributes:
        kind, key, path, paths, first: as of its tasks.
        segments: how it is cut, () = not. frames: how many there are, as far as is known.
        problem: why it cannot be read, "" where it can.
    """

    kind: str
    key: str
    path: str
    paths: tuple[str, ...] = ()
    first: int = 0
    segments: tuple[Segment, ...] = ()
    frames: int = 0
    problem: str = ""

    def tasks(self, recut: bool) -> list[Task]:
        """All its tasks: one a segment of a film, one for all pictures of a shard.

        Args:
            recut: the other way round: the film in one piece, one task a picture.
        """
        one = Task(self.kind, self.key, self.path, None, 0, self.paths, self.first)
        if recut and len(self.paths) > 1:
            one = replace(one, parts=len(self.paths))
            return [
                replace(one, paths=(path,), first=self.first + n, picture=n)
                for n, path in enumerate(self.paths)
            ]
        if recut or not self.segments:
            return [one]
        return [replace(one, segment=s, parts=len(self.segments)) for s in self.segments]


def check_inputs(inputs: Iterable[str]) -> None:
    """Refuse what never ends before anything is written.

    Raises:
        UsageError: a camera or a stream is named.
    """
    for word in inputs:
        uri = parse(word)
        if uri.scheme != "file":
            raise UsageError(f"edgepose batch takes films and pictures, not {uri.display}.")


def find_items(inputs: Sequence[str], job: Job, folder: Folder, keep: bool) -> Iterator[Item]:
    """The sources that words of the command line name, each once, with how they are cut.

    Args:
        keep: write the plans of films into the folder, so that they need not be made again.

    Raises:
        OutputError: the plans cannot be kept.
    """
    seen: set[str] = set()
    for word in inputs:
        for item in _named(word, job):
            if item.key not in seen:
                seen.add(item.key)
                yield (
                    _cut(item, job, folder, keep)
                    if item.kind == FILM and not item.problem
                    else item
                )


def _named(word: str, job: Job) -> Iterator[Item]:
    path = os.path.expanduser(parse(word).path)
    try:
        found = _listed(path)
        if found is None:
            with open_source(word, job.source_options()) as source:
                is_film = not isinstance(source, ImageSource)
                found = [path] if is_film else list(source.paths)
        else:
            is_film = False
    except SourceError as e:
        yield replace(_film(path), problem=str(e))
        return
    films = found if is_film else [p for p in found if _is_film(p)]
    for film in films:
        yield _film(film)
    yield from _shards(word, [p for p in found if p not in set(films)], job.shard)


def _listed(path: str) -> list[str] | None:
    """The films and pictures in a folder, or of a pattern; None where the path is neither.

    Raises:
        SourceError: there is none, or the folder cannot be read.
    """
    if os.path.isdir(path):
        try:
            found = [e.path for e in os.scandir(path) if e.is_file()]
        except OSError as e:
            raise SourceError(f"Folder {path} cannot be read: {e.strerror or e}.") from None
    elif os.path.exists(path) or not re.search(r"[*?\[{]", path):
        return None
    else:
        found = [p for one in braces(path) for p in glob.glob(one, recursive=True)]
        found = list(dict.fromkeys(p for p in found if os.path.isfile(p)))
    visible = [p for p in found if not os.path.basename(p).startswith(".")]
    media = [*natural(p for p in visible if _is_film(p)), *images_of(visible)]
    if not media:
        raise SourceError(f"{path} holds no film and no picture (sub-folders are not entered).")
    return media


def _is_film(path: str) -> bool:
    return os.path.splitext(path)[1][1:].lower() in VIDEOS - IMAGES


def _film(path: str) -> Item:
    try:
        return Item(FILM, key_of([path]), path)
    except OSError as e:
        return Item(FILM, key_of_name(path), path, problem=f"{path} cannot be read: {e.strerror}.")


def _shards(word: str, paths: Sequence[str], size: int) -> Iterator[Item]:
    for first in range(0, len(paths), size):
        some = tuple(paths[first : first + size])
        yield Item(PICTURES, key_of(some), word, some, first, frames=len(some))


def _cut(item: Item, job: Job, folder: Folder, keep: bool) -> Item:
    """The film with its segments: as they were planned before, else from its packets."""
    if folder.poses(FILM, item.key).exists():
        return item
    plan = folder.work(item.key) / "plan.json"
    try:
        row = read_json(plan)
        segments = tuple(Segment(**s) for s in row["segments"])
        return replace(item, segments=segments, frames=row["frames"])
    except (OSError, ValueError, TypeError, KeyError):
        pass
    try:
        item = _planned(item, job)
    except SourceError as e:
        return replace(item, problem=str(e))
    if not keep:
        return item
    row = {"frames": item.frames, "segments": [asdict(s) for s in item.segments]}
    try:
        plan.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(plan, json.dumps(row))
    except OSError as e:
        raise OutputError(f"{plan} cannot be written: {e.strerror or e}.") from None
    return item


def _planned(item: Item, job: Job) -> Item:
    with VideoSource(item.path, SourceOptions()) as source:
        frames, rate = source.length or 0, source.rate
    if frames and rate and frames / rate <= SHORT * job.segment:
        return replace(item, frames=frames)
    plan = plan_film(item.path)
    if plan.whole:
        log.debug("%s goes through in one piece: %s", item.path, plan.whole)
        return replace(item, frames=frames)
    segments = tuple(cut(plan, job.segment))
    return replace(item, frames=len(plan.times), segments=segments if len(segments) > 1 else ())


# what is to do ------------------------------------------------------------------------------------
def to_do(items: Iterable[Item], folder: Folder) -> Iterator[Task]:
    """The tasks that are neither done nor set aside."""
    for item in items:
        if item.problem or folder.poses(item.kind, item.key).exists():
            continue
        for task in item.tasks(bool(folder.why_recut(item.key))):
            done = folder.part(task.key, task.name).exists()
            if not done and not folder.failed(task.key, task.name):
                yield task


def read_list(path: Path) -> list[str]:
    """The names in a file, one a line; empty lines and those that begin with # are passed over.

    Names are bytes, as the disk has them; they need be no text.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        lines = os.fsdecode(path.read_bytes().removeprefix(codecs.BOM_UTF8)).split("\n")
    except OSError as e:
        raise UsageError(f"--list {path} cannot be read: {e.strerror or e}.") from None
    names = (line.strip(" \t\r") for line in lines if not line.startswith("#"))
    return [name for name in names if name]


def why(error: BaseException) -> str:
    """An error in one sentence."""
    if isinstance(error, EdgeposeError):
        return str(error)
    return f"{type(error).__name__}: {error}"
