"""The checks of `edgepose doctor`, in the order in which they are printed.

Each check looks at one thing and answers with one or more `Check` rows: state, what was found, what it
means, and what to type. None of them raises, none of them changes anything.
"""

from __future__ import annotations

import grp
import importlib
import json
import os
import platform
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from edgepose import paths
from edgepose.cuda import host
from edgepose.cuda.context import BINDINGS, DriverFails, gpu_driver
from edgepose.doctor.board import Board, detect, read
from edgepose.engines.gpu import find_gpu
from edgepose.engines.plans import Flavour
from edgepose.engines.tensorrt_load import check_gpu
from edgepose.errors import BackendUnavailable, EdgeposeError, built_for_other_numpy
from edgepose.io import jetson_utils
from edgepose.machine import package_versions
from edgepose.networks import registry
from edgepose.version import DOCS, __version__

State = Literal["ok", "note", "warn", "fail"]
REACH_SECONDS = 1.0
SOFTWARE_ENCODERS = ("libx264", "libx265", "libvpx-vp9", "mjpeg")
ENCODER_NODES = ("nvhost-nvenc", "nvhost-msenc", "v4l2-nvenc")  # by L4T release
# distributions that install the same module over each other; the one to keep is the first
RIVALS = (
    ("onnxruntime-gpu", "onnxruntime"),
    ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
)
RTX_PACKAGES = ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx")
NEEDED_SPACE = 2e9  # bytes: a few networks and engines


@dataclass(frozen=True)
class Check:
    """One row.

    Attributes:
        name: what was looked at.
        state: ok; note = absent but not needed here; warn = works with less; fail = must be mended.
        found: what is there.
        means: what that means for edgepose.
        fix: what to type or do, "" where nothing.
    """

    name: str
    state: State
    found: str
    means: str = ""
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Place:
    """Where the checks look: the root folder, the board there, and whether to try the network."""

    root: Path
    board: Board | None
    network: bool


def run_checks(root: Path = Path("/"), *, network: bool = True) -> list[Check]:
    """All rows.

    Args:
        root: folder that stands for "/" (captured files of another machine in tests).
        network: try to reach the servers of the networks (at most about a second).
    """
    place = Place(root, detect(root), network)
    rows: list[Check] = []
    for check in CHECKS:
        try:
            rows += check(place)
        except Exception as e:  # a check that breaks is a finding itself
            name = check.__name__.strip("_").replace("_", " ")
            rows.append(Check(name, "warn", f"could not be checked: {type(e).__name__}: {e}"))
    return rows


# edgepose and Python ------------------------------------------------------------------------------
def _edgepose(place: Place) -> Iterator[Check]:
    version = platform.python_version()
    yield Check("edgepose", "ok", f"{__version__}, Python {version}, {platform.machine()}")
    yield _host_kernels()


def _host_kernels() -> Check:
    try:
        host.library()
    except (EdgeposeError, OSError, AttributeError, ImportError) as e:
        return Check(
            "compiled kernels",
            "warn",
            f"not there ({e})",
            "decoding runs in numpy: correct, some milliseconds slower",
            "apt install g++ && pip install --force-reinstall --no-deps edgepose",
        )
    return Check("compiled kernels", "ok", "host library loads")


def _virtual_environment(place: Place) -> Iterator[Check]:
    if sys.prefix == sys.base_prefix:
        return
    config = read(Path(sys.prefix) / "pyvenv.cfg")
    sees_system = "include-system-site-packages = true" in config
    if place.board is not None and not sees_system:
        yield Check(
            "virtual environment",
            "fail",
            f"{sys.prefix} without system packages",
            "JetPack's TensorRT (python3-libnvinfer) cannot be imported in it",
            "python3 -m venv --system-site-packages .venv, and install edgepose again",
        )
    else:
        yield Check("virtual environment", "ok", sys.prefix)


