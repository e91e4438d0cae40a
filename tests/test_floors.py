"""The floors of the house: a module imports only from floors below its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgepose"

# first component below edgepose -> floor; see docs/architecture.md
FLOORS = {
    "closing": 0,
    "errors": 0,
    "flags": 0,
    "options": 0,
    "settings": 0,
    "types": 0,
    "geometry": 0,
    "paths": 0,
    "timing": 0,
    "matching": 0,
    "files": 0,
    "machine": 0,
    "json_file": 0,
    "version": 0,
    "networks": 1,
    "cuda": 1,
    "io": 2,
    "preprocess": 2,
    "engines": 2,
    "decode": 2,
    "track": 2,
    "draw": 2,
    "events": 2,
    "batching": 2,
    "estimators": 3,
    "calibration": 3,
    "pipeline": 3,
    "jetson_inference": 3,
    "jetson_pictures": 3,
    "posenet": 3,
    "wanted": 3,
    "serve": 4,
    "eval": 4,
    "export": 4,
    "batch": 4,
    "bench": 4,
    "doctor": 4,
    "cli": 5,
    "__main__": 6,
    "__init__": 6,
}
SIBLINGS = (0, 3)  # floors whose modules may use each other
HEAVY = (
    "onnxruntime",
    "openvino",
    "av",
    "cv2",
    "tensorrt",
    "pycuda",
    "starlette",
    "torch",
    "pyarrow",
    "ray",
)


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names below `edgepose` that a file imports, in functions too; not under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgepose."):
            found.add((node.module or "").removeprefix("edgepose."))
        elif isinstance(node, ast.ImportFrom) and node.module == "edgepose":
            found |= {a.name for a in node.names if a.name in FLOORS}
        elif isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("edgepose.")
                for a in node.names
                if a.name.startswith("edgepose.")
            }
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    home = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert home in FLOORS, f"{home} has no floor: put it into the table and the design"
    for name in imports(path):
        target = name.split(".")[0]
        floor = FLOORS[home]
        allowed = target == home or (floor in SIBLINGS and FLOORS[target] == floor)
        assert allowed or FLOORS[target] < floor, f"{path.name} (floor {floor}) imports {name}"


def test_importing_edgepose_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgepose, edgepose.cli.main; edgepose.cli.main.make_app();"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names_exist_and_unknown_ones_do_not() -> None:
    import edgepose

    for name in edgepose.__all__:
        assert getattr(edgepose, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'poseNett'"):
        _ = edgepose.poseNett
