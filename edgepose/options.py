"""Every option of the command line, declared once: groups of typed fields.

A command takes one value that is made of such groups (`Posenet`, and those of `edgepose/cli/commands.py`). Typer
gets its signature from them (`edgepose/cli/typed.py`), and `parse_argv` reads a plain list of words by
the same declarations, for the `argv` of the Python API.

Modules of options do without `from __future__ import annotations`: what stands behind a field's name is read
when a command starts, and as text it would have to be compiled then.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from edgepose.errors import UsageError, nearest
from edgepose.flags import normalise_flags

T = TypeVar("T")


class Option:
    """How a field is written on a command line.

    Args:
        help: its description. names: further spellings beside `--field-name`. off: the spelling that
            switches it off. metavar: what stands for the value in the help. least, most: bounds of
            a number. hidden: not in the help. argument: a word by its place, without a name. writes: the
            file that it names is written. mixed: of its words the command itself says which are written.
    """

    def __init__(
        self,
        help: str = "",
        *names: str,
        off: str = "",
        metavar: str = "",
        least: float | None = None,
        most: float | None = None,
        hidden: bool = False,
        argument: bool = False,
        writes: bool = False,
        mixed: bool = False,
    ) -> None:
        self.help, self.names, self.off, self.metavar = help, names, off, metavar
        self.least, self.most = least, most
        self.hidden, self.argument = hidden, argument
        self.writes, self.mixed = writes, mixed


@dataclass(frozen=True)
class Field:
    """One option of a command, as the groups of the command declare it.

    Attributes:
        name: of the field; key: of the option, as in configuration files.
        kind: type of a value; many: several values; optional: None where it is not given.
        panel: heading in the help. default: `dataclasses.MISSING` where it must be given.
    """

    name: str
    kind: type
    many: bool
    optional: bool
    option: Option
    panel: str
    default: Any

    @property
    def key(self) -> str:
        """The option's name with underscores."""
        return self.name.rstrip("_")

    @property
    def switch(self) -> bool:
        """Nothing stands behind it."""
        return self.kind is bool

    @property
    def word(self) -> str:
        """What stands for the value in the help; "" for a switch."""
        if self.switch or self.option.metavar:
            return self.option.metavar
        if self.option.argument:
            text = self.key.upper()
            return text if self.default is dataclasses.MISSING else f"[{text}]"
        return {Path: "PATH", int: "NUMBER", float: "NUMBER"}.get(self.kind, "TEXT")

    @property
    def help(self) -> str:
        """The description with the default."""
        text = self.option.help
        worth = isinstance(self.default, (str, int, float)) and not self.switch and self.default
        return f"{text} [default: {self.default}]" if worth and "[default" not in text else text

    @property
    def names(self) -> tuple[str, ...]:
        """All spellings, the canonical one first."""
        return (f"--{self.key.replace('_', '-')}", *self.option.names)

    def value(self, flag: str, text: str) -> Any:
        """A word of the command line as a value.

        Raises:
            UsageError: it is none, or out of bounds.
        """
        if "\0" in text:
            raise UsageError(f"{flag} {text!r} holds a NUL character, which no name can have.")
        try:
            found = self.kind(text)
        except ValueError:
            what = "a whole number" if self.kind is int else "a number"
            raise UsageError(f"{flag} {text!r} is not {what}.") from None
        least, most = self.option.least, self.option.most
        if self.kind in (int, float) and not (
            (least is None or found >= least) and (most is None or found <= most)
        ):
            ends = (("at least", least), ("at most", most))
            known = ", ".join(f"{word} {end:g}" for word, end in ends if end is not None)
            raise UsageError(f"{flag} {text} is out of bounds: {known}.")
        return found


