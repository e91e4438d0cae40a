"""Which outputs of a bottom-up network are its confidence maps and which its part affinity fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import NetworkFileError
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import Topology
from edgepose.types import TensorSpec

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Binding:
    """Where the maps are: tensor name, first channel, number of channels, channels last."""

    tensor: str
    first: int
    count: int
    channels_last: bool

    def take(self, outputs: dict[str, Maps], item: int) -> Maps:
        """(channels, H, W) of one item of the batch."""
        maps = outputs[self.tensor][item]
        if self.channels_last:
            maps = maps.transpose(2, 0, 1)
        return np.ascontiguousarray(maps[self.first : self.first + self.count], np.float32)


def bind_outputs(
    manifest: Manifest, topology: Topology, outputs: Sequence[TensorSpec]
) -> tuple[Binding, Binding]:
    """Which tensor and channels are the confidence maps and which the PAFs.

    By the names in the manifest, else by the number of channels (NCHW or NHWC).

    Raises:
        NetworkFileError: no outputs fit the topology; says what was needed and what was found.
    """
    keypoints = len(topology.keypoints)
    fields = int(topology.table[:, :2].max()) + 1 if len(topology.links) else 0
    cmap = _bind(manifest, outputs, "cmap", keypoints, (keypoints, keypoints + 1))
    # one tensor serves for both only where the manifest says so
    joint = manifest.outputs.get("paf") == manifest.outputs.get("cmap")
    others = outputs if joint else [t for t in outputs if cmap is None or t.name != cmap.tensor]
    paf = _bind(manifest, others, "paf", fields, (fields,))
    if cmap is None or paf is None:
        found = ", ".join(f"{t.name} {list(t.shape)}" for t in outputs) or "no outputs"
        raise NetworkFileError(
            f"Network {manifest.name!r} does not fit its topology: {keypoints} keypoints and "
            f"{len(topology.links)} links need outputs with {keypoints} (or {keypoints + 1}) and "
            f"{fields} channels; found {found}. Check --topology, --output-cmap and --output-paf."
        )
    return cmap, paf


def _bind(
    manifest: Manifest,
    outputs: Sequence[TensorSpec],
    role: str,
    needed: int,
    counts: tuple[int, ...],
) -> Binding | None:
    """The channels of one role; `counts` are the whole numbers of channels its tensor may have."""
    given = manifest.decoder.get(f"{role}_channels")
    first = int(given[0]) if given else 0
    named = [t for t in outputs if t.name == manifest.outputs.get(role)]
    for tensor in named or outputs:
        if len(tensor.shape) != 4:
            continue
        for axis in (1, 3):
            size = tensor.shape[axis]
            fits = size >= first + needed if given and named else size in counts
            if fits or (named and size < 0 and tensor.shape[4 - axis] < 0):
                return Binding(tensor.name, first, needed, axis == 3)
    return None
