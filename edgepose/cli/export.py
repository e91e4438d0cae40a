"""`edgepose export`: a PyTorch checkpoint becomes an installed network."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

HELP = """Turn a PyTorch checkpoint (.pth) into an ONNX network and install it by name.

NAME is the network that the checkpoint was trained as: resnet18-body, resnet18-hand, densenet121-body, resnet50-body,
densenet169-body (trt_pose's ..._baseline_att), hrnet-w32, hrnet-w48, simdr-w32, simdr-w48. Needs the extra `export`
(PyTorch, CPU). No code from the file is run. The ONNX file's path is printed on stdout.

Examples:

  edgepose export resnet18-body resnet18_baseline_att_224x224_A_epoch_249.pth

  edgepose export hrnet-w48 pose_hrnet_w48_384x288.pth --size 288x384

  edgepose export resnet18-body mine.pth --topology mine.json --name mine -o mine.onnx
"""


def export(
    network: Annotated[str, typer.Argument(metavar="NAME", help="What the checkpoint was trained as.", show_default=False)],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The .pth file.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.onnx", help="Write the ONNX file here too.")] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Input size. [default: that of the network]")] = "",
    topology: Annotated[str, typer.Option(help="Keypoints and links that it was trained with: name or file. [default: the network's]")] = "",
    batch: Annotated[int, typer.Option(min=0, help="Fixed batch; 0 = dynamic.")] = 0,
    name: Annotated[str, typer.Option("--name", help="Install under this name. [default: NAME, with the size where it is another]")] = "",
    install: Annotated[bool, typer.Option("--install/--no-install", help="Install as a named network.")] = True,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of the path.")] = False,
) -> None:  # fmt: skip
    from edgepose.cli.wanted import parse_size
    from edgepose.export.convert import ExportOptions, convert

    done = convert(
        network,
        checkpoint,
        ExportOptions(
            output=output,
            size=parse_size("--size", size),
            topology=topology,
            batch=batch,
            name=name,
            install=install,
        ),
    )
    print(
        f"{done.loaded} tensors loaded, {done.unused} not used; ONNX Runtime equals PyTorch within "
        f"{done.difference:.1e}.",
        file=sys.stderr,
    )
    if done.network:
        line = f"Installed as {done.network}: posenet --network {done.network} INPUT"
        print(line, file=sys.stderr)
    print(json.dumps(asdict(done)) if json_ else done.file)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", help=HELP)(export)
