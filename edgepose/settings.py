"""Defaults of command line options from the environment and from configuration files.

Order: flag, then environment, then ./edgepose.toml, then the user's file, then the built-in default. A
file has one table a command, with the options' names:

    [posenet]
    network = "resnet18-hand"
    threshold = 0.2

In the environment the same is EDGEPOSE_NETWORK=resnet18-hand (for posenet) or, for every command,
EDGEPOSE_<COMMAND>_<OPTION>. Options that may be given several times take a list in a file, and one value a
line in the environment.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import UnknownNameError, UsageError, nearest
from edgepose.options import Field
from edgepose.paths import user_folder

log = logging.getLogger(__name__)
PREFIX = "EDGEPOSE_"
# variables with a meaning of their own
RESERVED = frozenset(
    "HOME CACHE TOKEN DEBUG CONFIG MIRROR OFFLINE EVENTS STUN NVRTC PURE PLAIN VIDEO TIMEOUT TRIES "
    "RETRY_DELAY TEST_MATERIAL ROOT DATA FLEET FLEET_POSES FLEET_STORE POSES_KEY WEBHOOK_SECRET".split()
)


@dataclass(frozen=True)
class Setting:
    """The value of one option and where it came from."""

    command: str
    name: str
    value: Any
    origin: str


def files() -> list[Path]:
    """Configuration files that exist, strongest first; EDGEPOSE_CONFIG names the only one."""
    given = os.environ.get(PREFIX + "CONFIG")
    if given:
        return [Path(given).expanduser()]
    user = user_folder("config") / "edgepose.toml"
    return [p for p in (Path("edgepose.toml"), user) if p.is_file()]


def are_there() -> bool:
    """Whether a file or a variable may set an option: a look before all options are loaded."""
    named = (v.removeprefix(PREFIX) for v in os.environ if v.startswith(PREFIX))
    return bool(files()) or not RESERVED.issuperset(named)


def read_file(path: Path) -> dict[str, dict[str, Any]]:
    """Tables of a configuration file.

    Raises:
        UsageError: it cannot be read, is no TOML, or holds something else than tables of options.
    """
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, dict[str, Any]] = toml.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise UsageError(f"Configuration {path} is nested too deep.") from None
    except (OSError, ValueError) as e:
        raise UsageError(f"Configuration {path} cannot be used: {e}.") from None
    for command, table in data.items():
        if not isinstance(table, dict):
            raise UsageError(
                f"Configuration {path}: {command!r} stands outside a table; write it below [posenet]."
            )
    return data


def load(
    options: Mapping[str, Iterable[str]], environment: Mapping[str, str] | None = None
) -> list[Setting]:
    """Every option that the environment or a file sets; the strongest origin only.

    Args:
        options: option names (with underscores) by command.
        environment: default `os.environ`.

    Raises:
        UsageError: a file cannot be used, or names an option that does not exist.
    """
    known = {command: set(names) for command, names in options.items()}
    found: dict[tuple[str, str], Setting] = {}
    for setting in [*_from_environment(known, environment or os.environ), *_from_files(known)]:
        found.setdefault((setting.command, setting.name), setting)
    return list(found.values())


def _from_environment(
    known: Mapping[str, set[str]], environment: Mapping[str, str]
) -> list[Setting]:
    found: list[Setting] = []
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable.removeprefix(PREFIX) in RESERVED:
            continue
        name = variable.removeprefix(PREFIX).lower()
        used = len(found)
        for command, names in known.items():
            own = name.removeprefix(f"{command.replace('-', '_')}_")
            if own in names and (own != name or command == "posenet"):
                found.append(Setting(command, own, value, variable))
        if len(found) == used:
            near = nearest(name.upper(), (*_variables(known), *RESERVED))
            advice = f" Did you mean {PREFIX}{near}?" if near else ""
            log.warning("%s is set, and edgepose has no such variable.%s", variable, advice)
    return found


def _variables(known: Mapping[str, set[str]]) -> list[str]:
    """The names of all variables that set an option, without the prefix."""
    words = [f"{c.replace('-', '_')}_{n}" for c, names in known.items() for n in sorted(names)]
    return [w.upper() for w in (*sorted(known.get("posenet", ())), *words)]


def _from_files(known: Mapping[str, set[str]]) -> list[Setting]:
    found = []
    for path in files():
        for command, table in read_file(path).items():
            if command not in known:
                continue  # another command's table
            for key, value in table.items():
                name = key.replace("-", "_")
                if name not in known[command]:
                    raise UnknownNameError(
                        f"option of {command} in {path}", key, sorted(known[command])
                    )
                found.append(Setting(command, name, value, str(path)))
    return found


def as_typed(setting: Setting, field: Field) -> Any:
    """A setting as the command line would give it: words, or a list of them for several values."""
    value = setting.value
    if field.switch:
        return value
    if not field.many:
        return str(value)
    if isinstance(value, str):
        return [line for line in value.splitlines() if line.strip()]
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]
