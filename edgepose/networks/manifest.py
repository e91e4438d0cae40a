"""Manifests: what edgepose knows about a network, as validated data.

One JSON file a network in `data/networks/`. Everything that tells one network from another stands
there (addresses, checksums, input, outputs, decoder, topology), so that code never asks for names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from edgepose.errors import NetworkFileError
from edgepose.networks.topology import Color, read_json

Family = Literal["bottom-up", "top-down", "one-stage", "detector"]
Resize = Literal["stretch", "letterbox"]
ColorOrder = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class InputSpec:
    """The input of a network and how a picture becomes it: (pixel / scale - mean) / std.

    Attributes:
        name: input tensor, "" = the only one.
        width, height: pixels.
        color: channel order.
        scale: pixels 0..255 are divided by this first.
        mean, std: by channel, in `color` order.
        resize: stretch, or letterbox (aspect kept).
        align: where a letterboxed picture sits.
        pad: grey level of the padding, 0..255.
        layout: tensor layout.
        multiple: width and height may be changed to other multiples of this; 0 = fixed.
    """

    name: str = ""
    width: int = 256
    height: int = 256
    color: ColorOrder = "rgb"
    scale: float = 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: Resize = "stretch"
    align: Literal["centre", "top-left"] = "centre"
    pad: int = 0
    layout: Layout = "nchw"
    multiple: int = 0


@dataclass(frozen=True)
class Download:
    """One file to fetch: mirrors in turn, then verified, then unpacked where it is an archive.

    Attributes:
        file: name to store it under.
        urls: addresses, the first is tried first.
        bytes: size, 0 = not published.
        sha256, sha384: hex digest, "" = not published (pinned at the first download).
        archive: "tar.gz", "zip" or "" for a plain file.
        strip: leading folders to drop when unpacking.
        members: files that must exist after unpacking.
    """

    file: str
    urls: tuple[str, ...]
    bytes: int = 0
    sha256: str = ""
    sha384: str = ""
    archive: Literal["", "tar.gz", "zip"] = ""
    strip: int = 0
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Weights:
    """One variant of the weights, for example FP16.

    Attributes:
        model: file of the model inside the installed folder (.onnx or .xml).
        downloads: what to fetch; () = the user brings the file, or it is shipped.
        shipped: the model file lies in `data/networks` itself.
        sha256: digest of a shipped model file.
    """

    model: str
    downloads: tuple[Download, ...] = ()
    shipped: bool = False
    sha256: str = ""


@dataclass(frozen=True)
class Manifest:
    """All that is known about one network.

    Attributes:
        name: canonical name.
        family: how poses come out of it.
        description: one line.
        aliases: other names.
        license, homepage: of the weights.
        input: `InputSpec`.
        outputs: role (cmap, paf, heatmap, simcc_x, ...) to tensor name.
        decoder: "type" and parameters of the decoder.
        topology: name of a shipped topology, or a path.
        colors: RGBA by keypoint; () = the topology's own.
        weights: variants by name; the first is the default.
        detector: default detector of a top-down network.
        metrics: published figures, for example {"coco_ap": 0.749}.
        notes: what a user should know.
    """

    name: str
    family: Family
    description: str = ""
    aliases: tuple[str, ...] = ()
    license: str = ""
    homepage: str = ""
    input: InputSpec = field(default_factory=InputSpec)
    outputs: dict[str, str] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    topology: str = ""
    colors: tuple[Color, ...] = ()
    weights: dict[str, Weights] = field(default_factory=dict)
    detector: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    notes: str = ""

    def with_input(self, **changes: Any) -> Manifest:
        """A copy with some fields of the input replaced."""
        return replace(self, input=replace(self.input, **changes))


class _Reader:
    """Reads dataclasses from decoded JSON by their annotations, naming the field in every error."""

    def __init__(self, where: str) -> None:
        self.where = where

    def bad(self, path: str, found: str) -> NetworkFileError:
        return NetworkFileError(f"Manifest {self.where}: {path} {found}.")

    def text(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise self.bad(path, f"is {value!r}, not text")
        return value

    def number(self, value: Any, path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(path, f"is {value!r}, not a number")
        if value != value or value in (float("inf"), float("-inf")):
            raise self.bad(path, f"is {value!r}, not a finite number")
        return float(value)

    def whole(self, value: Any, path: str, low: int = 0) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.bad(path, f"is {value!r}, not a whole number from {low}")
        return value

    def one_of(self, value: Any, path: str, allowed: tuple[str, ...]) -> Any:
        if value not in allowed:
            raise self.bad(path, f"is {value!r}, not one of {', '.join(allowed)}")
        return value

    def mapping(self, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.bad(path, f"is {value!r}, not an object")
        return value

    def sequence(self, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.bad(path, f"is {value!r}, not a list")
        return value

    def texts(self, value: Any, path: str) -> tuple[str, ...]:
        return tuple(self.text(v, f"{path}[{i}]") for i, v in enumerate(self.sequence(value, path)))

    def known(self, data: dict[str, Any], cls: type, path: str) -> None:
        names = {f.name for f in fields(cls)}
        extra = sorted(set(data) - names)
        if extra:
            raise self.bad(path or "it", f"has an unknown field {extra[0]!r}")

    def triple(self, value: Any, path: str) -> tuple[float, float, float]:
        row = [self.number(v, path) for v in self.sequence(value, path)]
        if len(row) != 3:
            raise self.bad(path, "needs three numbers")
        return (row[0], row[1], row[2])


def _input(data: dict[str, Any], r: _Reader) -> InputSpec:
    r.known(data, InputSpec, "input")
    kinds: dict[str, Any] = {
        "name": r.text,
        "width": lambda v, p: r.whole(v, p, 1),
        "height": lambda v, p: r.whole(v, p, 1),
        "color": lambda v, p: r.one_of(v, p, get_args(ColorOrder)),
        "scale": r.number,
        "mean": r.triple,
        "std": r.triple,
        "resize": lambda v, p: r.one_of(v, p, get_args(Resize)),
        "align": lambda v, p: r.one_of(v, p, ("centre", "top-left")),
        "pad": r.whole,
        "layout": lambda v, p: r.one_of(v, p, get_args(Layout)),
        "multiple": r.whole,
    }
    spec = InputSpec(**{k: kinds[k](v, f"input.{k}") for k, v in data.items()})
    if spec.scale == 0 or 0 in spec.std:
        raise r.bad("input", "has a zero in 'scale' or 'std'")
    if spec.pad > 255:
        raise r.bad("input.pad", f"is {spec.pad}, more than 255")
    return spec


def _safe_file(value: Any, path: str, r: _Reader) -> str:
    """A relative file name that stays inside its folder."""
    name = r.text(value, path)
    p = Path(name)
    if not name or p.is_absolute() or ".." in p.parts or "\\" in name or "\0" in name:
        raise r.bad(path, f"is {value!r}, not a file name inside the network's folder")
    return name


def _download(data: Any, path: str, r: _Reader) -> Download:
    d = r.mapping(data, path)
    r.known(d, Download, path)
    urls = r.texts(d.get("urls"), f"{path}.urls")
    if not urls or not all(u.startswith(("https://", "http://")) for u in urls):
        raise r.bad(f"{path}.urls", "needs http(s) addresses")
    digests = {}
    for key, length in (("sha256", 64), ("sha384", 96)):
        digest = r.text(d.get(key, ""), f"{path}.{key}").lower()
        if digest and (len(digest) != length or set(digest) - set("0123456789abcdef")):
            raise r.bad(f"{path}.{key}", f"is not {length} hex digits")
        digests[key] = digest
    return Download(
        file=_safe_file(d.get("file"), f"{path}.file", r),
        urls=urls,
        bytes=r.whole(d.get("bytes", 0), f"{path}.bytes"),
        archive=r.one_of(d.get("archive", ""), f"{path}.archive", ("", "tar.gz", "zip")),
        strip=r.whole(d.get("strip", 0), f"{path}.strip"),
        members=tuple(
            _safe_file(m, f"{path}.members", r)
            for m in r.sequence(d.get("members", []), f"{path}.members")
        ),
        **digests,
    )


def _weights(data: Any, path: str, r: _Reader) -> Weights:
    d = r.mapping(data, path)
    r.known(d, Weights, path)
    shipped = d.get("shipped", False)
    if not isinstance(shipped, bool):
        raise r.bad(f"{path}.shipped", "is not true or false")
    downloads = r.sequence(d.get("downloads", []), f"{path}.downloads")
    return Weights(
        model=_safe_file(d.get("model"), f"{path}.model", r),
        downloads=tuple(_download(x, f"{path}.downloads[{i}]", r) for i, x in enumerate(downloads)),
        shipped=shipped,
        sha256=r.text(d.get("sha256", ""), f"{path}.sha256"),
    )


def _color_rows(value: Any, r: _Reader) -> tuple[Color, ...]:
    rows = []
    for i, row in enumerate(r.sequence(value, "colors")):
        values = [r.whole(v, f"colors[{i}]") for v in r.sequence(row, f"colors[{i}]")]
        if len(values) not in (3, 4) or max(values) > 255:
            raise r.bad(f"colors[{i}]", "is not three or four numbers 0..255")
        rows.append((values[0], values[1], values[2], values[3] if len(values) == 4 else 255))
    return tuple(rows)


def parse_manifest(data: Any, where: str) -> Manifest:
    """Manifest of a decoded JSON file; `where` names the file in messages.

    Raises:
        NetworkFileError: a field is missing, unknown, of the wrong type or out of range.
    """
    r = _Reader(where)
    d = r.mapping(data, "the file")
    r.known(d, Manifest, "")
    name = r.text(d.get("name"), "name")
    if not name or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_."):
        raise r.bad("name", f"is {name!r}; use lower-case letters, digits, '-', '_' and '.'")
    return Manifest(
        name=name,
        family=r.one_of(d.get("family"), "family", get_args(Family)),
        description=r.text(d.get("description", ""), "description"),
        aliases=r.texts(d.get("aliases", []), "aliases"),
        license=r.text(d.get("license", ""), "license"),
        homepage=r.text(d.get("homepage", ""), "homepage"),
        input=_input(r.mapping(d.get("input", {}), "input"), r),
        outputs={
            k: r.text(v, f"outputs.{k}")
            for k, v in r.mapping(d.get("outputs", {}), "outputs").items()
        },
        decoder=r.mapping(d.get("decoder", {}), "decoder"),
        topology=r.text(d.get("topology", ""), "topology"),
        colors=_color_rows(d.get("colors", []), r),
        weights={
            k: _weights(v, f"weights.{k}", r)
            for k, v in r.mapping(d.get("weights", {}), "weights").items()
        },
        detector=r.text(d.get("detector", ""), "detector"),
        metrics={
            k: r.number(v, f"metrics.{k}")
            for k, v in r.mapping(d.get("metrics", {}), "metrics").items()
        },
        notes=r.text(d.get("notes", ""), "notes"),
    )


def load_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        NetworkFileError: no such file, or not a valid manifest.
    """
    return parse_manifest(read_json(path, "Manifest"), str(path))
