"""Manifests: what edgepose knows about a network, as validated data.

One JSON file a network in `data/networks/`. Everything that tells one network from another stands
there (addresses, checksums, input, outputs, decoder, topology), so that code never asks for names.

Outputs are bound by role. Roles by `decoder.type`:

| type | roles of the tensors | parameters |
|---|---|---|
| paf | cmap, paf (may be one tensor) | cmap_channels, paf_channels: `[first, end)` of the tensor, default all; upsample, window, samples, keypoint_threshold, link_threshold, min_score |
| heatmap | heatmap | refine, padding |
| simcc | simcc_x, simcc_y | split, padding, softmax |
| keypoints | keypoints | padding, mask (grey what lies farther outside of a person's box than this part of its longer side) |
| rtmo | detections, keypoints | score, nms; boxes: "keypoints" = around the keypoints, not the network's |
| movenet | the six maps of `decode.movenet`, by those names | as rtmo |
| yolo-pose, yolov7-pose | the only output | score, nms, class_count, keypoint_values (3, or 2 without a score) |
| yolox | detections (any name) | classes, score, nms, strides |
| ssd | detections | label, score |
| palm | boxes, scores | score, nms, strides, anchors |
| hand-landmark | landmarks, presence, handedness, world | presence, scale, shift_y |

Top-down networks also: box_score, box_nms (instead of the detector's own score and nms), min_score, alike
(object keypoint similarity above which two poses are one person).

PAF channels inside that range are told by the topology's `paf_channels`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from edgepose.errors import NetworkFileError
from edgepose.networks.topology import Color, read_json, shorten

Family = Literal["bottom-up", "top-down", "one-stage", "detector"]
Resize = Literal["stretch", "letterbox"]
ColorOrder = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]

# a name becomes a folder: nothing hidden, no separators
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NOT_IN_JSON = {"path", "custom"}
# the parameters of decoders by kind; there are no others
DECODER_NUMBERS = {
    *("score", "nms", "threshold", "keypoint_threshold", "link_threshold", "min_score"),
    *("padding", "mask", "scale", "shift_y", "presence", "split"),
    *("box_score", "box_nms", "alike", "closer_score", "closer_alike"),
}
DECODER_COUNTS = {
    *("upsample", "window", "samples", "class_count", "keypoint_values", "closer"),
    *("max_peaks", "max_objects", "kernel"),
}
DECODER_LISTS = {"cmap_channels", "paf_channels", "classes", "strides", "anchors"}
DECODER_SWITCHES = {"softmax", "unit", "udp", "centred"}
DECODER_WORDS = {
    "refine": ("none", "quarter", "quarter-axis", "dark", "dark-udp", "dark-udp-zero"),
    "score_of": ("mean", "min", "softmax"),
    "boxes": ("keypoints",),
}


@dataclass(frozen=True)
class InputSpec:
    """The input of a network and how a picture becomes it: (pixel / scale - mean) / std.

    Attributes:
        name: input tensor, "" = the only one.
        width, height: pixels; 0 = as the model file says.
        color: channel order.
        scale: pixels 0..255 are divided by this first.
        mean, std: by channel, in `color` order.
        resize: stretch, or letterbox (aspect kept).
        align: where a letterboxed picture sits.
        pad: grey level of the padding, 0..255.
        layout: tensor layout.
        multiple: width and height may be changed to other multiples of this; 0 = fixed.
        shrink: "area" averages what shrinks (on the GPU: more than twice); "auto" does so for bottom-up
            networks, and is bilinear for others.
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
    shrink: Literal["auto", "area"] = "auto"


@dataclass(frozen=True)
class Download:
    """One file to fetch: mirrors in turn, then verified, then unpacked where it is an archive.

    Attributes:
        file: name to store it under.
        urls: addresses, the first is tried first.
        bytes: size, 0 = not published.
        sha256, sha384: hex digest, "" = not published (pinned at the first download).
        archive: "tar.gz", "zip" or "" for a plain file.
        members: the files to take out of the archive, found by the end of their path at any depth.
    """

    file: str
    urls: tuple[str, ...]
    bytes: int = 0
    sha256: str = ""
    sha384: str = ""
    archive: Literal["", "tar.gz", "zip"] = ""
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
        topology: name of a shipped topology, or a file beside the manifest.
        colors: RGBA by keypoint; () = the topology's own.
        weights: variants by name; the first is the default.
        detector: default detector of a top-down network.
        metrics: published figures, for example {"coco_ap": 0.749}.
        notes: what a user should know.
        path: the file it was read from; not a field of the file.
        custom: made for a user's own model file, of which nothing else is known; no field either.
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
    path: Path | None = field(default=None, compare=False)
    custom: bool = field(default=False, compare=False)

    @property
    def default_variant(self) -> str:
        """Name of the first variant, "" where there is none."""
        return next(iter(self.weights), "")

    def with_input(self, **changes: Any) -> Manifest:
        """A copy with some fields of the input replaced."""
        return replace(self, input=replace(self.input, **changes))