@cache
def fields_of(group: type) -> tuple[Field, ...]:
    """The options of a command: the fields of its groups, in their order."""
    found: list[Field] = []
    for field in dataclasses.fields(group):
        if dataclasses.is_dataclass(field.type):
            found += fields_of(typing.cast(type, field.type))
            continue
        kind, option = typing.get_args(field.type)
        parts = [t for t in typing.get_args(kind) if t not in (type(None), ...)]
        many = typing.get_origin(kind) is tuple
        optional = type(None) in typing.get_args(kind)
        panel = getattr(group, "PANEL", "Options")
        plain = parts[0] if parts else kind
        found.append(Field(field.name, plain, many, optional, option, panel, field.default))
    return tuple(found)


def build(group: type[T], values: Mapping[str, Any]) -> T:
    """A value of a command's options, from values by field name; what is absent has its default."""
    made: dict[str, Any] = {}
    for field in dataclasses.fields(group):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(field.type):
            made[field.name] = build(typing.cast(type, field.type), values)
        elif field.name in values:
            made[field.name] = values[field.name]
    return group(**made)


AsJson = Annotated[bool, Option("JSON on stdout.")]
OverlayWords = Annotated[
    str,
    Option(
        "links, keypoints, boxes, ids, scores, gestures, stats, none, default; separated by ',' or '|'."
    ),
]
GestureWords = Annotated[
    str,
    Option(
        "What people do: builtin, names of built-in gestures, files *.gestures; separated by ','.",
        metavar="builtin|NAME|FILE,...",
    ),
]


class OptionGroup:
    """What groups of options have in common: equality and text by their values.

    Written once here, as `dataclass` would compile both anew for each group at every start.
    """

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


# groups -------------------------------------------------------------------------------------------
# fmt: off
@dataclass(frozen=True, eq=False, repr=False)
class NetworkChoice(OptionGroup):
    """Which network, and which weights of it."""

    PANEL: ClassVar[str] = "Network"

    network: Annotated[str, Option("Network by name; see `edgepose networks`. Default: movenet-multipose, which is in the package; with an NVIDIA GPU resnet18-body. `fast`, `accurate` and `hand` are names, too.", "-n")] = ""
    model: Annotated[Path | None, Option("Weights file (.onnx, .xml): of --network, or custom with --topology.", "--pose-model")] = None
    variant: Annotated[str, Option("Variant of the weights, for example FP16.")] = ""
    topology: Annotated[str, Option("Topology of a custom network: name or JSON file.")] = ""
    colors: Annotated[Path | None, Option("Colours of a custom network, one 'R G B [A]' line a keypoint.")] = None
    input_blob: Annotated[str, Option("Input tensor of a custom network.")] = ""
    output_cmap: Annotated[str, Option("Confidence map tensor of a custom network.")] = ""
    output_paf: Annotated[str, Option("Part affinity field tensor of a custom network.")] = ""
    no_download: Annotated[bool, Option("Never fetch a network.")] = False


@dataclass(frozen=True, eq=False, repr=False)
class EstimatorChoice(OptionGroup):
    """How poses are found with the network, and which are kept."""

    PANEL: ClassVar[str] = "Network"

    threshold: Annotated[float | None, Option("Least score of keypoints and links. [default: 0.15]", least=0, most=1)] = None
    keypoint_threshold: Annotated[float | None, Option("Least score of keypoints alone.", least=0, most=1)] = None
    link_threshold: Annotated[float | None, Option("Least score of links alone.", least=0, most=1)] = None
    min_keypoints: Annotated[int, Option("Drop poses with fewer keypoints.", least=1)] = 3
    min_score: Annotated[float | None, Option("Drop poses with a lower score. [default: the network's]", least=0, most=1)] = None
    resize: Annotated[str, Option("How pictures fit the network's input. [default: the network's]", metavar="stretch|letterbox")] = ""
    network_size: Annotated[str, Option("Input size of a network with a dynamic one.", metavar="WxH")] = ""
    detector: Annotated[str, Option("Detector of a top-down network, by name. [default: the network's]")] = ""
    detector_model: Annotated[Path | None, Option("Weights file of the detector.", "--det-model")] = None
    detector_size: Annotated[int, Option("Input size of the detector where it is dynamic.", "--img-size", least=0, most=16384)] = 0
    box_threshold: Annotated[float | None, Option("Least score of boxes.", "--conf-thres", least=0, most=1)] = None
    nms_threshold: Annotated[float | None, Option("Boxes that overlap more are one.", "--iou-thres", least=0, most=1)] = None
    max_people: Annotated[int, Option("At most so many people a frame; 0 = no limit.", least=0)] = 0
    flip_test: Annotated[bool, Option("Top-down: average with the mirrored crop.")] = False
    detect_every: Annotated[int, Option("Top-down, films and cameras: the detector looks at every N-th frame at least; people are followed by their keypoints in between.", metavar="N", least=1)] = 1
    batch_size: Annotated[int, Option("At most so many frames or people in one run.", least=1)] = 8


