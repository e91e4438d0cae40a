"""A web server for the tests of the scripts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks.web import Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server
