"""The lock file: digests of files for which nobody published one, from their first download on.

Plain text, one file a line: sha256, bytes, date, address and `<network>/<variant>/<file>`, separated by
tabs; lines with # are remarks. `tools/download_models.sh` reads and writes it too.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import DownloadError, NetworkFileError
from edgepose.files import write_atomically
from edgepose.networks.locks import exclusive
from edgepose.networks.manifest import Download
from edgepose.networks.variant import Variant
from edgepose.paths import networks_home

HEAD = "# sha256, bytes, date, address and name of each file without a published checksum\n"


@dataclass(frozen=True)
class Pin:
    """What is remembered of a file."""

    sha256: str
    bytes: int
    date: str
    origin: str


def pins_file() -> Path:
    """Where the digests are kept."""
    return networks_home() / "lock.tsv"


def read_pins() -> dict[str, Pin]:
    """Pinned files by `<network>/<variant>/<file>`.

    Raises:
        NetworkFileError: the lock file is damaged; it is never passed over in silence.
    """
    path = pins_file()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as e:
        raise _damaged(path, str(e)) from None
    pins = {}
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 5 or not re.fullmatch(r"[0-9a-f]{64}", fields[0]):
            raise _damaged(path, f"line {number} is {line[:40]!r}")
        digest, size, date, origin, key = fields
        pins[key] = Pin(
            digest,
            int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0,
            date,
            origin,
        )
    return pins


def _damaged(path: Path, found: str) -> NetworkFileError:
    return NetworkFileError(
        f"Lock file {path} is damaged ({found}): repair it, or delete it to trust the next "
        "downloads anew."
    )


def pin_key(variant: Variant, wanted: Download) -> str:
    """How a file of a variant is named in the lock file, and below a mirror."""
    return f"{variant.manifest.name}/{variant.name}/{wanted.file}"


def pinned(key: str) -> str:
    """The pinned sha256 of a file, "" where there is none.

    Raises:
        NetworkFileError: as `read_pins`.
    """
    pin = read_pins().get(key)
    return pin.sha256 if pin else ""


def pin(key: str, sha256: str, size: int, origin: str) -> None:
    """Remember the digest of a file.

    Raises:
        NetworkFileError: as `read_pins`.
        DownloadError: the folder cannot be written.
    """
    with exclusive(pins_file()):
        pins = read_pins()
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        pins[key] = Pin(sha256, size, date, re.sub(r"\s", "%20", origin))
        rows = (
            f"{p.sha256}\t{p.bytes}\t{p.date}\t{p.origin}\t{k}\n" for k, p in sorted(pins.items())
        )
        try:
            write_atomically(pins_file(), HEAD + "".join(rows))
        except OSError as e:
            raise DownloadError(
                f"Lock file {pins_file()} cannot be written: {e.strerror or e}."
            ) from None
