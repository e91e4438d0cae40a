"""Pictures for int8: a folder becomes network inputs, prepared exactly as the frames will be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepose.engines.base import Feeds
from edgepose.engines.options import Calibration
from edgepose.errors import SourceError, UsageError
from edgepose.estimators.preparation import Preparation
from edgepose.files import file_digest
from edgepose.io.sources.file import IMAGES, natural
from edgepose.io.sources.images import read_image
from edgepose.types import Frame

ENOUGH = 500  # more pictures take longer and change the ranges little


def calibration(folder: Path, prepare: Preparation, name: str, most: int = ENOUGH) -> Calibration:
    """Calibration pictures of a folder.

    Args:
        folder: with pictures like those the network will see; sub-folders count.
        prepare: how the network's family prepares them, see `estimators.preparation`; keep it open
            as long as the calibration is used.
        name: of the network's input tensor.
        most: so many pictures at most, spread evenly over the folder.

    Raises:
        UsageError: no folder, no picture in it, or nothing that the network looks at on any of them.
    """
    if not folder.is_dir():
        raise UsageError(f"--calibration {folder} is not a folder; name one with pictures.")
    files = _spread(_pictures(folder), most)
    if not files:
        raise UsageError(
            f"--calibration {folder} holds no pictures; put a few hundred there that are like those "
            "the network will see."
        )
    made = Calibration(
        _digest(files, prepare.key), lambda: _feeds(files, prepare, name, most), len(files)
    )
    if next(made.batches(), None) is None:
        raise UsageError(
            f"--calibration {folder}: in none of its {len(files)} pictures is anything that the "
            "network looks at (a top-down network sees only people that its detector finds)."
        )
    return made


def sample(folder: Path, most: int) -> Iterator[Frame]:
    """So many pictures of a folder at most, spread evenly; those that cannot be decoded are left out."""
    for number, file in enumerate(_spread(_pictures(folder), most)):
        with suppress(SourceError):
            yield Frame(read_image(str(file)), number)


def _pictures(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.suffix.lower().lstrip(".") in IMAGES and p.is_file())
    return [Path(p) for p in natural(str(p) for p in found)]


def _spread(files: list[Path], most: int) -> list[Path]:
    if len(files) <= most:
        return files
    return [files[i * len(files) // most] for i in range(most)]


def _digest(files: list[Path], key: str) -> str:
    digest = hashlib.sha256(key.encode())
    for file in files:
        try:
            digest.update(file_digest(file).encode())
        except OSError as e:
            raise SourceError(f"{file} cannot be read: {e.strerror}.") from e
    return digest.hexdigest()


def _feeds(files: list[Path], prepare: Preparation, name: str, most: int) -> Iterator[Feeds]:
    """The inputs of all pictures, so many at most; a picture that cannot be decoded is left out."""

    def inputs() -> Iterator[NDArray[Any]]:
        for file in files:
            try:
                pixels = read_image(str(file))
            except SourceError:
                continue
            yield from prepare.inputs(pixels)

    return ({name: tensor} for tensor in islice(inputs(), most))