# the board ----------------------------------------------------------------------------------------
def _board(place: Place) -> Iterator[Check]:
    board = place.board
    if board is None:
        yield Check("board", "note", f"no Jetson ({platform.machine()})")
        return
    release = ".".join(map(str, board.l4t)) if board.l4t else "L4T release unknown"
    found = f"{board.model}, L4T {release}, JetPack {board.jetpack or 'unknown'}"
    if board.supported:
        yield Check("board", "ok", found)
    else:
        yield Check(
            "board",
            "fail",
            found,
            "Python 3.10 and TensorRT 8.6 come with JetPack 6",
            "flash JetPack 6 or later",
        )
    yield _power(board)
    yield from _clocks(place.root)
    if not board.encoder:
        yield Check(
            "hardware encoder",
            "warn",
            "none in this system on a chip",
            "films and streams are encoded on the CPU",
            "use smaller outputs, or MJPEG",
        )


def _power(board: Board) -> Check:
    if not board.power_mode:
        return Check("power mode", "note", "unknown", fix="sudo nvpmodel -q")
    best = next((m for m in board.power_modes if m[1].startswith("MAXN")), board.power_modes[0])
    if board.power_mode == best[1]:
        return Check("power mode", "ok", board.power_mode)
    return Check(
        "power mode",
        "warn",
        board.power_mode,
        f"not the fastest ({best[1]})",
        f"sudo nvpmodel -m {best[0]}",
    )


def _clocks(root: Path) -> Iterator[Check]:
    for folder in sorted(root.glob("sys/class/devfreq/*gpu*")) + sorted(
        root.glob("sys/class/devfreq/*gv11b*")
    ):
        now, most = read(folder / "min_freq"), read(folder / "max_freq")
        if now.isdigit() and most.isdigit() and int(most):
            fixed = int(now) == int(most)
            yield Check(
                "GPU clock",
                "ok" if fixed else "note",
                f"{int(now) / 1e6:.0f} to {int(most) / 1e6:.0f} MHz",
                "" if fixed else "scales with the load: figures of a benchmark vary",
                "" if fixed else "sudo jetson_clocks",
            )
            return


# GPU software -------------------------------------------------------------------------------------
def _driver(place: Place) -> Iterator[Check]:
    text = read(place.root / "proc/driver/nvidia/version")
    if text:
        yield Check("NVIDIA driver", "ok", text.splitlines()[0][:100])
    elif place.board is not None:
        yield Check("NVIDIA driver", "note", "part of L4T")
    else:
        yield Check("NVIDIA driver", "note", "none", "networks run on the CPU")


def _cuda(place: Place) -> Iterator[Check]:
    wanted = place.board is not None or (place.root / "proc/driver/nvidia").exists()
    text = read(place.root / "usr/local/cuda/version.json")
    if text:
        try:
            version = json.loads(text)["cuda"]["version"]
        except (ValueError, KeyError, TypeError):
            version = "version unknown"
        yield Check("CUDA toolkit", "ok", version)
    else:
        yield Check(
            "CUDA toolkit",
            "warn" if wanted else "note",
            "none in /usr/local/cuda",
            "kernels come precompiled; without it newer GPUs may need NVRTC" if wanted else "",
            "sudo apt install nvidia-jetpack" if place.board else "",
        )


def _try_import(name: str) -> tuple[Any, str]:
    """The module, or None and why not."""
    try:
        return importlib.import_module(name), ""
    except ModuleNotFoundError as e:
        return None, "not installed" if e.name == name.split(".")[0] else str(e)
    except Exception as e:  # a broken package may raise anything
        return None, built_for_other_numpy(e, name) or f"does not import: {type(e).__name__}: {e}"


