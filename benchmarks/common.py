"""What the benchmarks share: where test material lies, the machine, and how results are stored."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def material() -> Path:
    """The folder of test material; ends the program with a reason where it is absent."""
    folder = Path(os.environ.get("EDGEPOSE_TEST_MATERIAL", ROOT.parent / "shared"))
    if not (folder / "networks").is_dir():
        sys.exit("This benchmark needs the test material (EDGEPOSE_TEST_MATERIAL).")
    return folder


def machine() -> dict[str, Any]:
    """Processor, cores, Python and the versions of the packages that matter."""
    names = ("edgepose", "numpy", "onnxruntime", "openvino", "av", "opencv-python-headless")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _shown(word: str) -> str:
    """A word of the command as others may type it: where a file lies on this machine is nobody's matter."""
    path = Path(word)
    if not path.is_absolute():
        return word
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else "PATH"


def store(name: str, figures: dict[str, Any], conditions: dict[str, Any]) -> None:
    """Print the figures and write them with the machine to benchmarks/results/NAME.json."""
    keep(RESULTS / f"{name}.json", figures, conditions)
    json.dump(figures, sys.stdout, indent=1)
    print()


def keep(file: Path, figures: dict[str, Any], conditions: dict[str, Any]) -> None:
    """Write figures with the machine to a file, which is named after the benchmark."""
    data = {
        "benchmark": file.stem,
        "command": " ".join(["python", *map(_shown, sys.argv)]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": conditions,
        "figures": figures,
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(data, indent=1) + "\n")
