"""The whole way of a checkpoint: find its definition, load, write ONNX, check, install."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import UsageError
from edgepose.export.architectures import (
    Architecture,
    Size,
    check_size,
    find_architecture,
    manifest_of,
)
from edgepose.export.checkpoint import load_into, read_checkpoint
from edgepose.export.install import install_exported
from edgepose.export.onnx_file import write_onnx
from edgepose.files import refuse_input
from edgepose.networks.registry import normalise
from edgepose.networks.topology import Topology, load_topology


@dataclass(frozen=True)
class ExportOptions:
    """What the user may choose.

    Attributes:
        output: write the ONNX file here too.
        size: (width, height) of the input, None = the network's.
        topology: name or file of the keypoints and links it was trained with, "" = the network's.
        batch: fixed batch, 0 = dynamic.
        name: to install under, "" = the network's, with what is different behind it.
        install: install as a named network.
    """

    output: Path | None = None
    size: Size | None = None
    topology: str = ""
    batch: int = 0
    name: str = ""
    install: bool = True


@dataclass(frozen=True)
class Exported:
    """What came out.

    Attributes:
        file: the ONNX file, where the user asked for it or where it is installed.
        network: name that it is installed under, "" = not installed.
        loaded, unused: tensors of the checkpoint, and of the definition, that were and were not used.
        difference: largest difference to PyTorch, of the largest answer.
        size: (width, height) of the input.
        batch: fixed batch, 0 = dynamic.
    """

    file: str
    network: str
    loaded: int
    unused: int
    difference: float
    size: Size
    batch: int


def convert(network: str, checkpoint: Path, options: ExportOptions | None = None) -> Exported:
    """Export a checkpoint.

    Args:
        network: what it was trained as, a name of `architectures.ARCHITECTURES`.
        checkpoint: the .pth file.
        options: the user's choices.

    Raises:
        UsageError: options that cannot be meant. BackendUnavailable: PyTorch is not installed.
        NetworkFileError: the checkpoint is damaged, refused, or that of another network.
        OutputError: something cannot be written.
    """
    o = options or ExportOptions()
    architecture = find_architecture(network)
    _check(o)
    if o.output is not None:
        refuse_input(o.output, (checkpoint,))
    size = check_size(architecture, o.size or architecture.size)
    skeleton = load_topology(o.topology or architecture.topology)
    name = normalise(o.name) if o.name else _name(architecture, o, size, skeleton)
    # a topology of the user's own travels with the network
    kept = "topology.json" if o.topology.endswith(".json") else o.topology or architecture.topology
    manifest = manifest_of(architecture, name, size, kept)

    tensors = read_checkpoint(checkpoint)
    module = architecture.build(skeleton, size)
    where = f"Checkpoint {checkpoint} as {architecture.name}"
    match = load_into(module, tensors, architecture.unused, where)
    with tempfile.TemporaryDirectory() as folder:
        file = o.output or Path(folder) / f"{name}.onnx"
        difference = write_onnx(module, file, size, architecture.outputs, o.batch)
        place = install_exported(manifest, skeleton, file) if o.install else file
    return Exported(
        str(o.output or place),
        manifest.name if o.install else "",
        match.loaded,
        match.unused,
        difference,
        size,
        o.batch,
    )


def _check(o: ExportOptions) -> None:
    if o.output is None and not o.install:
        raise UsageError("--no-install without --output FILE.onnx would keep nothing.")
    if o.output is not None and o.output.suffix.lower() != ".onnx":
        raise UsageError(f"--output {o.output} must end in .onnx.")


def _name(architecture: Architecture, o: ExportOptions, size: Size, skeleton: Topology) -> str:
    name = architecture.name
    other = o.topology not in ("", architecture.topology)
    if size != architecture.size or other:
        name += f"-{size[0]}x{size[1]}"
    return normalise(f"{name}-{skeleton.name}") if other else name
