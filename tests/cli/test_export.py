"""`edgepose export` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepose.cli.common import run_app
from edgepose.cli.main import make_app
from edgepose.networks.resolve import resolve


def run(*words: str) -> int:
    return run_app(make_app(), ["export", *words], "edgepose")


def test_unknown_names_are_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("resnet18", "a.pth") == 2
    assert "Did you mean 'resnet18-" in capsys.readouterr().err


def test_a_checkpoint_becomes_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="the export extra (PyTorch) is not installed")
    from edgepose.export.architectures import find_architecture
    from edgepose.networks.topology import load_topology

    module = find_architecture("resnet18-hand").build(load_topology("hand_pose"), (64, 64))
    torch.save(module.state_dict(), tmp_path / "hand.pth")
    file = tmp_path / "hand.onnx"
    words = ("resnet18-hand", str(tmp_path / "hand.pth"), "--size", "64x64", "-o", str(file))
    assert run(*words) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(file)
    assert "posenet --network resnet18-hand-64x64" in captured.err
    assert resolve("resnet18-hand-64x64", download=False).model.is_file()
    assert run(*words, "--json", "--no-install", "--batch", "2") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["network"] == ""
    assert answer["batch"] == 2
    assert answer["difference"] < 1e-4
    assert run("hrnet-w32", str(tmp_path / "hand.pth")) == 1
    err = capsys.readouterr().err
    assert "missing" in err
    assert "Traceback" not in err
