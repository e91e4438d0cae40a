"""Exported networks by name: weights, and where it is a new network its manifest and topology."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgepose.errors import OutputError
from edgepose.files import write_atomically
from edgepose.networks import registry
from edgepose.networks.download import InstallOptions, install
from edgepose.networks.manifest import Manifest, parse_manifest
from edgepose.networks.topology import Topology
from edgepose.paths import networks_home


def install_exported(manifest: Manifest, topology: Topology, onnx: Path) -> Path:
    """Install an ONNX file under a manifest's name, replacing former weights; returns its place.

    Raises:
        OutputError, DownloadError: the user's folder cannot be written.
    """
    if manifest.name not in registry.names() or _is_users(manifest.name):
        _write_manifest(manifest, topology)
    options = InstallOptions(source=onnx, force=True, verify=False)
    return install(registry.find(manifest.name), manifest.default_variant, options)


def _is_users(name: str) -> bool:
    return (networks_home() / name / "manifest.json").is_file()


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as its file has it: fields that are as they are by default left out."""
    data = asdict(manifest)
    data.pop("path", None)
    bare = asdict(Manifest(manifest.name, manifest.family))
    kept = {k: v for k, v in data.items() if k in ("name", "family") or v != bare.get(k)}
    text: dict[str, Any] = json.loads(json.dumps(kept))
    parse_manifest(text, manifest.name)  # what is written can be read
    return text


def topology_json(topology: Topology) -> dict[str, Any]:
    """A topology as its file has it."""
    data: dict[str, Any] = {
        "name": topology.name,
        "supercategory": topology.name,
        "keypoints": list(topology.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in topology.links],
    }
    if topology.paf_channels:
        data["paf_channels"] = [list(p) for p in topology.paf_channels]
    if topology.colors:
        data["colors"] = [list(c) for c in topology.colors]
    return data


def _write_manifest(manifest: Manifest, topology: Topology) -> None:
    folder = networks_home() / manifest.name
    files = {"manifest.json": manifest_json(manifest)}
    if manifest.topology.endswith(".json"):
        files[manifest.topology] = topology_json(topology)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in reversed(
            files.items()
        ):  # the manifest last: it makes the network known
            write_atomically(folder / name, json.dumps(content, indent=1) + "\n")
    except OSError as e:
        raise OutputError(
            f"{folder} cannot be written: {e.strerror or e}. Set EDGEPOSE_HOME to a folder of yours."
        ) from None
