"""What a path names: an image, a film, a folder, a glob or a numbered sequence."""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
from collections.abc import Iterable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from edgepose.errors import SourceError, UsageError
from edgepose.io.base import Source, SourceOptions, load
from edgepose.io.sources import header
from edgepose.io.sources.images import ImageSource
from edgepose.io.uri import Uri

_IMAGES = (
    "jpg jpeg jpe png bmp dib webp tif tiff gif tga targa psd hdr pic pnm pbm pgm ppm pam pxm "
    "jp2 avif heic heif hif exr sr ras pcx sgi ico"
)
_VIDEOS = (
    "mp4 m4v mkv mov qt avi webm flv h264 264 avc h265 265 hevc mpg mpeg m2v ts mts m2ts 3gp wmv asf "
    "ogv ivf mjpeg mjpg y4m mxf gif"
)
IMAGES = frozenset(_IMAGES.split())
VIDEOS = frozenset(_VIDEOS.split())
MAX_BRACES = 10_000
# imported when they are used: PyAV takes longer to load than a picture
_BY_PYAV = {
    "film": "edgepose.io.sources.video:VideoSource",
    "pipe": "edgepose.io.sources.stdin:open_pipe",
}
_NUMBER = re.compile(r"%(0?)(\d*)[diu]")


def open_file(uri: Uri, options: SourceOptions) -> Source:
    """Open images or a film by path.

    Raises:
        SourceError: nothing there, nothing readable there, or not an image or film.
        UsageError: an option or pattern that cannot be meant.
    """
    path = _existing(uri.path)
    if os.path.isdir(path):
        return _images(_in_folder(path), path, options)
    if _is_pipe(path):
        source: Source = load(_BY_PYAV, "pipe", "reader")(path, options)
        return source
    if os.path.exists(path):
        return _one(path, options)
    if _NUMBER.search(os.path.basename(path)):
        return _images(_in_sequence(path), path, options)
    if re.search(r"[*?\[{]", path):
        return _globbed(path, options)
    raise SourceError(_missing(path, options.outputs))


def _existing(path: str) -> str:
    """The path with `~` expanded, and percent-decoded where only that exists."""
    path = os.path.expanduser(path)
    decoded = unquote(path)
    try:
        return decoded if not os.path.lexists(path) and os.path.lexists(decoded) else path
    except ValueError:
        return path  # %00 decodes to a NUL


def _one(path: str, options: SourceOptions) -> Source:
    try:
        with open(path, "rb") as file:
            head = file.read(header.HEAD) if os.path.isfile(path) else b"?"
            kind = header.kind(head)
            film = kind in ("gif", "jpeg") and _is_film(file, kind, _extension(path))
    except (OSError, ValueError) as e:
        raise SourceError(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}.") from None
    if not head:
        raise SourceError(f"{path} is empty (0 bytes).")
    if film:
        return _video(path, options)
    if kind or _extension(path) in IMAGES:
        return _images([path], path, options, many=False)
    return _video(path, options)


def _images(paths: list[str], name: str, options: SourceOptions, many: bool = True) -> Source:
    return ImageSource(paths, Path(name).stem if not many else name, options, many)


def _video(path: str, options: SourceOptions) -> Source:
    source: Source = load(_BY_PYAV, "film", "reader")(path, options)
    return source


def _is_film(file: BinaryIO, kind: str, extension: str) -> bool:
    """True for several pictures behind each other in one file."""
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if kind == "gif":
            return header.gif_frames(data)[0] > 1
        return header.is_jpeg_film(data, extension)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _in_folder(folder: str) -> list[str]:
    try:
        found = [e.path for e in os.scandir(folder) if e.is_file()]
    except OSError as e:
        raise SourceError(f"Folder {folder} cannot be read: {e.strerror or e}.") from None
    images = images_of(found)
    if not images:
        films = sum(_extension(p) in VIDEOS for p in found)
        hint = f" It holds {films} film(s); give those one at a time." if films else ""
        raise SourceError(
            f"Folder {folder} holds no image (sub-folders are not entered; "
            f"looked for .jpg, .png, .bmp, .webp, .tif, .gif, .heic and others).{hint}"
        )
    return images