def _tensorrt(place: Place) -> Iterator[Check]:
    module, reason = _try_import("tensorrt")
    if module is not None:
        yield Check("TensorRT", "ok", getattr(module, "__version__", "version unknown"))
        return
    if place.board is not None:
        yield Check(
            "TensorRT",
            "fail",
            reason,
            "networks run on the CPU, many times slower",
            "sudo apt install python3-libnvinfer, and a virtual environment with --system-site-packages",
        )
    else:
        yield Check("TensorRT", "note", reason, "used on NVIDIA GPUs only", "pip install tensorrt")


def _tensorrt_rtx(place: Place) -> Iterator[Check]:
    gpu, without = None, ""
    try:
        gpu = find_gpu()
    except BackendUnavailable as e:
        without = str(e)
    if gpu is None and sys.modules.get("tensorrt_rtx", find_spec("tensorrt_rtx")) is not None:
        # not imported, as it takes 170 MB
        version = next(iter(package_versions(RTX_PACKAGES).values()), "version unknown")
        found = f"{version}: builds engines for GPUs, none here ({without})"
        yield Check("TensorRT for RTX", "note", found, "networks run on the CPU")
        return
    module, reason = _try_import("tensorrt_rtx")
    if module is not None and gpu is not None:
        try:
            check_gpu(Flavour("tensorrt_rtx", "TensorRT for RTX", module), gpu)
        except BackendUnavailable as e:
            yield Check("TensorRT for RTX", "note", str(e), "another engine serves")
            return
        version = getattr(module, "__version__", "version unknown")
        yield Check("TensorRT for RTX", "ok", f"{version} on {gpu.name}")
    elif place.board is None:
        fix = "with an RTX GPU: pip install tensorrt-rtx-cu13"
        yield Check("TensorRT for RTX", "note", reason, "used on RTX GPUs only", fix)


def _cuda_binding(place: Place) -> Iterator[Check]:
    """What calls the GPU's driver: needed by TensorRT and the kernels."""
    state: State = "fail" if place.board is not None else "note"
    try:
        driver = gpu_driver()
        name = next(name for name, module in BINDINGS.items() if module == driver.__name__)
        found = f"{name}: {driver.Device.count()} device(s)"
    except BackendUnavailable as e:
        fails = isinstance(e, DriverFails)
        fix = "reboot; check nvidia-smi" if fails else "pip install 'edgepose[gpu]'"
        yield Check("CUDA binding", state, str(e), "TensorRT and the kernels need it", fix)
        return
    yield Check("CUDA binding", "ok", found)


def _jetson_utils(place: Place) -> Iterator[Check]:
    module, reason = jetson_utils.find()
    if module is not None:
        yield Check("jetson-utils", "ok", "videoSource and videoOutput are there, its kernels run")
        return
    absent = reason == jetson_utils.ABSENT
    state: State = "warn" if absent or place.board is None else "fail"
    if absent and place.board is None:
        state = "note"
    yield Check(
        "jetson-utils",
        state,
        "not installed" if absent else reason,
        "cameras go through V4L2 and the CPU; csi:// needs it or GStreamer" if place.board else "",
        jetson_utils.PAGE if place.board or not absent else "",
    )


# CPU engines --------------------------------------------------------------------------------------
def _onnxruntime(place: Place) -> Iterator[Check]:
    module, reason = _try_import("onnxruntime")
    if module is None:
        yield Check("ONNX Runtime", "fail", reason, "the CPU engine", "pip install onnxruntime")
        return
    names = [p.removesuffix("ExecutionProvider") for p in module.get_available_providers()]
    yield Check("ONNX Runtime", "ok", f"{module.__version__}: {', '.join(names)}")


def _openvino(place: Place) -> Iterator[Check]:
    module, reason = _try_import("openvino")
    if module is None:
        yield Check(
            "OpenVINO",
            "note",
            reason,
            "faster on Intel and recent AMD; needed for .xml",
            "pip install 'edgepose[openvino]'",
        )
        return
    yield Check(
        "OpenVINO",
        "ok",
        f"{module.__version__.split('-')[0]}: {', '.join(module.Core().available_devices)}",
    )