class _Reader:
    """Reads dataclasses from decoded JSON by their annotations, naming the field in every error."""

    def __init__(self, where: str) -> None:
        self.where = where

    def bad(self, path: str, found: str) -> NetworkFileError:
        return NetworkFileError(f"Manifest {self.where}: {path} {found}.")

    def wrong(self, value: Any, path: str, wanted: str) -> NetworkFileError:
        return self.bad(path, f"is {shorten(value)}, not {wanted}")

    def text(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise self.wrong(value, path, "text")
        return value

    def number(self, value: Any, path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(value, path, "a number")
        if not -1e30 < value < 1e30:  # NaN fails too
            raise self.wrong(value, path, "a finite number")
        return float(value)

    def whole(self, value: Any, path: str, low: int = 0) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**53:
            raise self.wrong(value, path, f"a whole number from {low}")
        return value

    def switch(self, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(value, path, "true or false")
        return value

    def one_of(self, value: Any, path: str, allowed: tuple[str, ...]) -> Any:
        if value not in allowed:
            raise self.wrong(value, path, f"one of {', '.join(x or repr(x) for x in allowed)}")
        return value

    def mapping(self, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(value, path, "an object")
        return value

    def sequence(self, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.wrong(value, path, "a list")
        return value

    def texts(self, value: Any, path: str) -> tuple[str, ...]:
        return tuple(self.text(v, f"{path}[{i}]") for i, v in enumerate(self.sequence(value, path)))

    def known(self, data: dict[str, Any], cls: type, path: str) -> None:
        names = {f.name for f in fields(cls)} - NOT_IN_JSON
        extra = sorted(set(data) - names)
        if extra:
            raise self.bad(path or "it", f"has an unknown field {shorten(extra[0])}")

    def name(self, value: Any, path: str, pattern: re.Pattern[str] = NAME) -> str:
        if not pattern.fullmatch(self.text(value, path)):
            raise self.wrong(value, path, "a name of letters, digits, '-', '_' and '.'")
        return str(value)

    def digest(self, value: Any, path: str, length: int) -> str:
        digest = self.text(value, path).lower()
        if digest and not re.fullmatch(f"[0-9a-f]{{{length}}}", digest):
            raise self.bad(path, f"is not {length} hex digits")
        return digest

    def triple(self, value: Any, path: str) -> tuple[float, float, float]:
        row = [self.number(v, path) for v in self.sequence(value, path)]
        if len(row) != 3:
            raise self.bad(path, "needs three numbers")
        return (row[0], row[1], row[2])


def _input(data: dict[str, Any], r: _Reader) -> InputSpec:
    r.known(data, InputSpec, "input")
    kinds: dict[str, Any] = {
        "name": r.text,
        "width": r.whole,
        "height": r.whole,
        "color": lambda v, p: r.one_of(v, p, get_args(ColorOrder)),
        "scale": r.number,
        "mean": r.triple,
        "std": r.triple,
        "resize": lambda v, p: r.one_of(v, p, get_args(Resize)),
        "shrink": lambda v, p: r.one_of(v, p, ("auto", "area")),
        "align": lambda v, p: r.one_of(v, p, ("centre", "top-left")),
        "pad": r.whole,
        "layout": lambda v, p: r.one_of(v, p, get_args(Layout)),
        "multiple": r.whole,
    }
    spec = InputSpec(**{k: kinds[k](v, f"input.{k}") for k, v in data.items()})
    if min(spec.scale, *spec.std) <= 0:
        raise r.bad("input", "has a 'scale' or 'std' that is not above zero")
    if max(spec.width, spec.height) > 8192:
        raise r.bad("input", f"is {spec.width}x{spec.height}, larger than 8192")
    if spec.multiple and (spec.width % spec.multiple or spec.height % spec.multiple):
        raise r.bad("input", f"is not in multiples of {spec.multiple}")
    if spec.pad > 255:
        raise r.bad("input.pad", f"is {spec.pad}, more than 255")
    return spec


def _safe_file(value: Any, path: str, r: _Reader) -> str:
    """A relative file name that stays inside its folder."""
    name = r.text(value, path)
    parts = name.split("/")
    bad_part = any(
        not x or x.startswith(".") or len(x.encode("utf-8", "replace")) > 200 for x in parts
    )
    if bad_part or len(parts) > 8 or not name.isprintable() or set(name) & set('\\:*?"<>| '):
        raise r.wrong(value, path, "a file name inside the network's folder")
    return name


def _download(data: Any, path: str, r: _Reader) -> Download:
    d = r.mapping(data, path)
    r.known(d, Download, path)
    urls = r.texts(d.get("urls"), f"{path}.urls")
    if not urls or not all(u.startswith(("https://", "http://")) for u in urls):
        raise r.bad(f"{path}.urls", "needs http(s) addresses")
    return Download(
        file=_safe_file(d.get("file"), f"{path}.file", r),
        urls=urls,
        bytes=r.whole(d.get("bytes", 0), f"{path}.bytes"),
        archive=r.one_of(d.get("archive", ""), f"{path}.archive", ("", "tar.gz", "zip")),
        members=tuple(
            _safe_file(m, f"{path}.members", r)
            for m in r.sequence(d.get("members", []), f"{path}.members")
        ),
        sha256=r.digest(d.get("sha256", ""), f"{path}.sha256", 64),
        sha384=r.digest(d.get("sha384", ""), f"{path}.sha384", 96),
    )


def _weights(data: Any, path: str, r: _Reader) -> Weights:
    d = r.mapping(data, path)
    r.known(d, Weights, path)
    shipped = r.switch(d.get("shipped", False), f"{path}.shipped")
    downloads = r.sequence(d.get("downloads", []), f"{path}.downloads")
    return Weights(
        model=_safe_file(d.get("model"), f"{path}.model", r),
        downloads=tuple(_download(x, f"{path}.downloads[{i}]", r) for i, x in enumerate(downloads)),
        shipped=shipped,
        sha256=r.digest(d.get("sha256", ""), f"{path}.sha256", 64),
    )


def _decoder(value: Any, r: _Reader) -> dict[str, Any]:
    d = r.mapping(value, "decoder")
    if d:
        r.text(d.get("type"), "decoder.type")
    for key, v in d.items():
        path = f"decoder.{shorten(key)[1:-1]}"
        if key in DECODER_NUMBERS:
            r.number(v, path)
        elif key in DECODER_COUNTS:
            r.whole(v, path, 1)
        elif key in DECODER_LISTS:
            [r.whole(x, path) for x in r.sequence(v, path)]
        elif key in DECODER_WORDS:
            r.one_of(v, path, DECODER_WORDS[key])
        elif key in DECODER_SWITCHES:
            r.switch(v, path)
        elif key == "label":
            r.whole(v, path)
        elif key != "type":
            raise r.bad(path, "is no field of a decoder")
    if d.get("keypoint_values", 3) not in (2, 3):
        raise r.wrong(d["keypoint_values"], "decoder.keypoint_values", "2 or 3")
    for key in ("cmap_channels", "paf_channels"):
        if key in d and (len(d[key]) != 2 or d[key][0] >= d[key][1]):
            raise r.wrong(d[key], f"decoder.{key}", "[first, end) with first < end")
    return d


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
    manifest = Manifest(
        name=r.name(d.get("name"), "name"),
        family=r.one_of(d.get("family"), "family", get_args(Family)),
        description=r.text(d.get("description", ""), "description"),
        aliases=tuple(
            r.name(v, f"aliases[{i}]")
            for i, v in enumerate(r.sequence(d.get("aliases", []), "aliases"))
        ),
        license=r.text(d.get("license", ""), "license"),
        homepage=r.text(d.get("homepage", ""), "homepage"),
        input=_input(r.mapping(d.get("input", {}), "input"), r),
        outputs={
            k: r.text(v, f"outputs.{k}")
            for k, v in r.mapping(d.get("outputs", {}), "outputs").items()
        },
        decoder=_decoder(d.get("decoder", {}), r),
        topology=r.text(d.get("topology", ""), "topology"),
        colors=_color_rows(d.get("colors", []), r),
        weights={
            r.name(k, "weights", VARIANT): _weights(v, f"weights.{k}", r)
            for k, v in r.mapping(d.get("weights", {}), "weights").items()
        },
        detector=r.text(d.get("detector", ""), "detector"),
        metrics={
            k: r.number(v, f"metrics.{k}")
            for k, v in r.mapping(d.get("metrics", {}), "metrics").items()
        },
        notes=r.text(d.get("notes", ""), "notes"),
    )
    if not manifest.weights:
        raise r.bad("weights", "names no variant")
    if manifest.family != "detector" and not manifest.topology:
        raise r.bad("topology", f"is missing; family {manifest.family!r} needs one")
    return manifest


def load_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        NetworkFileError: no such file, or not a valid manifest.
    """
    return manifest_of(read_json(path, "Manifest"), path)


def manifest_of(data: Any, path: Path) -> Manifest:
    """The manifest that a file holds, of its decoded content; raises as `parse_manifest`."""
    return replace(parse_manifest(data, str(path)), path=path)
