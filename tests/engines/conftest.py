"""Fixtures of the engine tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines.onnx_nets import pose_like, write

Maker = Callable[..., Path]


@pytest.fixture
def onnx_file(tmp_path: Path) -> Maker:
    """Makes `pose_like` networks in files: onnx_file("name.onnx", dims, ...)."""

    def make(name: str = "net.onnx", *args: Any, **kwargs: Any) -> Path:
        return write(tmp_path / name, pose_like(*args, **kwargs))

    return make