@dataclass(frozen=True, eq=False, repr=False)
class CameraChoice(OptionGroup):
    """What is asked of a camera, a stream or a file."""

    PANEL: ClassVar[str] = "Input"

    input_width: Annotated[int, Option("Width asked of a camera, or to scale files to.", "--width", least=0)] = 0
    input_height: Annotated[int, Option("Height, likewise.", "--height", least=0)] = 0
    input_rate: Annotated[float, Option("Frames a second.", "--framerate", least=0, most=1e6)] = 0.0
    input_flip: Annotated[str, Option("none, counterclockwise, rotate-180, clockwise, horizontal, vertical, upper-right-diagonal, upper-left-diagonal.", "--flip-method", "--input-flip-method")] = "none"
    input_codec: Annotated[str, Option("Codec of streams that do not say: h264 h265 vp8 vp9 mpeg2 mpeg4 mjpeg.")] = ""
    input_latency: Annotated[int, Option("Jitter buffer of network streams, ms.", "--input-rtsp-latency", least=0, most=600_000)] = 10
    rtsp_transport: Annotated[str, Option("How RTSP carries its data.", metavar="tcp|udp")] = "tcp"
    timeout: Annotated[float, Option("Seconds without a frame until a live source is lost.", least=0.1, most=86400)] = 10.0


@dataclass(frozen=True, eq=False, repr=False)
class SourceChoice(OptionGroup):
    """Which inputs, which part of them, and what happens when one is lost."""

    PANEL: ClassVar[str] = "Input"

    source: Annotated[tuple[str, ...], Option("An input; may be given several times.", "--input", "-i")] = ()
    camera: CameraChoice = CameraChoice()
    input_loop: Annotated[int, Option("Passes over a file in all; -1 = for ever.", "--loop", least=-1)] = 0
    input_save: Annotated[str, Option("Also store the compressed input in this file.", writes=True)] = ""
    start: Annotated[int, Option("First frame of a file.", least=0)] = 0
    frames: Annotated[int, Option("At most so many frames.", least=0)] = 0
    reconnect: Annotated[bool, Option("Come back to a lost live source.", off="--no-reconnect")] = True
    reconnect_limit: Annotated[int, Option("Give up after so many tries in a row; 0 = never.", least=0)] = 0
    wait: Annotated[bool, Option("Wait for a live source that is absent at the start.")] = False
    batch_timeout: Annotated[float, Option("Several live sources: seconds to wait for the others to share a run.", least=0, most=3600)] = 0.02


@dataclass(frozen=True, eq=False, repr=False)
class OutputChoice(OptionGroup):
    """Where pictures and films go, and how they are encoded."""

    PANEL: ClassVar[str] = "Output"

    output: Annotated[tuple[str, ...], Option("An output; may be given several times. All positional arguments are inputs then.", "-o", writes=True)] = ()
    output_codec: Annotated[str, Option("h264, h265, vp8, vp9 or mjpeg.", "--codec")] = "h264"
    bitrate: Annotated[int, Option("Bits a second; 0 = by quality.", least=0, most=2_000_000_000)] = 0
    output_encoder: Annotated[str, Option(hidden=True)] = ""
    output_rate: Annotated[float, Option("Frames a second. [default: the input's]", least=0, most=1e6)] = 0.0
    output_width: Annotated[int, Option("Width of the output.", least=0)] = 0
    output_height: Annotated[int, Option("Height of the output.", least=0)] = 0
    no_audio: Annotated[bool, Option("Leave the input's sound out of video files.")] = False
    headless: Annotated[bool, Option("Never open a window.", "--no-display")] = False
    stun_server: Annotated[str, Option(hidden=True)] = ""
    ssl_key: Annotated[str, Option(hidden=True)] = ""
    ssl_cert: Annotated[str, Option(hidden=True)] = ""


