"""`edgepose export`: a PyTorch checkpoint becomes an installed network."""

from __future__ import annotations

import json
from dataclasses import asdict

from edgepose.cli.console import say_line
from edgepose.cli.options import Export
from edgepose.export.convert import ExportOptions, convert
from edgepose.flags import parse_size


def export_checkpoint(asked: Export) -> None:
    """Run the command."""
    options = ExportOptions(
        output=asked.output,
        size=parse_size("--size", asked.size),
        topology=asked.topology,
        batch=asked.batch,
        name=asked.name,
        install=asked.install,
    )
    done = convert(asked.network, asked.checkpoint, options)
    say_line(
        f"{done.loaded} tensors loaded, {done.unused} not used; ONNX Runtime equals PyTorch within "
        f"{done.difference:.1e}."
    )
    if done.network:
        line = f"Installed as {done.network}: posenet --network {done.network} INPUT"
        say_line(line)
    print(json.dumps(asdict(done)) if asked.json else done.file)
