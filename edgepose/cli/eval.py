"""`edgepose eval`: COCO figures and PCK of a network on annotated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """Measure the accuracy and speed of a network on annotated pictures.

The pictures go through the same engine and options as with posenet, so that the losses of fp16 and int8 show. The
annotations are a COCO keypoint file; keypoints are matched by name.

Examples:

  edgepose eval --network human-pose-estimation-0001 --annotations person_keypoints.json --images val2017

  edgepose eval --network rtmpose-m --annotations person_keypoints.json --images val2017 --compare openvino --json

  edgepose eval --network edgepose-lite-body --annotations val.json --images images --pck
"""


def evaluate(
    annotations: Annotated[Path, typer.Option(help="COCO keypoint file.", show_default=False)],
    images: Annotated[Path, typer.Option(help="Folder of the pictures.", show_default=False)],
    network: Annotated[str, typer.Option("--network", "-n", help="Network by name; see `edgepose networks`.")] = "",
    model: Annotated[Path | None, typer.Option("--model", "--pose-model", help="Weights file (.onnx, .xml): of --network, or custom with --topology.")] = None,
    topology: Annotated[str, typer.Option(help="Topology of a custom network: name or file.")] = "",
    variant: Annotated[str, typer.Option(help="Variant of the weights, such as FP16.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="The first N pictures only; 0 = all.")] = 0,
    pck: Annotated[bool, typer.Option("--pck", help="PCK@0.2 of the torso instead of COCO's figures, for sets with one annotated person a picture.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    compare: Annotated[str, typer.Option(metavar="ENGINE[:PRECISION]", help="Measure with this engine too, and show the difference.")] = "",
    results: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write what was found in COCO's result format.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run of the same measurement ended.")] = False,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Least score of keypoints and links; low, as AP counts every pose by its score. [default: 0.1 for bottom-up networks, else 0]")] = None,
    min_keypoints: Annotated[int, typer.Option(min=1, help="Poses with fewer keypoints are dropped.")] = 3,
    resize: Annotated[str, typer.Option(metavar="stretch|letterbox", help="How pictures fit the network's input. [default: the network's]")] = "",
    network_size: Annotated[str, typer.Option(metavar="WxH", help="Input size where the network leaves it open.")] = "",
    detector: Annotated[str, typer.Option(help="Detector of a top-down network.")] = "",
    detector_model: Annotated[Path | None, typer.Option("--detector-model", "--det-model", help="Weights file of the detector.")] = None,
    detector_size: Annotated[int, typer.Option(min=0, help="Input size of the detector where it is dynamic.")] = 0,
    box_threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Least score of boxes.")] = None,
    nms_threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Boxes that overlap more are one.")] = None,
    max_people: Annotated[int, typer.Option(min=0, help="At most so many people a picture; 0 = no limit.")] = 0,
    flip_test: Annotated[bool, typer.Option("--flip-test", help="Top-down: average with the mirrored crop.")] = False,
    engine: Annotated[str, typer.Option(help="auto, tensorrt, onnxruntime, openvino, ...")] = "auto",
    device: Annotated[str, typer.Option(help="OpenVINO: CPU, GPU, NPU, AUTO; CUDA: GPU number.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the engine; 0 = its choice.")] = 0,
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8 or best, where the engine can choose.")] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="At most so many people in one run.")] = 8,
    no_download: Annotated[bool, typer.Option("--no-download", help="Never fetch a network.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bar.")] = False,
) -> None:  # fmt: skip
    from edgepose.cli.eval_job import run

    arguments: dict[str, Any] = dict(locals())
    arguments.pop("run")
    run(arguments)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval", help=HELP)(evaluate)