def _rivals(place: Place) -> Iterator[Check]:
    for names in RIVALS:
        there = list(package_versions(names))
        if len(there) > 1:
            keep = there[0]
            yield Check(
                "packages",
                "warn",
                f"{' and '.join(there)} are both installed",
                "they overwrite each other's files: which one is imported is chance",
                f"pip uninstall -y {' '.join(there)} && pip install {keep}",
            )


# pictures and films -------------------------------------------------------------------------------
def _codecs(place: Place) -> Iterator[Check]:
    av, reason = _try_import("av")
    if av is None:
        yield Check("PyAV", "fail", reason, "films and streams", "pip install av")
        return
    have = [name for name in SOFTWARE_ENCODERS if name in av.codecs_available]
    state: State = "ok" if "libx264" in have else "warn"
    yield Check("encoders (software)", state, f"PyAV {av.__version__}: {', '.join(have)}")
    if place.board is not None:
        yield from _board_codecs(place)
    elif "h264_nvenc" in av.codecs_available and (place.root / "proc/driver/nvidia").exists():
        yield Check("encoders (hardware)", "ok", "h264_nvenc is built in and the driver is there")


def _board_codecs(place: Place) -> Iterator[Check]:
    """Hardware codecs of a Jetson are reached through jetson-utils and GStreamer."""
    assert place.board is not None
    nodes = ["nvhost-nvdec", "v4l2-nvdec", *(ENCODER_NODES if place.board.encoder else ())]
    there = [f"/dev/{name}" for name in nodes if (place.root / "dev" / name).exists()]
    gst = shutil.which("gst-inspect-1.0")
    if there and gst:
        yield Check("codecs (hardware)", "ok", ", ".join(there))
        return
    yield Check(
        "codecs (hardware)",
        "warn",
        ", ".join(there) or "no device nodes (/dev/v4l2-nvdec, /dev/nvhost-nvdec)",
        "films and streams go through the CPU" if not there else "no GStreamer tools to use them",
        "in a container: --runtime nvidia" if not there else "sudo apt install gstreamer1.0-tools",
    )


def _cameras(place: Place) -> Iterator[Check]:
    devices = sorted(place.root.glob("dev/video*"))
    if not devices:
        yield Check(
            "cameras", "note", "no /dev/video*", "plug one in; in a container: --device /dev/video0"
        )
        return
    closed = [d for d in devices if not os.access(d, os.R_OK | os.W_OK)]
    names = ", ".join(f"/dev/{d.name}" for d in devices)
    if closed:
        yield Check(
            "cameras",
            "fail",
            f"{names}: no permission",
            f"you are not in group {_group_of(closed[0])}",
            f"sudo usermod -aG {_group_of(closed[0])} $USER, and log in again",
        )
    else:
        yield Check("cameras", "ok", names)


