"""Dockerfile.jetson, run.sh and the page mean the same images; what jetson-utils needs is installed before it is built.

With `-m long` and EDGEPOSE_JETSON_UTILS=FOLDER (its sources, not part of this project) its build is configured and
its files are compiled as far as stand-ins for NVIDIA's headers allow. With EDGEPOSE_JETSON_UTILS_BUILD=1 as well, all of
it is built (ten minutes) and its own Python extension reads a film through our adapter, on a CUDA runtime
whose device is the host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from packaging.requirements import Requirement

from tests.docker.test_run_sh import machine, run

__all__ = ["machine"]
ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile.jetson").read_text()
PAGE = (ROOT / "docs/containers.md").read_text()
SCRIPT = ROOT / "docker/jetson_utils.sh"
ROWS = re.findall(r"^\| (r\d[\d.]*) \| ([\d., ]+) \|", PAGE, re.MULTILINE)
RELEASES = [(tag, release) for tag, all_of_it in ROWS for release in all_of_it.split(", ")]


def test_the_page_lists_the_stages() -> None:
    assert [tag for tag, _ in ROWS] == re.findall(r" AS base-(\S+)", DOCKERFILE)


@pytest.mark.parametrize(("tag", "release"), RELEASES)
def test_run_sh_asks_for_an_image_that_there_is(machine: Path, tag: str, release: str) -> None:
    major, minor = release.split(".")
    (machine / "root/etc").mkdir()
    (machine / "root/etc/nv_tegra_release").write_text(
        f"# R{major} (release), REVISION: {minor}.0, GCID: 1, BOARD: generic\n"
    )
    assert f"edgepose:{tag} serve" in run(machine, "--dry-run", "serve").stdout


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_constraints_are_allowed_by_the_package(python: str) -> None:
    there = {"python_version": python, "platform_machine": "aarch64", "extra": ""}
    lines = (ROOT / "docker/constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    valid = [p for p in pins if p.marker is None or p.marker.evaluate(there)]
    assert len({p.name for p in valid}) == len(valid), "two pins for one package"
    versions = {p.name: next(iter(p.specifier)).version for p in valid}
    text = (ROOT / "pyproject.toml").read_text().split("dependencies = [")[1].split("\n]")[0]
    wanted = [Requirement(r) for r in re.findall(r'^  "(.+?)",', text, re.MULTILINE)]
    assert len(wanted) > 5
    for requirement in wanted:
        if requirement.marker is None:
            assert versions[requirement.name] in requirement.specifier, requirement


def packages() -> list[str]:
    return subprocess.run(
        [str(SCRIPT), "--packages"], capture_output=True, text=True, check=True
    ).stdout.split()


def test_the_pages_name_the_list_and_no_other() -> None:
    page = (ROOT / "docs/install-jetson.md").read_text()
    assert "docker/jetson_utils.sh --packages" in page
    assert "libgstreamer" not in page + DOCKERFILE
    assert len(packages()) > 15


# --- with its sources

STAND_INS = {
    "NvInfer.h": "#define NV_TENSORRT_MAJOR 10\n",
    "nppi.h": '#include "npp.h"\n',
    "npp.h": """#pragma once
#include <cuda_runtime.h>
typedef unsigned char Npp8u;
typedef int NppStatus;
struct NppiSize { int width, height; };
struct NppiRect { int x, y, width, height; };
enum NppiBayerGridPosition { NPPI_BAYER_BGGR, NPPI_BAYER_RGGB, NPPI_BAYER_GBRG, NPPI_BAYER_GRBG };
enum NppiInterpolationMode { NPPI_INTER_UNDEFINED };
struct NppStreamContext { cudaStream_t hStream; };
NppStatus nppGetStreamContext(NppStreamContext*);
NppStatus nppiCFAToRGB_8u_C1C3R_Ctx(
  const Npp8u*, int, NppiSize, NppiRect, Npp8u*, int, NppiBayerGridPosition, NppiInterpolationMode, NppStreamContext);
