"""Fixtures of the whole suite: private folders, no network, and the shared test material."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# a busy machine is no failure
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# a suite started in the background of a script inherits an ignored SIGINT and would hand it on to the
# programs that the tests interrupt
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def private_folders(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test has its own EDGEPOSE_HOME and EDGEPOSE_CACHE and never touches the user's."""
    base = tmp_path_factory.mktemp("edgepose")
    monkeypatch.setenv("EDGEPOSE_HOME", str(base / "home"))
    monkeypatch.setenv("EDGEPOSE_CACHE", str(base / "cache"))


class Heard(logging.Handler):
    """Sentences that the library has logged, oldest first."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def hearing(name: str = "edgepose") -> Iterator[list[str]]:
    """What the library says at INFO and above while the block runs, whoever else listens."""
    logger, heard = logging.getLogger(name), Heard()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(heard)
    try:
        yield heard.lines
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    with hearing() as lines:
        yield lines


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test material beside the checkout (networks, oracles, media, datasets)."""
    folder = Path(os.environ.get("EDGEPOSE_TEST_MATERIAL", ROOT.parent / "shared"))
    if not (folder / "networks").is_dir():
        pytest.skip("the test material (../shared or EDGEPOSE_TEST_MATERIAL) is not here")
    return folder


@pytest.fixture(scope="session")
def hpe_int8(shared: Path) -> Path:
    """Intel's human-pose-estimation-0001 FP16-INT8 as an OpenVINO IR."""
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    return shared / "networks/human-pose-estimation-0001/FP16-INT8/human-pose-estimation-0001.xml"
