"""`edgepose export`: a PyTorch checkpoint becomes an installed network."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

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
    print(
        f"{done.loaded} tensors loaded, {done.unused} not used; ONNX Runtime equals PyTorch within "
        f"{done.difference:.1e}.",
        file=sys.stderr,
    )
    if done.network:
        line = f"Installed as {done.network}: posenet --network {done.network} INPUT"
        print(line, file=sys.stderr)
    print(json.dumps(asdict(done)) if asked.json else done.file)
