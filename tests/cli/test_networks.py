"""`edgepose networks`: the list, one network, the cached engines, verification and removal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepose.cli.common import run_app
from edgepose.cli.main import make_app
from edgepose.networks import registry
from edgepose.networks.download import InstallOptions, install
from edgepose.networks.resolve import default_name
from edgepose.paths import engines_cache, networks_home

Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Exit code, stdout and stderr of `edgepose networks ...`."""

    def call(*args: str) -> Said:
        code = run_app(make_app(), ["networks", *args], "edgepose")
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    source = tmp_path / "x.onnx"
    source.write_bytes(b"\x08\x07weights")
    return install(registry.find("openpose-mobilenet-v2-small"), "", InstallOptions(source=source))


def test_the_list(run: Run, installed: Path) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["network", "family", "input", "AP", "MB", "ms", "licence", "installed"]
    by_name = {row.split()[0]: row for row in rows}
    assert set(by_name) == set(registry.names())
    assert by_name["openpose-mobilenet-v2-small"].endswith(str(installed.parent))
    assert by_name["resnet18-body"].split() == [
        "resnet18-body",
        "bottom-up",
        "224x224",
        "MIT",
        "no",
    ]
    assert "74.9" in by_name["rtmpose-m"]
    assert by_name["hrnet-w48"].endswith("bring the file")
    # two weights lie in one place
    assert by_name["movenet-multipose"].count("in the package") == 1


def test_as_json(run: Run, installed: Path) -> None:
    code, out, _ = run("--json")
    assert code == 0
    data = json.loads(out)
    by_name = {n["name"]: n for n in data["networks"]}
    assert by_name["openpose-mobilenet-v2-small"]["installed"] == {"FP32": str(installed)}
    assert [n for n, row in by_name.items() if row["default"]] == [default_name()]
    assert by_name["rtmo-s"]["metrics"] == {"coco_ap": 0.686}
    assert data["engines"] == []
    assert data["problems"] == []


def test_cached_engines(run: Run) -> None:
    engines_cache().mkdir(parents=True)
    sidecar = {
        "name": "pose_resnet18_body",
        "bytes": 12_300_000,
        "created": 1.0,
        "key": {"precision": "fp16", "flavour": "tensorrt", "version": "10.3.0", "gpu": "Orin"},
    }
    (engines_cache() / "good.plan.json").write_text(json.dumps(sidecar))
    (engines_cache() / "broken.json").write_text("{")
    (engines_cache() / "list.json").write_text("[1]")
    code, out, err = run()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    row = next(line for line in lines if line.startswith("pose_resnet18_body"))
    for word in ("fp16", "tensorrt 10.3.0", "Orin", "12.3 MB"):
        assert word in row
    assert sum("?" in line for line in lines) == 2  # unreadable ones are listed, not hidden
    engines = json.loads(run("--json")[1])["engines"]
    assert [e["name"] for e in engines] == [None, "pose_resnet18_body", None]


def test_a_broken_manifest_is_told_and_the_others_listed(run: Run) -> None:
    folder = networks_home() / "mine"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"name": "mine"}')
    code, out, err = run()
    assert code == 0
    assert "resnet18-body" in out
    assert str(folder / "manifest.json") in err
    assert "family" in err


@pytest.mark.parametrize("m", registry.manifests(), ids=lambda m: m.name)
def test_show(run: Run, m: registry.Manifest) -> None:
    code, out, err = run("show", m.name)
    assert (code, err) == (0, "")
    assert m.name in out
    assert m.license in out
    for weights in m.weights.values():
        for d in weights.downloads:
            assert all(url in out for url in d.urls)
            assert not d.sha384 or d.sha384 in out
    data = json.loads(run("show", m.name, "--json")[1])
    assert data["name"] == m.name
    assert data["decoder"] == m.decoder
    assert len(data["keypoints"]) in (0, 17, 18, 21)


def test_show_by_alias_and_unknown(run: Run) -> None:
    assert run("show", "HPE_0001")[0] == 0
    code, out, err = run("show", "hpe-0002")
    assert (code, out) == (2, "")
    assert "Unknown network" in err


def test_verify(run: Run, installed: Path) -> None:
    name = "openpose-mobilenet-v2-small"
    assert run("show", name, "--verify")[0] == 0
    installed.write_bytes(b"bit rot")
    code, out, err = run("show", name, "--verify", "--json")
    assert code == 1
    assert json.loads(out)["damaged"] == [f"{installed} has changed since it was installed"]
    assert "edgepose download" in err


def test_remove(run: Run, installed: Path) -> None:
    code, out, err = run("remove", "openpose-mobilenet-v2-small")
    assert (code, out) == (0, "")
    assert "removed" in err
    assert not installed.exists()
    code, _, err = run("remove", "openpose-mobilenet-v2-small")
    assert code == 2
    assert "is not installed" in err


def test_on_a_terminal(installed: Path) -> None:
    """A drawn table that fits; nothing is cut off from the names."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepose", "networks"],
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(child)
    said = b""
    while True:
        try:
            block = os.read(parent, 4096)
        except OSError:  # closed when the program has ended
            break
        if not block:
            break
        said += block
    os.close(parent)
    assert process.wait(20) == 0
    text = said.decode()
    assert "person-detection-retail-0013" in text
    assert "─" in text


def test_help(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "show" in out
    assert "remove" in out