@dataclass(frozen=True, eq=False, repr=False)
class OverlayChoice(OptionGroup):
    """What is drawn."""

    PANEL: ClassVar[str] = "Overlay"

    overlay: OverlayWords = "links,keypoints"
    keypoint_scale: Annotated[float, Option("Radius of keypoints as a part of the longer side.", least=0, most=1)] = 0.0052
    link_scale: Annotated[float, Option("Width of links as a part of the longer side.", least=0, most=1)] = 0.0013
    line_width: Annotated[float, Option("Width of links in pixels, instead of --link-scale.", least=0, most=1000)] = 0.0
    alpha: Annotated[int, Option("Opacity of the overlay.", least=0, most=255)] = 255


@dataclass(frozen=True, eq=False, repr=False)
class DataChoice(OptionGroup):
    """What is written about each frame."""

    PANEL: ClassVar[str] = "Data"

    json: Annotated[str, Option("One JSON object a frame; - = stdout.", metavar="FILE|-", writes=True)] = ""
    csv: Annotated[str, Option("One row a keypoint.", metavar="FILE|-", writes=True)] = ""
    coco: Annotated[str, Option("COCO results, as pycocotools loads them.", metavar="FILE", writes=True)] = ""
    parquet: Annotated[str, Option("One row a pose, for pandas, DuckDB and Polars; there when the run has ended.", metavar="FILE", writes=True)] = ""
    format: Annotated[str, Option("What to print on stdout.", metavar="json|csv|dict")] = ""
    mqtt: Annotated[str, Option("Publish results, with --track also who enters and leaves.", metavar="mqtt://HOST/TOPIC")] = ""
    mqtt_discovery: Annotated[bool, Option("Have Home Assistant find people, zones and camera by itself; implies --track.")] = False
    zones: Annotated[Path | None, Option("Zones and lines (JSON) whose events go to --mqtt; implies --track.")] = None
    metrics: Annotated[str, Option("Prometheus metrics over HTTP.", metavar=":PORT")] = ""
    track: Annotated[bool, Option("Follow people: a track id that stays the same over frames.")] = False
    smooth: Annotated[bool, Option("Smooth the keypoints of tracks (One-Euro filter); implies --track.")] = False
    gestures: GestureWords = ""


@dataclass(frozen=True, eq=False, repr=False)
class EngineChoice(OptionGroup):
    """What infers, and how."""

    PANEL: ClassVar[str] = "Engine"

    engine: Annotated[str, Option("auto, tensorrt, onnxruntime, openvino, ... ; see `edgepose doctor`.")] = "auto"
    device: Annotated[str, Option("OpenVINO: CPU, GPU, NPU, AUTO; CUDA: GPU number.", "--device-name")] = ""
    threads: Annotated[int, Option("CPU threads of the engine; 0 = its choice.", least=0)] = 0
    precision: Annotated[str, Option("fp32, fp16, int8 or best, where the engine can choose.")] = ""
    no_build: Annotated[bool, Option("Never build a TensorRT engine.")] = False
    engine_file: Annotated[Path | None, Option("Use this TensorRT engine as it is.")] = None


@dataclass(frozen=True, eq=False, repr=False)
class TalkChoice(OptionGroup):
    """What is said on stderr."""

    PANEL: ClassVar[str] = "Messages"

    log_level: Annotated[str, Option("silent, error, warning, info, verbose or debug.")] = "info"
    verbose: Annotated[bool, Option("The same as --log-level=verbose.", "-v")] = False
    quiet: Annotated[bool, Option("Errors only.", "-q")] = False
    no_progress: Annotated[bool, Option("No progress bar.")] = False


