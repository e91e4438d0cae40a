"""Fixtures of the whole suite: private folders, no network, and the shared test material."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from edgepose.cuda import host, host_build
from edgepose.errors import BackendUnavailable
from edgepose.paths import data_networks
from tests.apart import Apart
from tests.cuda.ptx_machine import machine_folder
from tests.cuda.stand_in import StandIn

# a busy machine is no failure
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# a suite started in the background of a script inherits an ignored SIGINT and would hand it on to the
# programs that the tests interrupt
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """What a test makes the program put into the environment (`--ssl-cert`) ends with the test."""
    before = dict(os.environ)
    try:
        return (yield)
    finally:
        if os.environ != before:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(autouse=True)
def private_folders(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test has its own EDGEPOSE_HOME and EDGEPOSE_CACHE and never touches the user's."""
    base = tmp_path_factory.mktemp("edgepose")
    monkeypatch.setenv("EDGEPOSE_HOME", str(base / "home"))
    monkeypatch.setenv("EDGEPOSE_CACHE", str(base / "cache"))


def _no_rights_of_root() -> None:
    libc = ctypes.CDLL(None)
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: low halves, then high ones
    assert libc.capget(head, sets) == 0
    for which in range(3):
        sets[which] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(head, sets) == 0


def as_anybody(act: Callable[[], Any]) -> Any:
    """Call a function in a thread to which a file's mode forbids what it says, of root as well."""
    with ThreadPoolExecutor(1, initializer=_no_rights_of_root) as thread:
        return thread.submit(act).result()


@pytest.fixture(scope="session")
def compiled() -> None:
    """The library compiled for the host, built where its sources are newer than the install."""
    try:
        host.library()
    except BackendUnavailable:
        if problem := host_build.build_library():
            pytest.skip(f"the compiled decoder is not here: {problem}")
        host.attempt.cache_clear()


@pytest.fixture(scope="session")
def apart() -> Iterator[Apart]:
    """Calls functions in a child process, where a library may crash without ending the session."""
    child = Apart()
    yield child
    child.close()


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


class Material:
    """Test material by its path: the large folder where it is there, else what the repository brings.

    Args:
        roots: folders, the first that has a file gives it.
    """

    def __init__(self, *roots: Path) -> None:
        self._roots = roots

    def find(self, name: str) -> Path | None:
        """A file or folder, None where it is nowhere."""
        return next((root / name for root in self._roots if (root / name).exists()), None)

    def network(self, name: str, shipped: str) -> Path:
        """A network's file of the material, else one of those that come with edgepose."""
        return self.find(f"networks/{name}") or data_networks() / shipped

    def __truediv__(self, name: str) -> Path:
        """A file or folder; the test is skipped where it is nowhere."""
        found = self.find(name)
        if found is None:
            pytest.skip(f"{name} is not in the test material (../shared or EDGEPOSE_TEST_MATERIAL)")
        return found


@pytest.fixture(scope="session")
def shared() -> Material:
    """Networks, oracles, media and datasets: beside the checkout, and a part of them in tests/data."""
    large = Path(os.environ.get("EDGEPOSE_TEST_MATERIAL", ROOT.parent / "shared"))
    return Material(large, ROOT / "tests" / "data" / "material")


@pytest.fixture(scope="session")
def stand_in(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, shared: Material
) -> StandIn:
    """Python with a stand-in for the driver of a GPU."""
    return StandIn(tmp_path_factory.mktemp("driver"), machine_folder(pytestconfig), shared)


def _gpu_is_here() -> bool:
    try:
        return bool(ctypes.CDLL("libcuda.so.1").cuInit(0) == 0)
    except OSError:
        return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked gpu run on a GPU; without one those who use `stand_in` run them in a process of its own."""
    if "gpu" in config.option.markexpr or _gpu_is_here():
        return
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def hpe_int8(shared: Path) -> Path:
    """Intel's human-pose-estimation-0001 FP16-INT8 as an OpenVINO IR."""
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    return shared / "networks/human-pose-estimation-0001/FP16-INT8/human-pose-estimation-0001.xml"


@pytest.fixture(scope="session")
def hpe_alike(shared: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`hpe_int8`, or a small IR in its place with the same folder, inputs and outputs; its answers mean nothing."""
    ov = pytest.importorskip("openvino", reason="the openvino extra is not installed")
    name = "networks/human-pose-estimation-0001/FP16-INT8/human-pose-estimation-0001.xml"
    if found := shared.find(name):
        return found
    made = tmp_path_factory.mktemp("intel") / name
    made.parent.mkdir(parents=True)
    pixels = ov.opset13.parameter([1, 3, 256, 456], name="data")
    pixels.output(0).set_names({"data"})
    outputs = []
    for layer, channels in (("Mconv7_stage2_L1", 38), ("Mconv7_stage2_L2", 19)):
        weights = np.random.default_rng(channels).normal(0, 1e-4, (channels, 3, 8, 8)).astype("f")
        maps = ov.opset13.convolution(pixels, weights, [8, 8], [0, 0], [0, 0], [1, 1], name=layer)
        maps.output(0).set_names({layer})
        outputs.append(maps)
    ov.save_model(ov.Model(outputs, [pixels], "human-pose-estimation-0001"), made)
    return made


@pytest.fixture(scope="session")
def body(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Arguments that choose a network of bodies: Intel's where it is there, else the one that is shipped."""
    try:
        model = request.getfixturevalue("hpe_int8")
    except pytest.skip.Exception:
        return {"network": "edgepose-lite-body"}
    return {"network": "human-pose-estimation-0001", "model": model}


@pytest.fixture(scope="session")
def body_words(body: dict[str, Any]) -> list[str]:
    """The same as words of a command line."""
    return [word for key, value in body.items() for word in (f"--{key}", str(value))]


FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium driven over WebDriver."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield made
    made.quit()
