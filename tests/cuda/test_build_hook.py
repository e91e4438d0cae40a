"""The build hook: a compiled library where it can be, a pure wheel where not, never a failure."""

from __future__ import annotations

import importlib.util
import platform
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """hatch_build.py over a copy of the sources; hatchling itself is not needed to run it."""

    class Base:
        def __class_getitem__(cls, item: Any) -> type:
            return cls

        def __init__(self, target_name: str) -> None:
            self.target_name = target_name

    name = "hatchling.builders.hooks.plugin.interface"
    interface = types.ModuleType(name)
    interface.BuildHookInterface = Base  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, interface)
    folder = tmp_path / "edgepose/cuda"
    folder.mkdir(parents=True)
    for source in (ROOT / "edgepose/cuda").iterdir():
        if source.suffix in (".h", ".cu", ".cpp", ".py"):
            (folder / source.name).write_bytes(source.read_bytes())
    networks = tmp_path / "data/networks"
    networks.mkdir(parents=True)
    for network in ("a.json", "a.onnx", "edgepose-lite-body.json", "edgepose-lite-body.onnx"):
        (networks / network).touch()
    script = tmp_path / "hatch_build.py"
    script.write_bytes((ROOT / "hatch_build.py").read_bytes())
    spec = importlib.util.spec_from_file_location("hatch_build_copy", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(hook: Any, target: str = "wheel", version: str = "standard") -> dict[str, Any]:
    """What the hook asks hatchling for."""
    data: dict[str, Any] = {"artifacts": [], "pure_python": True, "force_include": {}}
    hook.HostLibraryHook(target).initialize(version, data)
    return data


def test_wheels_bring_the_networks_but_for_the_one_with_research_data(hook: Any) -> None:
    names = ("a.json", "a.onnx", "edgepose-lite-body.json")
    wanted = {f"data/networks/{name}": f"edgepose/data/networks/{name}" for name in names}
    assert run(hook)["force_include"] == wanted
    assert run(hook, version="editable")["force_include"] == {}
    assert run(hook, "sdist")["force_include"] == {}


def test_with_a_compiler_the_wheel_is_for_this_machine(hook: Any) -> None:
    data = run(hook)
    if not (hook.CUDA / "_host.so").is_file():
        pytest.skip("no C++ compiler is here")
    assert data["artifacts"] == ["edgepose/cuda/_host.so"]
    assert data["tag"] == f"py3-none-linux_{platform.machine()}"
    assert data["pure_python"] is False


def test_without_a_compiler_the_wheel_is_pure(
    hook: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "ziglang", None)  # as where it is not installed
    monkeypatch.delenv("CXX", raising=False)
    assert run(hook)["artifacts"] == []
    assert "no C++ compiler" in capfd.readouterr().err


def test_a_broken_source_does_not_stop_the_install(hook: Any) -> None:
    (hook.CUDA / "peaks.cu").write_text("this is not C++")
    assert run(hook)["artifacts"] == []
    (hook.CUDA / "peaks.cu").unlink()
    assert run(hook)["artifacts"] == []


def test_pure_on_request_and_for_source_archives(
    hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(hook, "sdist")["pure_python"] is True
    monkeypatch.setenv("EDGEPOSE_PURE", "1")
    assert run(hook)["artifacts"] == []
    assert not (hook.CUDA / "_host.so").exists()