@dataclass(frozen=True, eq=False, repr=False)
class NoMeaning(OptionGroup):
    """Options of jetson-inference that have no meaning here: accepted, said, ignored."""

    labels: Annotated[str, Option(hidden=True)] = ""
    prototxt: Annotated[str, Option(hidden=True)] = ""
    mean_pixel: Annotated[str, Option(hidden=True)] = ""
    input_decoder: Annotated[str, Option(hidden=True)] = ""
    output_save: Annotated[str, Option(hidden=True)] = ""
    output_latency: Annotated[str, Option(hidden=True)] = ""
    num_buffers: Annotated[str, Option(hidden=True)] = ""
    log_file: Annotated[str, Option(hidden=True)] = ""
    maximized: Annotated[bool, Option(hidden=True)] = False
    fullscreen: Annotated[bool, Option(hidden=True)] = False


@dataclass(frozen=True, eq=False, repr=False)
class Posenet(OptionGroup):
    """Find the poses of people or hands in images, videos, cameras and streams.

    INPUTS are image files, folders, quoted globs, %i sequences, video files, /dev/video0, csi://0, rtsp://...,
    http://..., test://people; with two or more the last one is the output unless --output is given.

      posenet photo.jpg out.jpg

      posenet "photos/*.jpg" out/ --json poses.jsonl

      posenet --network=resnet18-hand /dev/video0

      posenet rtsp://camera/stream --headless --json - --track
    """

    inputs: Annotated[tuple[str, ...], Option(metavar="[INPUT]... [OUTPUT]", argument=True, mixed=True)] = ()
    network: NetworkChoice = NetworkChoice()
    estimator: EstimatorChoice = EstimatorChoice()
    source: SourceChoice = SourceChoice()
    output: OutputChoice = OutputChoice()
    overlay: OverlayChoice = OverlayChoice()
    data: DataChoice = DataChoice()
    engine: EngineChoice = EngineChoice()
    profile: Annotated[bool, Option("Times of every stage at the end.")] = False
    talk: TalkChoice = TalkChoice()
    version: Annotated[bool, Option("Print the version.")] = False
    unused: NoMeaning = NoMeaning()
# fmt: on


# argv ---------------------------------------------------------------------------------------------
def names_with_values(fields: Sequence[Field]) -> frozenset[str]:
    """All spellings of the options behind which a value stands."""
    return frozenset(n for f in fields if not (f.option.argument or f.switch) for n in f.names)


def parse_argv(argv: Sequence[str]) -> "Posenet":
    """The options in a command line of posenet, such as `sys.argv`.

    Takes `--flag value` and `--flag=value`, every option of posenet and jetson-inference's spellings.

    Raises:
        UsageError: an option that posenet does not have (the nearest is named), or a value that it
            cannot take.
    """
    fields = fields_of(Posenet)
    by_name = {name: field for field in fields for name in field.names if not field.option.argument}
    off = {field.option.off: field for field in fields if field.option.off}
    values: dict[str, Any] = {}
    plain: list[str] = []
    words = iter(normalise_flags(argv, names_with_values(fields)))
    for word in words:
        if word == "--":
            plain += words
        elif not word.startswith("-") or word == "-":
            plain.append(word)
        else:
            name, equals, text = word.partition("=")
            if name in off and not equals:
                values[off[name].name] = False
                continue
            if name not in by_name:
                near = nearest(name, (*by_name, *off))
                advice = f" Did you mean {near}?" if near else " See posenet --help."
                raise UsageError(f"posenet has no option {name}.{advice}")
            field = by_name[name]
            if field.kind is bool:
                if equals:
                    raise UsageError(f"{name} takes no value.")
                values[field.name] = True
                continue
            given = text if equals else next(words, None)
            if given is None:
                raise UsageError(f"{name} needs a value.")
            one = field.value(name, given)
            values[field.name] = (*values.get(field.name, ()), one) if field.many else one
    return build(Posenet, values | {"inputs": tuple(plain)})
