"""Fixtures of the engine tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepose.paths import data_networks
from tests.conftest import Material
from tests.engines.onnx_nets import pose_like, write

Maker = Callable[..., Path]


@pytest.fixture
def onnx_file(tmp_path: Path) -> Maker:
    """Makes `pose_like` networks in files: onnx_file("name.onnx", dims, ...)."""

    def make(name: str = "net.onnx", *args: Any, **kwargs: Any) -> Path:
        return write(tmp_path / name, pose_like(*args, **kwargs))

    return make


@pytest.fixture(scope="session")
def ir(shared: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real network as an OpenVINO IR: Intel's detector, else one made of what is shipped."""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    name = "person-detection-retail-0013"
    if found := shared.find(f"networks/{name}/FP16/{name}.xml"):
        return found
    made = tmp_path_factory.mktemp("ir") / "palm.xml"
    openvino.save_model(openvino.Core().read_model(data_networks() / "mediapipe-palm.onnx"), made)
    return made
