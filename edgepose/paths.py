"""Where files live: shipped data, installed networks, caches.

`EDGEPOSE_HOME` and `EDGEPOSE_CACHE` override the platform's folders, so that a container or a
repository checkout can mount both. And which paths of strangers may be followed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

MOST_FOLDERS, MOST_PATH = 32, 1000  # of a path in an archive; bytes
PACKAGE = Path(__file__).resolve().parent
# kind -> below the home folder: on Linux (where XDG_<KIND>_HOME does not say another) and on macOS
USER_FOLDERS = {
    "data": (".local/share", "Library/Application Support"),
    "config": (".config", "Library/Application Support"),
    "cache": (".cache", "Library/Caches"),
}


def user_folder(
    kind: str, platform: str = sys.platform, environment: Mapping[str, str] | None = None
) -> Path:
    """The user's folder of edgepose, where the system wants it; see the XDG Base Directory Specification.

    Args:
        kind: of `USER_FOLDERS`. platform: as `sys.platform`. environment: default `os.environ`.
    """
    known = os.environ if environment is None else environment
    home = Path(known.get("HOME") or os.path.expanduser("~"))
    if platform == "win32":
        local = Path(known.get("LOCALAPPDATA") or home / "AppData" / "Local") / "edgepose"
        return local / "Cache" if kind == "cache" else local
    given = known.get(f"XDG_{kind.upper()}_HOME", "")
    if os.path.isabs(given):  # the specification ignores others
        return Path(given) / "edgepose"
    return home / USER_FOLDERS[kind][platform == "darwin"] / "edgepose"


def data_networks() -> Path:
    """The shipped manifests and topologies: inside an installed wheel, else beside the package."""
    inside = PACKAGE / "data" / "networks"
    return inside if inside.is_dir() else PACKAGE.parent / "data" / "networks"


def home() -> Path:
    """Folder of installed networks and state (`EDGEPOSE_HOME`, else the user's data folder)."""
    given = os.environ.get("EDGEPOSE_HOME")
    if given:
        return Path(given).expanduser()
    return user_folder("data")


def networks_home() -> Path:
    """Folder with one sub-folder for each installed network."""
    return home() / "networks"


def cache() -> Path:
    """Folder of engines, kernels and partial downloads (`EDGEPOSE_CACHE`, else the cache folder)."""
    given = os.environ.get("EDGEPOSE_CACHE")
    if given:
        return Path(given).expanduser()
    return user_folder("cache")


def engines_cache() -> Path:
    """Folder of TensorRT plans and their sidecars."""
    return cache() / "engines"


def kernels_cache() -> Path:
    """Folder of compiled CUDA kernels."""
    return cache() / "kernels"


def is_safe_path(name: str) -> bool:
    """True for a relative path that stays below its folder and that every file system takes."""
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":"
    if leaves or not name.isprintable() or not path.parts or len(path.parts) > MOST_FOLDERS:
        return False
    return len(name.encode()) <= MOST_PATH and max(len(p.encode()) for p in path.parts) <= 200
