"""One broker for all tests that only need a living one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker import Broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker")).start()
    yield made
    made.kill()
