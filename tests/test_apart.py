"""The child process of the session: a crash is the failure of one test."""

from __future__ import annotations

import faulthandler
import os
from pathlib import Path

import pytest

from edgepose.errors import NetworkFileError
from tests.apart import Apart


def refuse(name: str) -> None:
    raise NetworkFileError(f"{name} is no network.")


def test_a_crash_is_told_with_its_stack_and_the_next_call_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Apart()
    try:
        with pytest.raises(NetworkFileError, match="x is no network"):
            child(refuse, "x")
        monkeypatch.setenv("EDGEPOSE_HOME", str(tmp_path))
        assert child(os.getenv, "EDGEPOSE_HOME") == str(tmp_path)
        with pytest.raises(pytest.fail.Exception, match=r"crashed:(.|\n)*Segmentation fault"):
            child(faulthandler._sigsegv)  # type: ignore[attr-defined]
        assert child(os.getpid) != os.getpid()
    finally:
        child.close()
