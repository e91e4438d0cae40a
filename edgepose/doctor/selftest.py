"""`edgepose doctor --self-test`: does what is installed here compute what it should?

Kernels against their numpy twins, every engine against ONNX Runtime, memory over many frames. The
report is JSON to attach to a bug; the user's home folder and the machine's name are not in it.
"""

from __future__ import annotations

import json
import platform
import socket
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgepose.cuda.context import context
from edgepose.doctor import proof_engines, proof_kernels
from edgepose.doctor.checks import Check
from edgepose.doctor.proof import Proof, attempt
from edgepose.doctor.proof_engines import drawn
from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.errors import BackendUnavailable
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.table import make_estimator
from edgepose.io import jetson_utils
from edgepose.machine import package_versions, resident_mb
from edgepose.networks.resolve import Network
from edgepose.timing import Stopwatch
from edgepose.version import __version__

PACKAGES = (
    "numpy onnxruntime onnxruntime-gpu openvino tensorrt tensorrt-rtx-cu13 pycuda cuda-bindings av "
    "opencv-python-headless opencv-python onnx"
).split()
FRAMES = 1000
QUICK_FRAMES = 200
PICTURES = 4  # drawn pictures that engines are compared on
# Resident memory moves by about 1 MB by itself; a leak of 4 kB a frame shows in 1,000 frames.
GROWTH_MB = 4.0
GPU_GROWTH_MB = 16.0  # other programs use the GPU too


def run_proofs(*, frames: int = FRAMES) -> Iterator[Proof]:
    """All proofs, one after the other, as they are made.

    Args:
        frames: for the memory test.
    """
    yield from proof_kernels.prove()
    network = proof_engines.NETWORK
    pictures = proof_engines.drawn(PICTURES)
    yield from proof_engines.prove(network, pictures)
    yield attempt("memory", lambda: _memory(network, frames))
    yield _jetson_utils()


# memory -------------------------------------------------------------------------------------------
def _memory(network: Network, frames: int) -> Proof:
    """Poses and overlay of many frames with the engine that `auto` takes."""
    if resident_mb() == 0:
        return Proof("memory", "absent", "this system does not tell a process's memory")
    pictures = drawn(8, (320, 240))
    estimator = make_estimator(network, EstimatorOptions())
    host, gpu = [], []
    try:
        overlay = Overlay(estimator.topology, parse_overlay("links,keypoints,boxes"))
        for number in range(frames):
            frame = pictures[number % len(pictures)]
            poses = estimator.estimate([frame], Stopwatch())[0]
            overlay.draw(frame.pixels.copy(), poses)
            host.append(resident_mb())
            if number % 20 == 0:
                gpu.append(gpu_mb())
        name = estimator.engine_name
    finally:
        estimator.close()
    figures = {"frames": float(frames), "growth_mb": growth(host), "resident_mb": host[-1]}
    inside = figures["growth_mb"] <= GROWTH_MB
    found = f"{name}: {figures['growth_mb']:+.2f} MB over {frames} frames, {host[-1]:.0f} MB in use"
    bound = f"at most {GROWTH_MB:g} MB"
    known = [value for value in gpu if value is not None]
    if known:
        figures["gpu_growth_mb"] = growth(known)
        inside = inside and figures["gpu_growth_mb"] <= GPU_GROWTH_MB
        found += f"; GPU {figures['gpu_growth_mb']:+.1f} MB"
        bound += f", GPU {GPU_GROWTH_MB:g} MB"
    return Proof("memory", "ok" if inside else "fail", found, bound, figures)


def growth(values: Sequence[float]) -> float:
    """Median of the last tenth less the median of the tenth that follows a warm-up of a fifth."""
    tenth = max(1, len(values) // 10)
    warm = min(len(values) // 5, len(values) - tenth)
    first = statistics.median(values[warm : warm + tenth])
    return statistics.median(values[-tenth:]) - first


def gpu_mb() -> float | None:
    """GPU memory in use in MB, None where there is no GPU (or no binding)."""
    try:
        gpu = context()
        with gpu.active():
            free, total = gpu.driver.mem_get_info()
    except (BackendUnavailable, AttributeError):
        return None
    return float(total - free) / 1e6


def _jetson_utils() -> Proof:
    """Whether cameras and streams go through jetson-utils."""
    module, reason = jetson_utils.find()
    if module is None:
        return Proof("jetson-utils adapter", "absent", reason)
    wanted = ("videoSource", "videoOutput", "cudaToNumpy", "cudaDeviceSynchronize")
    missing = [name for name in wanted if not hasattr(module, name)]
    found = f"lacks {', '.join(missing)}" if missing else "all that is used of it is there"
    return Proof("jetson-utils adapter", "fail" if missing else "ok", found, ", ".join(wanted))


# the report ---------------------------------------------------------------------------------------
def report(checks: Sequence[Check], proofs: Sequence[Proof]) -> dict[str, Any]:
    """Everything that a bug report needs."""
    states = [p.state for p in proofs]
    return {
        "edgepose": __version__,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": package_versions(PACKAGES),
        "summary": {state: states.count(state) for state in ("ok", "fail", "absent")},
        "self_test": [p.as_dict() for p in proofs],
        "checks": [c.as_dict() for c in checks],
    }


def text_of(data: dict[str, Any]) -> str:
    """The report as JSON, without the name of the machine and the user's folder."""
    text = json.dumps(data, indent=1, ensure_ascii=False, default=str)
    for private, public in ((str(Path.home()), "~"), (socket.gethostname(), "this machine")):
        if len(private) > 2:
            text = text.replace(private, public)
    return text + "\n"
