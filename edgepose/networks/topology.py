"""Topologies: keypoint names, links, the PAF channels of the links, and colours.

The file format is a COCO category (`supercategory`, `keypoints`, `skeleton` with numbers from 1), as
trt_pose and jetson-inference use it. Three optional fields are ours: `paf_channels` (one pair [channel
of x, channel of y] for each link, where a network orders them differently), `colors` (one [R, G, B]
for each keypoint) and `sigmas` (one OKS constant for each keypoint: how far labels of it spread, as a
part of the body's size).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import NetworkFileError
from edgepose.json_file import read_named
from edgepose.networks.keypoint_names import mirror_numbers
from edgepose.paths import data_networks

Color = tuple[int, int, int, int]
MAX_LINKS = 100


@dataclass(frozen=True)
class Topology:
    """The keypoints of a pose and how they are linked.

    Attributes:
        name: for example "person" or "hand".
        keypoints: K keypoint names.
        links: pairs of keypoint numbers, from 0.
        paf_channels: for each link (channel of x, channel of y) in the PAF output; () means
            trt_pose's order: link k uses channel 2k for y and 2k + 1 for x.
        colors: RGBA of each keypoint, or ().
        sigmas: OKS constant of each keypoint, or () for those of COCO by name.
    """

    name: str
    keypoints: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    paf_channels: tuple[tuple[int, int], ...] = ()
    colors: tuple[Color, ...] = ()
    sigmas: tuple[float, ...] = ()

    @cached_property
    def table(self) -> NDArray[np.int32]:
        """int32 (L, 4) rows [PAF channel of y, PAF channel of x, keypoint a, keypoint b]."""
        rows = []
        for k, (a, b) in enumerate(self.links):
            x, y = self.paf_channels[k] if self.paf_channels else (2 * k + 1, 2 * k)
            rows.append((y, x, a, b))
        return np.array(rows, np.int32).reshape(-1, 4)

    @cached_property
    def flip_pairs(self) -> tuple[int, ...]:
        """For each keypoint the number of its mirror image (itself where it has none)."""
        mirror = mirror_numbers(self.keypoints)
        return tuple(i if m is None else m for i, m in enumerate(mirror))

    @property
    def one_sided(self) -> tuple[str, ...]:
        """Keypoints with a side in their name for whose other side there is no keypoint."""
        mirror = mirror_numbers(self.keypoints)
        return tuple(n for n, m in zip(self.keypoints, mirror, strict=True) if m is None)

    def color(self, keypoint: int) -> Color:
        """RGBA of a keypoint; opaque green where the network has no colours."""
        return self.colors[keypoint] if keypoint < len(self.colors) else (0, 255, 0, 255)


def parse_topology(data: Any, where: str) -> Topology:
    """Topology of a decoded JSON file; `where` names the file in messages.

    Raises:
        NetworkFileError: a field is missing, of the wrong type or out of range.
    """

    def bad(found: str) -> NetworkFileError:
        return NetworkFileError(
            f"Topology {where}: {found}. It needs 'keypoints' (names) and 'skeleton' "
            "(pairs of numbers from 1), as a COCO category."
        )

    if not isinstance(data, dict):
        raise bad(f"found a JSON {type(data).__name__}, not an object")
    names = data.get("keypoints")
    if not isinstance(names, list) or not names:
        raise bad("'keypoints' is not a list of names")
    if not all(isinstance(n, str) and n for n in names):
        raise bad("'keypoints' holds something that is not a name")
    if len(set(names)) != len(names):
        raise bad("'keypoints' has a name twice")
    links = _pairs(data.get("skeleton"), "skeleton", 1, len(names), bad)
    if len(links) >= MAX_LINKS:
        raise bad(f"'skeleton' has {len(links)} links, more than {MAX_LINKS - 1}")
    if any(a == b for a, b in links):
        raise bad("'skeleton' links a keypoint with itself")
    channels: tuple[tuple[int, int], ...] = ()
    if "paf_channels" in data:
        channels = _pairs(data["paf_channels"], "paf_channels", 0, 4 * MAX_LINKS, bad)
        if len(channels) != len(links):
            raise bad("'paf_channels' and 'skeleton' differ in length")
        if len({n for pair in channels for n in pair}) != 2 * len(channels):
            raise bad("'paf_channels' has a channel twice")
    colors = _colors(data.get("colors", []), bad)
    if colors and len(colors) != len(names):
        raise bad(f"'colors' has {len(colors)} rows for {len(names)} keypoints")
    name = data.get("name", data.get("supercategory", "person"))
    if not isinstance(name, str):
        raise bad("'name' is not text")
    sigmas = _sigmas(data.get("sigmas", []), bad)
    if sigmas and len(sigmas) != len(names):
        raise bad(f"'sigmas' has {len(sigmas)} numbers for {len(names)} keypoints")
    links = tuple((a - 1, b - 1) for a, b in links)
    return Topology(name, tuple(names), links, channels, colors, sigmas)


def _pairs(value: Any, field: str, low: int, high: int, bad: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list):
        raise bad(f"{field!r} is not a list of pairs")
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise bad(f"{field!r} holds {shorten(pair)}, not a pair")
        for n in pair:
            if not isinstance(n, int) or isinstance(n, bool) or not low <= n <= high:
                raise bad(f"{field!r} holds {shorten(n)}, not a whole number from {low} to {high}")
    return tuple((a, b) for a, b in value)


def _sigmas(value: Any, bad: Any) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise bad("'sigmas' is not a list")
    for number in value:
        ok = isinstance(number, int | float) and not isinstance(number, bool)
        if not ok or not 0 < number <= 10:
            raise bad(f"'sigmas' holds {shorten(number)}, not a number above 0")
    return tuple(float(number) for number in value)


def _colors(value: Any, bad: Any) -> tuple[Color, ...]:
    if not isinstance(value, list):
        raise bad("'colors' is not a list")
    return tuple(_color(row, bad) for row in value)


def _color(row: Sequence[Any], bad: Any) -> Color:
    ok = isinstance(row, list) and len(row) in (3, 4)
    if not ok or not all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in row
    ):
        raise bad(f"'colors' holds {shorten(row)}, not three or four numbers 0..255")
    return (row[0], row[1], row[2], row[3] if len(row) == 4 else 255)


def shorten(value: Any, limit: int = 60) -> str:
    """A value as it stands in a message: its repr, cut."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a bottomless list
        text = type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_json(path: Path, what: str) -> Any:
    """The decoded content of a JSON file.

    Raises:
        NetworkFileError: the file is missing, unreadable, not text or not JSON.
    """
    return read_named(path, what, NetworkFileError)


