"""One broker and one PostgreSQL for all tests that only need living ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker import Broker
from postgres import Postgres


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker")).start()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL of ours, without fsync: it is killed by nobody."""
    made = Postgres("-F")
    try:
        made.start()
        yield made.address
    finally:
        made.remove()
