"""The definitions have the names and shapes of the checkpoints that users bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the export extra (PyTorch) is not installed")

from edgepose.export.architectures import ARCHITECTURES, find_architecture  # noqa: E402
from edgepose.export.checkpoint import plain_name  # noqa: E402
from edgepose.networks.topology import load_topology  # noqa: E402

STATES = {
    "resnet18_baseline_att_18_42": "resnet18-body",
    "resnet18_baseline_att_21_40": "resnet18-hand",
    "resnet50_baseline_att_18_42": "resnet50-body",
    "densenet121_baseline_att_18_42": "densenet121-body",
    "densenet121_baseline_att_21_40": "densenet121-hand",
    "densenet169_baseline_att_18_42": "densenet169-body",
    "hrnet_w32_17": "hrnet-w32",
    "hrnet_w48_17": "hrnet-w48",
    "sithu_posehrnet_w32": "hrnet-w32",
    "sithu_posehrnet_w48": "hrnet-w48",
    "sithu_simdr_w32": "simdr-w32",
    "sithu_simdr_w48": "simdr-w48",
}


def build(name: str) -> Any:
    """The definition without memory for its weights."""
    architecture = find_architecture(name)
    with torch.device("meta"):
        return architecture.build(load_topology(architecture.topology), architecture.size)


@pytest.mark.parametrize("state", STATES)
def test_names_shapes_and_order_equal_the_checkpoints(state: str, shared: Path) -> None:
    file = shared / f"oracle/state_dicts/state_{state}.json"
    wanted = json.loads(file.read_text())["state_dict"]
    found = {k: list(v.shape) for k, v in build(STATES[state]).state_dict().items()}
    if state.startswith("sithu_posehrnet"):  # the same network, its backbone one level deeper
        wanted = {plain_name(k): v for k, v in wanted.items()}
    assert list(found.items()) == list(wanted.items())


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_outputs_have_the_documented_shapes(architecture: Any) -> None:
    w, h = architecture.size
    topology = load_topology(architecture.topology)
    k, links = len(topology.keypoints), len(topology.links)
    with torch.device("meta"), torch.no_grad():
        module = architecture.build(topology, architecture.size).eval()
        answer = module(torch.zeros(2, 3, h, w))
    answer = answer if isinstance(answer, tuple) else (answer,)
    shapes = dict(zip(architecture.outputs, (tuple(t.shape) for t in answer), strict=True))
    expected = {
        "cmap": (2, k, h // 4, w // 4),
        "paf": (2, 2 * links, h // 4, w // 4),
        "heatmap": (2, k, h // 4, w // 4),
        "simcc_x": (2, k, 2 * w),
        "simcc_y": (2, k, 2 * h),
    }
    assert shapes == {name: expected[name] for name in architecture.outputs}


def test_sizes_are_those_published() -> None:
    def millions(name: str) -> float:
        return sum(p.numel() for p in build(name).parameters()) / 1e6

    assert millions("hrnet-w32") == pytest.approx(28.54, abs=0.01)
    assert millions("hrnet-w48") == pytest.approx(63.60, abs=0.01)
