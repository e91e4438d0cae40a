"""Which outputs of a bottom-up network are its confidence maps and which its part affinity fields."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

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

    By the names in the manifest, else by the number of channels (NCHW or NHWC): all pairings are
    tried. Of a network with several stages, told by their names, the last is taken.

    Raises:
        NetworkFileError: no outputs fit the topology, or more than one pair does; says what was
            needed, what was found and which options decide.
    """
    keypoints = len(topology.keypoints)
    fields = int(topology.table[:, :2].max()) + 1 if len(topology.links) else 0
    cmaps = _candidates(manifest, outputs, "cmap", keypoints, (keypoints, keypoints + 1))
    if not fields:  # each keypoint is a pose of its own
        pairs = [(c, replace(c, first=0, count=0)) for c in cmaps]
    else:
        pafs = _candidates(manifest, outputs, "paf", fields, (fields,))
        # one tensor serves for both only where the manifest says so
        named = manifest.outputs.get("paf")
        joint = named is not None and named == manifest.outputs.get("cmap")
        sizes = {t.name: t.shape for t in outputs}
        pairs = [
            (c, p)
            for c, p in product(cmaps, pafs)
            if (joint or c.tensor != p.tensor) and _same_size(c, p, sizes)
        ]
    pairs = _last_stage(pairs) if len(pairs) > 1 else pairs
    if len(pairs) == 1:
        return pairs[0]
    found = ", ".join(f"{t.name} {list(t.shape)}" for t in outputs) or "no outputs"
    if pairs:
        raise NetworkFileError(
            f"Network {manifest.name!r}: more than one pair of its outputs could be confidence maps "
            f"and PAFs ({found}). Say which with --output-cmap NAME and --output-paf NAME."
        )
    raise NetworkFileError(
        f"Network {manifest.name!r} does not fit its topology: {keypoints} keypoints and "
        f"{len(topology.links)} links need outputs with {keypoints} (or {keypoints + 1}) and "
        f"{fields} channels; found {found}. Check --topology, --output-cmap and --output-paf; a "
        "network of another family (YOLO-pose, RTMO, top-down) needs a manifest, see --network."
    )


def _candidates(
    manifest: Manifest,
    outputs: Sequence[TensorSpec],
    role: str,
    needed: int,
    counts: tuple[int, ...],
) -> list[Binding]:
    """Where the channels of one role may be; `counts` are the numbers of channels its tensor may have."""
    given = manifest.decoder.get(f"{role}_channels")
    first = int(given[0]) if given else 0
    named = [t for t in outputs if t.name == manifest.outputs.get(role)]
    found = []
    for tensor in named or outputs:
        for axis in (1, 3) if len(tensor.shape) == 4 else ():
            size = tensor.shape[axis]
            fits = size >= first + needed if given and named else size in counts
            if fits or (named and size < 0 and tensor.shape[4 - axis] < 0):
                found.append(Binding(tensor.name, first, needed, axis == 3))
    return found


def _same_size(a: Binding, b: Binding, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Maps have their channels at the same place and the same height and width, as far as known."""
    if a.channels_last != b.channels_last:
        return False
    at = slice(1, 3) if a.channels_last else slice(2, 4)
    sizes = zip(shapes[a.tensor][at], shapes[b.tensor][at], strict=True)
    return all(m < 0 or n < 0 or m == n for m, n in sizes)


def _last_stage(pairs: list[tuple[Binding, Binding]]) -> list[tuple[Binding, Binding]]:
    """The pairs of the last stage; of the same tensors the reading with the channels first."""
    first = {(c.tensor, p.tensor): (c, p) for c, p in reversed(pairs)}
    pairs = list(first.values())
    stages = [[_stage(b.tensor) for b in pair] for pair in pairs]
    if any(None in pair for pair in stages):
        return pairs
    last = max(max(s for s in pair if s is not None) for pair in stages)
    return [p for p, stage in zip(pairs, stages, strict=True) if set(stage) == {last}]


def _stage(tensor: str) -> int | None:
    """The number behind the word "stage" in a tensor's name."""
    found = re.search(r"stage\D?(\d{1,3})", tensor, re.IGNORECASE)
    return int(found[1]) if found else None
