"""Pictures for int8: a folder becomes network inputs, prepared exactly as the frames will be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgepose.engines.base import Feeds
from edgepose.engines.options import Calibration
from edgepose.errors import SourceError, UsageError
from edgepose.io.sources.file import IMAGES, natural
from edgepose.io.sources.images import read_image
from edgepose.networks.manifest import InputSpec
from edgepose.preprocess import fit, to_tensor

ENOUGH = 500  # more pictures take longer and change the ranges little


def calibration(
    folder: Path, spec: InputSpec, name: str, size: tuple[int, int] | None, most: int = ENOUGH
) -> Calibration:
    """Calibration pictures of a folder.

    Args:
        folder: with pictures like those the network will see; sub-folders count.
        spec: how the network wants a picture.
        name: of the network's input tensor.
        size: (height, width) where it is not the one in `spec`.
        most: so many pictures at most, spread evenly over the folder.

    Raises:
        UsageError: no folder, or no picture in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--calibration {folder} is not a folder; name one with pictures.")
    files = _spread(_pictures(folder), most)
    if not files:
        raise UsageError(
            f"--calibration {folder} holds no pictures; put a few hundred there that are like those "
            "the network will see."
        )
    if size is not None:
        spec = replace(spec, height=size[0], width=size[1])
    return Calibration(_digest(files, spec), lambda: _feeds(files, spec, name), len(files))


def _pictures(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.suffix.lower().lstrip(".") in IMAGES and p.is_file())
    return [Path(p) for p in natural(str(p) for p in found)]


def _spread(files: list[Path], most: int) -> list[Path]:
    if len(files) <= most:
        return files
    return [files[i * len(files) // most] for i in range(most)]


def _digest(files: list[Path], spec: InputSpec) -> str:
    digest = hashlib.sha256(repr(spec).encode())
    for file in files:
        try:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError as e:
            raise SourceError(f"{file} cannot be read: {e.strerror}.") from e
    return digest.hexdigest()


def _feeds(files: list[Path], spec: InputSpec, name: str) -> Iterator[Feeds]:
    """One feed a picture; a picture that cannot be decoded is left out."""
    for file in files:
        try:
            pixels = read_image(str(file))
        except SourceError:
            continue
        height, width = pixels.shape[:2]
        tensor = to_tensor(pixels, spec, fit(spec, width, height))
        yield {name: np.ascontiguousarray(tensor[None])}