def _in_sequence(pattern: str) -> list[str]:
    """The files that a pattern such as img_%04d.png names, in the order of their numbers."""
    folder, name = os.path.split(pattern)
    matches = list(_NUMBER.finditer(name))
    if len(matches) > 1:
        raise UsageError(f"{pattern} has {len(matches)} numbers; one %i or %04d is understood.")
    match = matches[0]
    width = int(match[2] or 0) if match[1] else 0
    form = re.compile(
        re.escape(name[: match.start()].replace("%%", "%"))
        + r"(\d+)"
        + re.escape(name[match.end() :].replace("%%", "%"))
    )
    try:
        names = os.listdir(folder or ".")
    except OSError as e:
        raise SourceError(f"Folder {folder or '.'} cannot be read: {e.strerror or e}.") from None
    numbered = []
    for candidate in names:
        found = form.fullmatch(candidate)
        # %04d names 0007 and 12345, but neither 7 nor 012345; %i names no zeros in front
        if found and found[1] == f"{int(found[1]):0{width}d}":
            numbered.append((int(found[1]), os.path.join(folder, candidate)))
    if not numbered:
        raise SourceError(f"No file matches {pattern}: a number stands where {match[0]} is.")
    return [path for _, path in sorted(numbered)]


def _globbed(pattern: str, options: SourceOptions) -> Source:
    found = list(
        dict.fromkeys(p for one in braces(pattern) for p in glob.glob(one) if os.path.isfile(p))
    )
    images = images_of(found)
    if images:
        return _images(images, pattern, options)
    films = natural(p for p in found if _extension(p) in VIDEOS)
    if len(films) == 1:
        return _video(films[0], options)
    if films:
        raise UsageError(f"{pattern} matches {len(films)} films; give them one at a time.")
    what = f"{len(found)} file(s), but no image" if found else "no file"
    raise UsageError(f"{pattern} matches {what}; `ls` shows what is there.")


def braces(pattern: str) -> list[str]:
    """The patterns that `{a,b}` stands for, nested ones too, as a shell expands them."""
    todo, done = [pattern], dict[str, None]()
    while todo:
        one = todo.pop()
        match = re.search(r"\{([^{}]*,[^{}]*)\}", one)
        if match:
            words = match[1].split(",")
            todo += (one[: match.start()] + w + one[match.end() :] for w in reversed(words))
        else:
            done[one] = None
        if len(todo) + len(done) > MAX_BRACES:
            raise UsageError(f"{pattern[:60]} stands for more than {MAX_BRACES} names.")
    return list(done)


def images_of(paths: Iterable[str]) -> list[str]:
    """The visible image files among some, in natural order."""
    return natural(
        p for p in paths if _extension(p) in IMAGES and not os.path.basename(p).startswith(".")
    )


def natural(paths: Iterable[str]) -> list[str]:
    """Sorted as people count: img2 before img10, case only where nothing else differs."""

    def key(path: str) -> tuple[list[tuple[int, int, str]], str]:
        words = re.split(r"([0-9]+)", path.casefold())
        return [(0, int(w), "") if i % 2 else (1, 0, w) for i, w in enumerate(words)], path

    return sorted(paths, key=key)


def _extension(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()


def _missing(path: str, outputs: Iterable[str]) -> str:
    if os.path.islink(path):
        return f"{path} is a link to {os.readlink(path)}, which does not exist."
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        return f"{path} does not exist: there is no folder {folder}."
    try:
        names = (n for n in os.listdir(folder or ".") if os.path.join(folder, n) not in outputs)
        stems = {os.path.splitext(n)[0]: n for n in names}
    except OSError:
        stems = {}
    # by what stands before the ending, which most names share
    near = difflib.get_close_matches(os.path.splitext(name)[0], list(stems), n=1, cutoff=0.6)
    hint = f" Did you mean {os.path.join(folder, stems[near[0]])}?" if near else ""
    return f"{path} does not exist.{hint}"
