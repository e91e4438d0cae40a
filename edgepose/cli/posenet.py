"""`posenet`: arguments in, exit code out. What it does stands in `posenet_job.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edgepose.cli.common import leave, run_app, version_option
from edgepose.cli.help import PlainHelp

NETWORK = "Network"
INPUT = "Input"
OUTPUT = "Output"
OVERLAY = "Overlay"
DATA = "Data"
ENGINE = "Engine"
TALK = "Messages"
HELP = """Find the poses of people or hands in images, videos, cameras and streams.

INPUTS are image files, folders, quoted globs, %i sequences, video files, /dev/video0, csi://0, rtsp://...,
http://..., test://people; with two or more the last one is the output unless --output is given.

  posenet photo.jpg out.jpg

  posenet "photos/*.jpg" out/ --json poses.jsonl

  posenet --network=resnet18-hand /dev/video0

  posenet rtsp://camera/stream --headless --json - --track
"""


def option(*names: str, panel: str, help: str, **more: Any) -> Any:
    """A Typer option in a panel of the help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def posenet(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUT]... [OUTPUT]", show_default=False)
    ] = None,
    # network
    network: Annotated[
        str,
        option(
            "--network",
            "-n",
            panel=NETWORK,
            help="Network by name; see `edgepose networks`. Default: resnet18-body, or edgepose-lite-body where that cannot be had.",
        ),
    ] = "",
    model: Annotated[
        Path | None,
        option(
            "--model",
            "--pose-model",
            panel=NETWORK,
            help="Weights file (.onnx, .xml): of --network, or custom with --topology.",
        ),
    ] = None,
    variant: Annotated[
        str, option("--variant", panel=NETWORK, help="Variant of the weights, for example FP16.")
    ] = "",
    topology: Annotated[
        Path | None, option(panel=NETWORK, help="Topology JSON of a custom network.")
    ] = None,
    colors: Annotated[
        Path | None,
        option(panel=NETWORK, help="Colours of a custom network, one 'R G B [A]' line a keypoint."),
    ] = None,
    input_blob: Annotated[
        str, option(panel=NETWORK, help="Input tensor of a custom network.")
    ] = "",
    output_cmap: Annotated[
        str, option(panel=NETWORK, help="Confidence map tensor of a custom network.")
    ] = "",
    output_paf: Annotated[
        str, option(panel=NETWORK, help="Part affinity field tensor of a custom network.")
    ] = "",
    no_download: Annotated[
        bool, option("--no-download", panel=NETWORK, help="Never fetch a network.")
    ] = False,
    threshold: Annotated[
        float | None,
        option(
            min=0.0,
            max=1.0,
            panel=NETWORK,
            help="Least score of keypoints and links. [default: 0.15]",
        ),
    ] = None,
    keypoint_threshold: Annotated[
        float | None,
        option(min=0.0, max=1.0, panel=NETWORK, help="Least score of keypoints alone."),
    ] = None,
    link_threshold: Annotated[
        float | None, option(min=0.0, max=1.0, panel=NETWORK, help="Least score of links alone.")
    ] = None,
    min_keypoints: Annotated[
        int, option(min=1, panel=NETWORK, help="Drop poses with fewer keypoints.")
    ] = 3,
    min_score: Annotated[
        float | None,
        option(
            min=0.0,
            max=1.0,
            panel=NETWORK,
            help="Drop poses with a lower score. [default: the network's]",
        ),
    ] = None,
    resize: Annotated[
        str,
        option(
            "--resize",
            panel=NETWORK,
            metavar="stretch|letterbox",
            help="How pictures fit the network's input. [default: the network's]",
        ),
    ] = "",
    network_size: Annotated[
        str,
        option(
            "--network-size",
            panel=NETWORK,
            metavar="WxH",
            help="Input size of a network with a dynamic one.",
        ),
    ] = "",
    detector: Annotated[
        str,
        option(
            "--detector",
            panel=NETWORK,
            help="Detector of a top-down network, by name. [default: the network's]",
        ),
    ] = "",
    detector_model: Annotated[
        Path | None,
        option(
            "--detector-model", "--det-model", panel=NETWORK, help="Weights file of the detector."
        ),
    ] = None,
    detector_size: Annotated[
        int,
        option(
            "--detector-size",
            "--img-size",
            panel=NETWORK,
            help="Input size of the detector where it is dynamic.",
        ),
    ] = 0,
    box_threshold: Annotated[
        float | None,
        option(
            "--box-threshold",
            "--conf-thres",
            min=0.0,
            max=1.0,
            panel=NETWORK,
            help="Least score of boxes.",
        ),
    ] = None,
    nms_threshold: Annotated[
        float | None,
        option(
            "--nms-threshold",
            "--iou-thres",
            min=0.0,
            max=1.0,
            panel=NETWORK,
            help="Boxes that overlap more are one.",
        ),
    ] = None,
    max_people: Annotated[
        int, option(min=0, panel=NETWORK, help="At most so many people a frame; 0 = no limit.")
    ] = 0,
    flip_test: Annotated[
        bool, option("--flip-test", panel=NETWORK, help="Top-down: average with the mirrored crop.")
    ] = False,
    # input
    source: Annotated[
        list[str] | None,
        option(
            "--source", "--input", "-i", panel=INPUT, help="An input; may be given several times."
        ),
    ] = None,
    input_width: Annotated[
        int,
        option(
            "--input-width",
            "--width",
            min=0,
            panel=INPUT,
            help="Width asked of a camera, or to scale files to.",
        ),
    ] = 0,
    input_height: Annotated[
        int, option("--input-height", "--height", min=0, panel=INPUT, help="Height, likewise.")
    ] = 0,
    input_rate: Annotated[
        float, option("--input-rate", "--framerate", min=0, panel=INPUT, help="Frames a second.")
    ] = 0.0,
    input_flip: Annotated[
        str,
        option(
            "--input-flip",
            "--flip-method",
            "--input-flip-method",
            panel=INPUT,
            help="none, counterclockwise, rotate-180, clockwise, horizontal, vertical, upper-right-diagonal, upper-left-diagonal.",
        ),
    ] = "none",
    input_loop: Annotated[
        int,
        option(
            "--input-loop",
            "--loop",
            min=-1,
            panel=INPUT,
            help="Passes over a file in all; -1 = for ever.",
        ),
    ] = 0,
    input_codec: Annotated[
        str,
        option(
            "--input-codec",
            panel=INPUT,
            help="Codec of streams that do not say: h264 h265 vp8 vp9 mpeg2 mpeg4 mjpeg.",
        ),
    ] = "",
    input_save: Annotated[
        str,
        option("--input-save", panel=INPUT, help="Also store the compressed input in this file."),
    ] = "",
    input_latency: Annotated[
        int,
        option(
            "--input-latency",
            "--input-rtsp-latency",
            min=0,
            panel=INPUT,
            help="Jitter buffer of network streams, ms.",
        ),
    ] = 10,
    rtsp_transport: Annotated[
        str,
        option(
            "--rtsp-transport", panel=INPUT, metavar="tcp|udp", help="How RTSP carries its data."
        ),
    ] = "tcp",
    start: Annotated[int, option("--start", min=0, panel=INPUT, help="First frame of a file.")] = 0,
    frames: Annotated[
        int, option("--frames", min=0, panel=INPUT, help="At most so many frames.")
    ] = 0,
    timeout: Annotated[
        float,
        option(
            "--timeout",
            min=0.1,
            panel=INPUT,
            help="Seconds without a frame until a live source is lost.",
        ),
    ] = 10.0,
    reconnect: Annotated[
        bool,
        option("--reconnect/--no-reconnect", panel=INPUT, help="Come back to a lost live source."),
    ] = True,
    reconnect_limit: Annotated[
        int,
        option(
            "--reconnect-limit",
            min=0,
            panel=INPUT,
            help="Give up after so many tries in a row; 0 = never.",
        ),
    ] = 0,
    wait: Annotated[
        bool,
        option("--wait", panel=INPUT, help="Wait for a live source that is absent at the start."),
    ] = False,
    batch_timeout: Annotated[
        float,
        option(
            "--batch-timeout",
            min=0.0,
            panel=INPUT,
            help="Several live sources: seconds to wait for the others to share a run.",
        ),
    ] = 0.02,
    # output
    output: Annotated[
        list[str] | None,
        option(
            "--output",
            "-o",
            panel=OUTPUT,
            help="An output; may be given several times. All positional arguments are inputs then.",
        ),
    ] = None,
    output_codec: Annotated[
        str,
        option("--output-codec", "--codec", panel=OUTPUT, help="h264, h265, vp8, vp9 or mjpeg."),
    ] = "h264",
    bitrate: Annotated[
        int, option("--bitrate", min=0, panel=OUTPUT, help="Bits a second; 0 = by quality.")
    ] = 0,
    output_rate: Annotated[
        float,
        option(
            "--output-rate", min=0, panel=OUTPUT, help="Frames a second. [default: the input's]"
        ),
    ] = 0.0,
    output_width: Annotated[
        int, option("--output-width", min=0, panel=OUTPUT, help="Width of the output.")
    ] = 0,
    output_height: Annotated[
        int, option("--output-height", min=0, panel=OUTPUT, help="Height of the output.")
    ] = 0,
    no_audio: Annotated[
        bool, option("--no-audio", panel=OUTPUT, help="Leave the input's sound out of video files.")
    ] = False,
    headless: Annotated[
        bool, option("--headless", "--no-display", panel=OUTPUT, help="Never open a window.")
    ] = False,
    # overlay
    overlay: Annotated[
        str,
        option(
            "--overlay",
            panel=OVERLAY,
            help="links, keypoints, boxes, ids, scores, stats, none, default; separated by ',' or '|'.",
        ),
    ] = "links,keypoints",
    keypoint_scale: Annotated[
        float,
        option(
            "--keypoint-scale",
            min=0.0,
            panel=OVERLAY,
            help="Radius of keypoints as a part of the longer side.",
        ),
    ] = 0.0052,
    link_scale: Annotated[
        float,
        option(
            "--link-scale",
            min=0.0,
            panel=OVERLAY,
            help="Width of links as a part of the longer side.",
        ),
    ] = 0.0013,
    line_width: Annotated[
        float,
        option(
            "--line-width",
            min=0.0,
            panel=OVERLAY,
            help="Width of links in pixels, instead of --link-scale.",
        ),
    ] = 0.0,
    alpha: Annotated[
        int, option("--alpha", min=0, max=255, panel=OVERLAY, help="Opacity of the overlay.")
    ] = 255,
    # data
    json: Annotated[
        str,
        option("--json", panel=DATA, metavar="FILE|-", help="One JSON object a frame; - = stdout."),
    ] = "",
    csv: Annotated[
        str, option("--csv", panel=DATA, metavar="FILE|-", help="One row a keypoint.")
    ] = "",
    coco: Annotated[
        str,
        option(
            "--coco", panel=DATA, metavar="FILE", help="COCO results, as pycocotools loads them."
        ),
    ] = "",
    format: Annotated[
        str,
        option("--format", panel=DATA, metavar="json|csv|dict", help="What to print on stdout."),
    ] = "",
    mqtt: Annotated[
        str, option("--mqtt", panel=DATA, metavar="mqtt://HOST/TOPIC", help="Publish results.")
    ] = "",
    metrics: Annotated[
        str, option("--metrics", panel=DATA, metavar=":PORT", help="Prometheus metrics over HTTP.")
    ] = "",
    track: Annotated[
        bool,
        option(
            "--track", panel=DATA, help="Follow people: a track id that stays the same over frames."
        ),
    ] = False,
    smooth: Annotated[
        bool,
        option(
            "--smooth",
            panel=DATA,
            help="Smooth the keypoints of tracks (One-Euro filter); implies --track.",
        ),
    ] = False,
    # engine
    engine: Annotated[
        str,
        option(
            "--engine",
            panel=ENGINE,
            help="auto, tensorrt, onnxruntime, openvino, ... ; see docs/engines.md.",
        ),
    ] = "auto",
    device: Annotated[
        str,
        option("--device", panel=ENGINE, help="OpenVINO: CPU, GPU, NPU, AUTO; CUDA: GPU number."),
    ] = "",
    threads: Annotated[
        int,
        option("--threads", min=0, panel=ENGINE, help="CPU threads of the engine; 0 = its choice."),
    ] = 0,
    precision: Annotated[
        str,
        option(
            "--precision",
            panel=ENGINE,
            help="fp32, fp16, int8 or best, where the engine can choose.",
        ),
    ] = "",
    batch_size: Annotated[
        int,
        option(
            "--batch-size", min=1, panel=ENGINE, help="At most so many frames or people in one run."
        ),
    ] = 8,
    no_build: Annotated[
        bool, option("--no-build", panel=ENGINE, help="Never build a TensorRT engine.")
    ] = False,
    engine_file: Annotated[
        Path | None,
        option("--engine-file", panel=ENGINE, help="Use this TensorRT engine as it is."),
    ] = None,
    # messages
    profile: Annotated[
        bool, option("--profile", panel=TALK, help="Times of every stage at the end.")
    ] = False,
    log_level: Annotated[
        str,
        option("--log-level", panel=TALK, help="silent, error, warning, info, verbose or debug."),
    ] = "info",
    verbose: Annotated[
        bool, option("--verbose", "-v", panel=TALK, help="The same as --log-level=verbose.")
    ] = False,
    quiet: Annotated[bool, option("--quiet", "-q", panel=TALK, help="Errors only.")] = False,
    no_progress: Annotated[
        bool, option("--no-progress", panel=TALK, help="No progress bar.")
    ] = False,
    version: Annotated[bool, version_option()] = False,
    # flags of jetson-inference that have no meaning here
    labels: Annotated[str, typer.Option(hidden=True)] = "",
    prototxt: Annotated[str, typer.Option(hidden=True)] = "",
    mean_pixel: Annotated[str, typer.Option(hidden=True)] = "",
    input_decoder: Annotated[str, typer.Option(hidden=True)] = "",
    output_encoder: Annotated[str, typer.Option(hidden=True)] = "",
    output_save: Annotated[str, typer.Option(hidden=True)] = "",
    output_latency: Annotated[str, typer.Option(hidden=True)] = "",
    num_buffers: Annotated[str, typer.Option(hidden=True)] = "",
    stun_server: Annotated[str, typer.Option(hidden=True)] = "",
    ssl_key: Annotated[str, typer.Option(hidden=True)] = "",
    ssl_cert: Annotated[str, typer.Option(hidden=True)] = "",
    log_file: Annotated[str, typer.Option(hidden=True)] = "",
    maximized: Annotated[bool, typer.Option("--maximized", hidden=True)] = False,
    fullscreen: Annotated[bool, typer.Option("--fullscreen", hidden=True)] = False,
) -> None:
    from edgepose.cli.posenet_job import run

    arguments = dict(locals())
    arguments.pop("run")
    raise typer.Exit(run(arguments))


posenet.__doc__ = HELP


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("posenet", help=HELP, cls=PlainHelp)(posenet)


def main() -> None:
    """Entry point of `posenet`."""
    app = typer.Typer(
        add_completion=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    register(app)
    leave(run_app(app, sys.argv[1:], "posenet"))