""",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of jetson-utils' sources, on a machine that has the packages of the list."""
    given = os.environ.get("EDGEPOSE_JETSON_UTILS", "")
    if not given:
        pytest.skip("set EDGEPOSE_JETSON_UTILS to a folder with jetson-utils' sources")
    if shutil.which("dpkg") is None:
        pytest.skip("not a Debian or Ubuntu")
    missing = [p for p in packages() if not p.startswith(("libnvinfer", "python3", "gstreamer"))]
    missing = [
        p for p in missing if subprocess.run(["dpkg", "-s", p], capture_output=True).returncode
    ]
    if missing:
        pytest.skip(f"apt install {' '.join(missing)}")
    folder = tmp_path_factory.mktemp("jetson-utils")
    shutil.copytree(given, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CUDA toolkit with what a small one lacks."""
    nvcc = next(iter(sorted(Path("/usr/local").glob("cuda*/bin/nvcc"))), None)
    compiler = shutil.which("g++")
    if nvcc is None or compiler is None:
        pytest.skip("needs nvcc and g++")
    real, folder = nvcc.parents[1], tmp_path_factory.mktemp("cuda")
    for name in ("bin", "include", "lib64"):
        (folder / name).mkdir()
        for path in (real / name).iterdir():
            (folder / name / path.name).symlink_to(path)
    (folder / "nvvm").symlink_to(real / "nvvm")
    for name, text in STAND_INS.items():
        if not (folder / "include" / name).exists():
            (folder / "include" / name).write_text(text)
    library = folder / "lib64/libnppicc.so"
    if not library.exists():
        (folder / "npp.cpp").write_text("int npp;\n")
        words = [compiler, "-shared", "-fPIC", str(folder / "npp.cpp"), "-o", str(library)]
        subprocess.run(words, check=True)
    return folder


@pytest.fixture(scope="module")
def configured(sources: Path, toolkit: Path) -> Path:
    """The sources, changed and configured as jetson_utils.sh does it."""
    here = f"{Path(sys.executable).parent}:{toolkit}/bin:{os.environ['PATH']}"
    done = subprocess.run(
        [str(SCRIPT), "--source", str(sources), "--configure"],
        env={**os.environ, "PATH": here},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (sources / "configure.log").write_text(done.stdout + done.stderr)
    return sources


@pytest.mark.long
def test_the_build_is_configured_for_this_python_and_its_numpy(configured: Path) -> None:
    log = (configured / "configure.log").read_text()
    numpy = subprocess.run(
        [sys.executable, "-c", "import numpy; print(numpy.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert f"found NumPy version:  {numpy}" in log
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"trying to build Python bindings for Python versions:  {python}\n" in log
    (flags,) = re.findall(
        r"set\(CUDA_NVCC_FLAGS .*(-gencode arch=compute_87.*)\)", _cmake(configured)
    )
    assert "compute_87,code=compute_87" in flags, "PTX for GPUs that come later"
    assert not re.search(r"sm_(53|62|72)", _cmake(configured))


def _cmake(folder: Path) -> str:
    return (folder / "CMakeLists.txt").read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "cpp/codec/gstEncoder.cpp",
        "cpp/codec/gstBufferManager.cpp",
        "cpp/network/RTSPServer.cpp",
        "cpp/network/WebRTCServer.cpp",
        "cpp/display/glDisplay.cpp",
        "python/bindings/PyNumpy.cpp",
    ],
)
def test_its_sources_compile(configured: Path, toolkit: Path, name: str) -> None:
    """Those that include every library of the list."""
    target = (
        "python/bindings_python" if name.startswith("python") else "CMakeFiles/jetson-utils.dir"
    )
    flags = next(
        path.read_text()
        for path in sorted((configured / "build").rglob("flags.make"))
        if target in str(path)
    )
    words = {
        k: v.split()
        for k, v in re.findall(r"^CXX_(DEFINES|INCLUDES|FLAGS) = (.*)$", flags, re.MULTILINE)
    }
    options = [w for kind in words.values() for w in kind]
    done = subprocess.run(
        ["g++", "-fsyntax-only", "-w", *options, f"-I{toolkit}/include", str(configured / name)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.long
def test_a_kernel_compiles_for_orin_and_what_follows(configured: Path, toolkit: Path) -> None:
    (flags,) = re.findall(
        r"set\(CUDA_NVCC_FLAGS .*(-gencode arch=compute_87.*)\)", _cmake(configured)
    )
    done = subprocess.run(
        [
            f"{toolkit}/bin/nvcc", "-std=c++11", "-w", *flags.split(), "-c", "-o", str(configured / "x.o"),
            f"-I{configured}/cuda", f"-I{configured}/cpp/image", f"-I{configured}/cpp/parsers",
            str(configured / "cuda/cudaYUV-NV12.cu"),
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]


# --- the real extension

READS = """
import ctypes, gc, sys
from edgepose.io import jetson_utils
from edgepose.io.base import SourceOptions
from edgepose.io.sources.jetson import JetsonCapture

utils, why = jetson_utils.find()
assert utils is not None, why
capture = JetsonCapture(utils, "file://" + sys.argv[1], "film", SourceOptions(timeout=20))
runtime = ctypes.CDLL("libcudart.so.13")
held, shapes, greys = [], set(), []
for number in range(12):
    image = capture.read().load()
    assert image.on_device and image.planes.format in ("nv12", "i420"), "the decoder's own planes"
    rgb = image.rgb()
    luma = image.planes.planes[0]
    seen = (ctypes.c_uint8 * (luma.shape[0] * luma.shape[1])).from_address(luma.address)
    assert max(seen) - min(seen) <= 2, "a picture of one grey"
    greys.append(seen[0])
    held = [*held, image][-3:]
    shapes.add(image.shape)
    if number == 7:
        before = runtime.ep_host_allocations()
assert runtime.ep_host_allocations() == before, "page-locked memory is made for a frame"
(shape,) = shapes
assert jetson_utils.to_host(held[-1].rgb()).shape == shape
assert greys == sorted(greys) and len(set(greys)) > 5
late = capture.read()
capture.close()
del capture
gc.collect()
assert late.load().shape == shape
print("read", shape)
"""


@pytest.fixture(scope="module")
def extension(configured: Path, toolkit: Path) -> dict[str, str]:
    """The environment in which the built extension is found."""
    if not os.environ.get("EDGEPOSE_JETSON_UTILS_BUILD"):
        pytest.skip(
            "set EDGEPOSE_JETSON_UTILS_BUILD=1 to build jetson-utils, which takes ten minutes"
        )
    build, python = configured / "build", f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = {**os.environ, "PATH": f"{toolkit}/bin:{os.environ['PATH']}"}
    for words in (
        ["cmake", "-DCUDA_USE_STATIC_CUDA_RUNTIME=OFF", str(build)],
        ["cmake", "--build", str(build), "--parallel", "2", "--target",
         f"jetson-utils-python-{python.replace('.', '')}"],
    ):  # fmt: skip
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    stand_in, made = configured / "cudart", next(build.glob("*/lib"))
    stand_in.mkdir()
    (stand_in / "version.map").write_text("libcudart.so.13 { global: *; };")
    words = ["gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcudart.so.13"]
    words += [f"-Wl,--version-script={stand_in}/version.map", "-o", f"{stand_in}/libcudart.so.13"]
    subprocess.run([*words, str(Path(__file__).parent / "cudart_double.c")], check=True)
    libraries = f"{stand_in}:{made}:{toolkit}/lib64"
    modules = f"{configured}/python:{made}/python/{python}:{ROOT}"
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "PYTHONPATH": modules}


def film(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(60):
            pixels = np.full((240, 320, 3), number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.long
def test_the_real_extension_reads_a_film(extension: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READS, str(film(tmp_path / "film.mp4"))],
        env=extension, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("read (")