def load_topology(name_or_path: str | Path) -> Topology:
    """A shipped topology by name ("human_pose"), or one from a file.

    Raises:
        NetworkFileError: no such file, or not a topology.
    """
    path = Path(name_or_path)
    shipped = path.suffix != ".json"
    if shipped:
        path = data_networks() / f"{name_or_path}.json"
    known = not shipped or (path.parent == data_networks() and os.path.isfile(path))
    data = read_json(path, "Topology") if known else {}
    if shipped and "skeleton" not in data:
        raise NetworkFileError(
            f"Topology {name_or_path} is neither a .json file nor one of "
            f"{', '.join(shipped_topologies())}."
        )
    return parse_topology(data, str(path))


def shipped_topologies() -> list[str]:
    """Names of the topologies that come with edgepose."""
    files = sorted(data_networks().glob("*.json"))
    return [f.stem for f in files if "skeleton" in read_json(f, "Topology")]


def load_colors(path: Path) -> tuple[Color, ...]:
    """Colours from a text file with one `R G B [A]` line for each keypoint.

    Raises:
        NetworkFileError: it cannot be read, is empty, or a line is not three or four numbers 0..255.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise NetworkFileError(f"Colours {path} cannot be read: {e}.") from None
    colors = []
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if not words:
            continue
        numbers = [int(w) for w in words if w.isascii() and w.isdecimal() and len(w) <= 3]
        if len(words) not in (3, 4) or len(numbers) != len(words) or max(numbers) > 255:
            raise NetworkFileError(
                f"Colours {path}, line {number}: found {line.strip()[:40]!r}; "
                "each line is R G B [A] with numbers 0..255."
            )
        r, g, b, *a = numbers
        colors.append((r, g, b, a[0] if a else 255))
    if not colors:
        raise NetworkFileError(f"Colours {path} holds no colours; each line is R G B [A].")
    return tuple(colors)
