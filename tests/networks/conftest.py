"""Fixtures of the network tests: a web server, and the environment free of proxies and mirrors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.conftest import onnx_file  # noqa: F401
from tests.networks.web import Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("EDGEPOSE_MIRROR", "EDGEPOSE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
