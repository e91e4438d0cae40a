"""`edgepose engines`: list, show, prune, export, import."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgepose.cli import engines
from edgepose.cli.common import run_app
from edgepose.cli.main import make_app
from edgepose.engines.cache import PlanCache, PlanKey, Sidecar, sidecar_path
from edgepose.networks.onnx_file import model_digest
from edgepose.paths import engines_cache
from tests.engines.onnx_nets import pose_like

Said = tuple[int, str, str]
Run = Callable[..., Said]
HERE = {
    "tensorrt": "10.3.0",
    "gpu": "Orin",
    "compute_capability": "8.7",
    "driver": "12.6",
}
KEY = PlanKey(
    onnx="ab" * 32,
    flavour="tensorrt",
    version="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    driver="12.6",
    shape="input 1x3x224x224",
)


@pytest.fixture(autouse=True)
def on_an_orin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "this_machine", lambda: dict(HERE))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object) -> Said:
        code = run_app(make_app(), ["engines", *map(str, args)], "edgepose")
        return (code, *capfd.readouterr())

    return call


def store(name: str = "resnet18-body", created: float | None = None, **changes: object) -> Path:
    key = replace(KEY, **changes)  # type: ignore[arg-type]
    tensors = {"input": ["float32", [1, 3, 224, 224]]}
    made = time.time() if created is None else created
    sidecar = Sidecar(key, name, "/gone.onnx", 0, "", made, 85.0, tensors, tensors)
    return PlanCache().store(b"plan" * 1000, sidecar)


def test_an_empty_cache(run: Run) -> None:
    code, out, err = run("list")
    assert (code, out) == (0, "")
    assert "edgepose build-engine NETWORK" in err
    code, out, _ = run("list", "--json")
    assert json.loads(out)["engines"] == []


def test_list(run: Run) -> None:
    fits = store()
    other = store(driver="12.2", batch="1:4:8")
    rtx = store(flavour="tensorrt_rtx", version="1.7", gpu="", compute_capability="", driver="")
    cut = store("densenet", precision="fp32")
    cut.write_bytes(b"plan")
    code, out, err = run("list")
    assert (code, err) == (0, "")
    by_file = {line.split()[-1]: line for line in out.splitlines()[1:]}
    assert " fits " in by_file[fits.name]
    assert " other machine " in by_file[other.name]
    assert "batch 1:4:8" in by_file[other.name]
    assert " unknown " in by_file[rtx.name]
    assert " damaged " in by_file[cut.name]
    states = {Path(e["file"]).name: e for e in json.loads(run("list", "--json")[1])["engines"]}
    assert states[other.name]["why"] == "driver: 12.2, here 12.6"
    assert "cut off: 4 of 4000 bytes" in states[cut.name]["why"]
    assert states[fits.name]["key"]["gpu"] == "Orin"


def test_entries_without_a_sidecar_are_listed(run: Run) -> None:
    path = store()
    sidecar_path(path).unlink()
    code, out, _ = run("list")
    assert code == 0
    assert " damaged " in out


def test_show_tells_which_field_differs(run: Run) -> None:
    store()
    old = store(version="8.6.1", precision="fp32")
    code, out, _ = run("show", old.name)
    assert code == 0
    assert "version: 8.6.1, here 10.3.0" in out
    assert "input: 1x3x224x224 float32" in out
    assert "source state: gone" in out
    assert "version: 8.6.1, now 10.3.0; precision: fp32, now fp16" in out
    data = json.loads(run("show", old.name, "--json")[1])
    assert data["differences"] == ["version: 8.6.1, here 10.3.0"]


def test_show_compares_the_network(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    onnx.save(pose_like(), model)
    key = replace(KEY, onnx=model_digest(model))
    PlanCache().store(b"x", Sidecar(key, "m", str(model), 0, "", time.time()))
    assert json.loads(run("show", "m.", "--json")[1])["source_state"] == "unchanged"
    onnx.save(pose_like(bias=0.1), model)
    assert json.loads(run("show", "m.", "--json")[1])["source_state"] == "changed since"
    model.write_bytes(b"rubbish")
    assert json.loads(run("show", "m.", "--json")[1])["source_state"] == "damaged"


def test_show_a_damaged_engine(run: Run) -> None:
    path = store()
    path.write_bytes(b"plam" * 1000)
    code, out, _ = run("show", "resnet18-body")
    assert code == 1
    assert "checksum differs" in out


def test_no_foreign_sidecar_speaks_to_the_terminal(run: Run) -> None:
    path = store()
    data = json.loads(sidecar_path(path).read_text())
    tensors = {"\x1b[31m": ["f", [1]]}
    words = {
        "name": "n\x1b[31m" * 999,
        "source": "/x\x1b]0;t\x07\n",
        "notes": ["\x1b[2J", "\u202e"],
    }
    sidecar_path(path).write_text(json.dumps(data | words | {"inputs": tensors, "created": 1e308}))
    for asked in (["list"], ["show", path.name]):
        code, out, err = run(*asked)
        assert code == 0
        assert all(line.isprintable() and len(line) < 3000 for line in (out + err).splitlines())


def test_names_that_mean_none_or_several(run: Run) -> None:
    code, _, err = run("show", "nothing")
    assert code == 2
    assert "No engine 'nothing'" in err
    store()
    store(precision="fp32")
    code, _, err = run("show", "resnet18")
    assert code == 2
    assert "means 2 engines" in err


def test_prune(run: Run) -> None:
    fits = store()
    stale = store(driver="12.2")
    compatible = store(gpu="Ampere or newer", options="hardware-compatible")
    cut = store("densenet")
    cut.write_bytes(b"")
    part = engines_cache() / ".x.engine.abc.part"
    part.write_bytes(b"half")
    os.utime(part, (0, 0))
    code, out, err = run("prune", "--dry-run")
    assert (code, out) == (0, "")
    assert "would remove" in err
    assert stale.exists()
    data = json.loads(run("prune", "--json")[1])
    assert {Path(r["file"]).name for r in data["removed"]} == {stale.name, cut.name, part.name}
    assert fits.exists()
    assert compatible.exists()
    assert not stale.exists()
    assert not part.exists()
    assert "Nothing to remove" in run("prune")[2]


def test_prune_by_age_and_all(run: Run) -> None:
    old = store(created=time.time() - 10 * 86400)
    new = store(precision="fp32")
    run("prune", "--older-than", "5")
    assert (old.exists(), new.exists()) == (False, True)
    run("prune", "--all")
    assert list(engines_cache().glob("*.engine")) == []
    assert list(engines_cache().glob("*.json")) == []


def test_export_and_import(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(driver="12.2")
    folder = tmp_path / "usb"
    folder.mkdir()
    code, out, _ = run("export", "resnet18-body", folder)
    assert (code, out) == (0, f"{folder / path.name}\n")
    monkeypatch.setenv("EDGEPOSE_CACHE", str(tmp_path / "fresh"))
    code, out, err = run("import", folder / path.name)
    assert code == 0
    assert Path(out.strip()).read_bytes() == path.read_bytes()
    assert "is for another machine (driver: 12.2, here 12.6)" in err
    code, _, err = run("import", tmp_path / "none.engine")
    assert code == 1
    assert "does not exist" in err


def test_this_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "gpu" not in engines.this_machine()


def test_help_lists_the_sub_commands(run: Run) -> None:
    _, out, _ = run("--help")
    for name in ("list", "show", "prune", "export", "import"):
        assert name in out
