"""What needs no PyTorch: names, manifests of exported networks, and the message where it is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.errors import UnknownNameError
from edgepose.export.architectures import ARCHITECTURES, find_architecture, manifest_of
from edgepose.export.checkpoint import plain_name
from edgepose.export.install import manifest_json, topology_json
from edgepose.networks.manifest import parse_manifest
from edgepose.networks.topology import load_topology, parse_topology


def test_names_and_aliases() -> None:
    assert find_architecture("ResNet18_Baseline_Att").name == "resnet18-body"
    assert find_architecture("pose_hrnet_w48").name == "hrnet-w48"
    names = [n for a in ARCHITECTURES for n in (a.name, *a.aliases)]
    assert len(set(names)) == len(names)
    with pytest.raises(UnknownNameError, match="Did you mean 'hrnet-w48'"):
        find_architecture("hrnet-48")


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_manifests_say_what_the_network_is(architecture) -> None:  # type: ignore[no-untyped-def]
    own = manifest_of(architecture, architecture.name, architecture.size, architecture.topology)
    assert own.family == architecture.family
    assert (own.input.width, own.input.height) == architecture.size
    assert set(own.outputs) >= set(architecture.outputs)
    assert own.input.mean == (0.485, 0.456, 0.406)
    other = manifest_of(architecture, "mine", (320, 320), "topology.json")
    written = parse_manifest(json.loads(json.dumps(manifest_json(other))), "mine")
    assert written == other
    assert written.decoder == own.decoder
    assert (written.input.width, written.topology) == (320, "topology.json")


@pytest.mark.parametrize("name", ["human_pose", "hand_pose", "coco_17", "openpose_18"])
def test_topologies_survive_writing(name: str) -> None:
    topology = load_topology(name)
    assert parse_topology(json.loads(json.dumps(topology_json(topology))), name) == topology


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("module.backbone.conv1.weight", "conv1.weight"),
        ("module.1.cmap_up.0.bias", "1.cmap_up.0.bias"),
        ("final_layer.bias", "final_layer.bias"),
    ],
)
def test_prefixes_of_wrappers(given: str, plain: str) -> None:
    assert plain_name(given) == plain


def test_without_pytorch_the_message_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from edgepose.cli.common import run_app\n"
        "from edgepose.cli.main import make_app\n"
        f"sys.exit(run_app(make_app(), ['export', 'hrnet-w32', {str(tmp_path / 'a.pth')!r}], 'edgepose'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'edgepose[export]'" in done.stderr
    assert "Traceback" not in done.stderr
