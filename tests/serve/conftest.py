"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, make_film

for package in ("starlette", "uvicorn", "websockets"):
    pytest.importorskip(package, reason="the serve extra is not installed")


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of walking figures."""
    return make_film(tmp_path_factory.mktemp("film") / "figures.mp4")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Served]:
    """A server with a camera and an example film; events in a database."""
    home = tmp_path_factory.mktemp("served")
    words = ("test://people?size=320x240&rate=15", "--example", str(film))
    served = Served(home, *words, "--db", str(home / "events.db"), "--snapshots")
    yield served
    assert served.end() == 0, "".join(served.said)


@pytest.fixture(scope="session")
def estimator() -> Iterator[Any]:
    """A network that channels share."""
    from edgepose.estimators import EstimatorOptions, make_estimator
    from edgepose.networks.resolve import resolve
    from edgepose.serve.engines import SharedEstimator

    network = resolve("edgepose-lite-body", download=False)
    shared = SharedEstimator(make_estimator(network, EstimatorOptions()))
    yield shared
    shared.release()


@pytest.fixture
def make(estimator: Any) -> Iterator[Callable[..., Any]]:
    """Makes channels of inputs, and ends them."""
    from edgepose.serve.channel import Channel
    from edgepose.serve.watch import ChannelOptions

    made: list[Channel] = []

    def build(uri: str, store: Any = None, **options: Any) -> Channel:
        how = ChannelOptions(**{"linger": 0.3, "retry": 0.1, **options})
        channel = Channel("camera", uri, uri, lambda: estimator, how, store)
        made.append(channel)
        return channel

    yield build
    for channel in made:
        channel.close()
        assert not channel._thread.is_alive()
