"""The `>>>` examples in the docstrings of the public classes work as they stand."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = (
    "edgepose.types",
    "edgepose.track.tracker",
    "edgepose.posenet",
    "edgepose.jetson_inference",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # some read a picture of the repository
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0, "no example is left"
    assert failed == 0
