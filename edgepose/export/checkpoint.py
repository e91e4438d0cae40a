"""Checkpoints into definitions: read without running anything, matched by name, every difference listed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import BackendUnavailable, NetworkFileError, built_for_other_numpy

# under which checkpoints hide the tensors, and what data-parallel training puts before their names
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
COUNTER = ".num_batches_tracked"
SHOWN = 6


@dataclass(frozen=True)
class Match:
    """How a checkpoint was matched.

    Attributes:
        loaded: tensors taken.
        unused: tensors of parts that the network does not use, left out or missing.
    """

    loaded: int
    unused: int


def torch_module() -> Any:
    """The torch package.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        import torch
    except Exception as e:  # a broken package may raise anything
        if why := built_for_other_numpy(e, "torch"):
            raise BackendUnavailable(f"{why}.") from None
        raise BackendUnavailable(
            f"edgepose export needs PyTorch, which cannot be loaded ({e}): run "
            "`pip install 'edgepose[export]'` (its CPU build is enough)."
        ) from None
    return torch


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors of a checkpoint by name, unwrapped; no code in the file is ever run.

    Raises:
        NetworkFileError: the file is missing, damaged, holds anything but tensors and plain values,
            or no tensors at all.
    """
    torch = torch_module()
    if not path.is_file():
        raise NetworkFileError(f"Checkpoint {path} does not exist.")
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        reason = str(e).split("\n")[0][:160]
        raise NetworkFileError(
            f"Checkpoint {path} is refused: it holds more than tensors and plain values, and edgepose "
            f"runs no code from a file ({reason}). Where you trust it, save it again with "
            "torch.save(model.state_dict(), FILE)."
        ) from None
    except Exception as e:  # torch raises RuntimeError, EOFError, KeyError, ... for damaged files
        reason = str(e).split("\n")[0][:160]
        raise NetworkFileError(
            f"Checkpoint {path} cannot be read as a PyTorch file: {type(e).__name__} {reason}."
        ) from None
    return unwrap(data, path)


def unwrap(data: Any, path: Path) -> dict[str, Any]:
    """The table of tensors inside {"model": ...}, {"state_dict": ...} and the like.

    Raises:
        NetworkFileError: there is none.
    """
    torch = torch_module()
    while isinstance(data, Mapping):
        tensors = {str(k): v for k, v in data.items() if isinstance(v, torch.Tensor)}
        inside = next((data[w] for w in WRAPPERS if isinstance(data.get(w), Mapping)), None)
        if inside is None or len(tensors) > 4:
            if tensors:
                return tensors
            break
        data = inside
    found = (
        f"keys {', '.join(map(str, list(data)[:5]))}"
        if isinstance(data, Mapping)
        else type(data).__name__
    )
    raise NetworkFileError(
        f"Checkpoint {path} holds no table of tensors: found {found}. It should be what "
        "torch.save(model.state_dict(), FILE) writes."
    )


def plain_name(name: str) -> str:
    """A tensor's name without what wrappers put before it."""
    while True:
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        if prefix is None:
            return name
        name = name.removeprefix(prefix)


def load_into(module: Any, tensors: Mapping[str, Any], unused: Sequence[str], where: str) -> Match:
    """Fill a definition with a checkpoint's tensors.

    Args:
        module: the definition.
        tensors: name -> tensor, as `read_checkpoint` gives them.
        unused: prefixes of parts that the network does not use; they may be missing or misshaped.
        where: names checkpoint and network in messages.

    Raises:
        NetworkFileError: tensors are missing, too many, of another shape or not finite; all are listed.
    """
    torch = torch_module()
    wanted = module.state_dict()
    names = {plain_name(name): name for name in wanted}
    given = {plain_name(name): tensor for name, tensor in tensors.items()}
    spare = tuple(unused)
    missing = [
        n for n in names if n not in given and not n.startswith(spare) and not n.endswith(COUNTER)
    ]
    extra = [n for n in given if n not in names and not n.startswith(spare)]
    common = [n for n in names if n in given]
    misshaped = [
        f"{n} {list(given[n].shape)} instead of {list(wanted[names[n]].shape)}"
        for n in common
        if given[n].shape != wanted[names[n]].shape and not n.startswith(spare)
    ]
    _complain(where, missing, extra, misshaped, len(names))
    fit = [n for n in common if given[n].shape == wanted[names[n]].shape]
    infinite = [n for n in fit if not bool(torch.isfinite(given[n].float()).all())]
    if infinite:
        raise NetworkFileError(f"{where}: {_some(infinite)} not finite: the file is damaged.")
    for n in fit:
        wanted[names[n]] = given[n].to(wanted[names[n]].dtype)
    module.load_state_dict(wanted)
    return Match(len(fit), len(names) - len(fit))


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _complain(
    where: str, missing: Sequence[str], extra: Sequence[str], misshaped: Sequence[str], size: int
) -> None:
    parts = [
        f"{len(names)} {what}: {_some(names)}"
        for what, names in (("missing", missing), ("unknown", extra), ("misshaped", misshaped))
        if names
    ]
    if not parts:
        return
    advice = "Is it the checkpoint of another network?"
    if misshaped and not missing and not extra:
        advice = "Other keypoints need --topology, another input --size."
    raise NetworkFileError(f"{where}: of {size} tensors " + "; ".join(parts) + f". {advice}")
