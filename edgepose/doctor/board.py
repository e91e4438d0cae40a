"""Which Jetson this is: model, L4T and JetPack release, power mode, hardware encoder.

Reads the files that NVIDIA's documentation names: /etc/nv_tegra_release, /proc/device-tree/model,
/etc/nvpmodel.conf and /var/lib/nvpmodel/status. Every function takes the root folder, so that captured
files of other boards can be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# (L4T major, minor, patch) from which on -> JetPack; newest first
JETPACK = (
    ((39, 2, 0), "7.2"),
    ((38, 4, 0), "7.1"),
    ((38, 2, 0), "7.0"),
    ((36, 4, 4), "6.2.1"),
    ((36, 4, 3), "6.2"),
    ((36, 4, 0), "6.1"),
    ((36, 3, 0), "6.0"),
    ((36, 2, 0), "6.0 DP"),
    ((35, 1, 0), "5"),
    ((34, 1, 0), "5.0 DP"),
    ((32, 4, 0), "4"),
)
# boards whose system on a chip has no hardware video encoder
WITHOUT_ENCODER = ("orin nano",)


@dataclass(frozen=True)
class Board:
    """A Jetson.

    Attributes:
        model: as the device tree says.
        l4t: (major, minor, patch), or None where the release file is missing (a container).
        jetpack: release by name, "" where unknown.
        encoder: has a hardware video encoder.
        power_mode: current nvpmodel mode by name, "" where unknown.
        power_modes: all modes by number.
    """

    model: str
    l4t: tuple[int, int, int] | None
    jetpack: str
    encoder: bool
    power_mode: str = ""
    power_modes: tuple[tuple[int, str], ...] = ()

    @property
    def supported(self) -> bool:
        """JetPack 6 or later (Python 3.10 or later)."""
        return self.l4t is None or self.l4t[0] >= 36


def read(path: Path) -> str:
    """Text of a file, "" where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def parse_l4t(text: str) -> tuple[int, int, int] | None:
    """(36, 4, 3) of "# R36 (release), REVISION: 4.3, GCID: ...", None where it is no such line."""
    match = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*(\d+)(?:\.(\d+))?", text)
    if not match:
        return None
    return int(match[1]), int(match[2]), int(match[3] or 0)


def jetpack_of(l4t: tuple[int, int, int] | None) -> str:
    """JetPack release of an L4T release, "" where unknown."""
    if l4t is None:
        return ""
    return next((name for start, name in JETPACK if l4t >= start), "")


def parse_power_modes(text: str) -> tuple[tuple[int, str], ...]:
    """Numbers and names of the modes in nvpmodel.conf (`< POWER_MODEL ID=0 NAME=MAXN >`)."""
    found = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)\s*>", text)
    return tuple((int(number), name) for number, name in found)


def parse_power_status(text: str) -> int | None:
    """Number of the mode in /var/lib/nvpmodel/status (`pmode:0002 ...`)."""
    match = re.search(r"pmode:\s*0*(\d+)", text)
    return int(match[1]) if match else None


def detect(root: Path = Path("/")) -> Board | None:
    """The Jetson this is, None on other machines."""
    model = read(root / "proc/device-tree/model")
    release = read(root / "etc/nv_tegra_release")
    if "jetson" not in model.lower() and not release:
        return None
    l4t = parse_l4t(release)
    modes = parse_power_modes(read(root / "etc/nvpmodel.conf"))
    current = parse_power_status(read(root / "var/lib/nvpmodel/status"))
    return Board(
        model=model or "Jetson (model unknown)",
        l4t=l4t,
        jetpack=jetpack_of(l4t),
        encoder=not any(name in model.lower() for name in WITHOUT_ENCODER),
        power_mode=dict(modes).get(current, "") if current is not None else "",
        power_modes=modes,
    )
