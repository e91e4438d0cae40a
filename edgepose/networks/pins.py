"""The lock file: digests of files for which nobody published one, from their first download on."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from edgepose.errors import NetworkFileError
from edgepose.networks.locks import exclusive
from edgepose.networks.topology import read_json
from edgepose.paths import networks_home


def pins_file() -> Path:
    """Where the digests are kept."""
    return networks_home() / "lock.json"


def read_pins() -> dict[str, dict[str, Any]]:
    """Pinned files, `<network>/<variant>/<file>` to {sha256, bytes, url, date}.

    Raises:
        NetworkFileError: the lock file is damaged; it is never passed over in silence.
    """
    path = pins_file()
    if not path.exists():
        return {}
    data = read_json(path, "Lock file")
    files = data.get("files") if isinstance(data, dict) else None
    if not isinstance(files, dict) or not all(_valid(v) for v in files.values()):
        raise NetworkFileError(
            f"Lock file {path} is damaged: repair it, or delete it to trust the next downloads anew."
        )
    return files


def _valid(entry: Any) -> bool:
    digest = entry.get("sha256") if isinstance(entry, dict) else None
    return isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) is not None


def pinned(key: str) -> str:
    """The pinned sha256 of a file, "" where there is none.

    Raises:
        NetworkFileError: as `read_pins`.
    """
    return str(read_pins().get(key, {}).get("sha256", ""))


def pin(key: str, sha256: str, size: int, url: str) -> None:
    """Remember the digest of a file.

    Raises:
        NetworkFileError: as `read_pins`.
        DownloadError: the folder cannot be written.
    """
    with exclusive(pins_file()):
        files = read_pins()
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        files[key] = {"sha256": sha256, "bytes": size, "url": url, "date": date}
        write_json(pins_file(), {"version": 1, "files": dict(sorted(files.items()))})


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
