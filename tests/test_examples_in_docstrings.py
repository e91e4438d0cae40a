"""The `>>>` examples in docstrings work as they stand, and the classes that programs begin with have one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from edgepose import Pose, PoseNet, videoOutput, videoSource
from edgepose.track.tracker import Tracker

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "edgepose").rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # some read a picture of the repository
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0, "no example is left"
    assert failed == 0


@pytest.mark.parametrize("known", [PoseNet, Pose, Tracker, videoSource, videoOutput])
def test_what_programs_begin_with_shows_how(known: type) -> None:
    assert ">>> " in (known.__doc__ or "")