def _group_of(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "video"


def _argus(place: Place) -> Iterator[Check]:
    if place.board is None:
        return
    if (place.root / "tmp/argus_socket").exists():
        yield Check("Argus (CSI cameras)", "ok", "/tmp/argus_socket")
    else:
        yield Check(
            "Argus (CSI cameras)",
            "note",
            "no /tmp/argus_socket",
            "csi:// does not work",
            "sudo systemctl restart nvargus-daemon; in a container: -v /tmp/argus_socket:/tmp/argus_socket",
        )


def _display(place: Place) -> Iterator[Check]:
    name = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if not name:
        yield Check("display", "note", "none", "no window opens; outputs and data work")
        return
    pygame, reason = _try_import("pygame")
    if pygame is None:
        yield Check(
            "display",
            "warn",
            f"{name}, pygame {reason}",
            "no window opens",
            "pip install 'edgepose[window]'",
        )
    else:
        yield Check("display", "ok", name)


# folders ------------------------------------------------------------------------------------------
def _folders(place: Place) -> Iterator[Check]:
    for name, folder, variable in (
        ("networks folder", paths.networks_home(), "EDGEPOSE_HOME"),
        ("cache folder", paths.cache(), "EDGEPOSE_CACHE"),
    ):
        yield _folder(name, folder, variable)


def _folder(name: str, folder: Path, variable: str) -> Check:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not os.access(there, os.W_OK):
        return Check(
            name,
            "fail",
            f"{folder} cannot be written",
            "networks or engines would be fetched or built again at every start",
            f"sudo chown -R $USER {there}, or set {variable}",
        )
    free = shutil.disk_usage(there).free
    if free < NEEDED_SPACE:
        return Check(
            name,
            "warn",
            f"{folder}: {free / 1e9:.1f} GB free",
            "may not hold engines",
            f"free space, or set {variable}",
        )
    return Check(name, "ok", f"{folder}: {free / 1e9:.0f} GB free")


def _memory(place: Place) -> Iterator[Check]:
    sizes = {
        line.split(":")[0]: int(line.split()[1]) * 1024
        for line in read(place.root / "proc/meminfo").splitlines()
        if ":" in line and line.split()[1].isdigit()
    }
    total, swap = sizes.get("MemTotal", 0), sizes.get("SwapTotal", 0)
    found = f"{total / 1e9:.1f} GB, swap {swap / 1e9:.1f} GB"
    if total and total + swap < 6e9:
        yield Check(
            "memory",
            "warn",
            found,
            "building an engine may run out of memory",
            "sudo fallocate -l 4G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile",
        )
    elif total:
        yield Check("memory", "ok", found)


# networks -----------------------------------------------------------------------------------------
def _networks(place: Place) -> Iterator[Check]:
    there = [m.name for m in registry.manifests() if registry.installed(m)]
    yield Check(
        "networks",
        "ok" if there else "warn",
        ", ".join(there) or "none installed",
        "" if there else "they are fetched at first use",
        "" if there else "edgepose download resnet18-body",
    )


def _model_servers(place: Place) -> Iterator[Check]:
    if not place.network:
        return
    hosts: dict[str, int] = {}
    for manifest in registry.manifests():
        for weights in manifest.weights.values():
            for download in weights.downloads:
                for url in download.urls:
                    parts = urlsplit(url)
                    hosts[parts.hostname or ""] = parts.port or 443
    reached = _reach_all(hosts)
    gone = [host for host, ok in reached.items() if not ok]
    if gone:
        yield Check(
            "servers of the networks",
            "warn",
            f"not reached: {', '.join(gone)}",
            "networks cannot be fetched from there",
            f"check proxy (https_proxy) and firewall, or carry a bundle: {DOCS}/download.md",
        )
    else:
        yield Check("servers of the networks", "ok", ", ".join(hosts))


def _reach_all(hosts: dict[str, int]) -> dict[str, bool]:
    """Which hosts answer within about a second, name look-up included."""
    reached = dict.fromkeys(hosts, False)

    def reach(host: str, port: int) -> None:
        reached[host] = _reaches(host, port)

    # daemon threads: a name server that hangs must not hold the program
    threads = [threading.Thread(target=reach, args=item, daemon=True) for item in hosts.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + REACH_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(reached)


def _reaches(host: str, port: int) -> bool:
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if proxy:
        parts = urlsplit(proxy)
        host, port = parts.hostname or host, parts.port or 3128
    try:
        with socket.create_connection((host, port), timeout=REACH_SECONDS):
            return True
    except OSError:
        return False


CHECKS: tuple[Callable[[Place], Iterable[Check]], ...] = (
    _edgepose,
    _virtual_environment,
    _board,
    _driver,
    _cuda,
    _tensorrt,
    _tensorrt_rtx,
    _cuda_binding,
    _jetson_utils,
    _onnxruntime,
    _openvino,
    _rivals,
    _codecs,
    _cameras,
    _argus,
    _display,
    _folders,
    _memory,
    _networks,
    _model_servers,
)
