"""The heads of top-down networks: which tensors they answer, and the points these mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgepose.decode.hand import decode_landmarks
from edgepose.decode.heatmap import Refine, decode_heatmaps
from edgepose.decode.simcc import Points, Score, decode_simcc
from edgepose.decode.unit import to_pixels
from edgepose.engines.base import Outputs
from edgepose.errors import EngineError, NetworkFileError, UnknownNameError
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.networks.topology import Topology
from edgepose.types import TensorSpec


class Head(Protocol):
    """Answers of N crops to points in pixels of the crop."""

    def decode(self, outputs: Outputs) -> Points:
        """Points (N, K, 2) and raw scores (N, K)."""
        ...


def _missing(manifest: Manifest, expected: str, tensors: Sequence[TensorSpec]) -> NetworkFileError:
    found = ", ".join(f"{t.name} {list(t.shape)}" for t in tensors) or "no outputs"
    return NetworkFileError(
        f"Network {manifest.name!r} has not the head of its manifest: expected {expected}, found "
        f"{found}. Is --model the right file for --network {manifest.name}?"
    )


def _role(
    manifest: Manifest,
    tensors: Sequence[TensorSpec],
    role: str,
    fits: Callable[[TensorSpec], bool],
) -> str:
    """Name of the tensor in a role: the manifest's where it exists and fits, else the only that fits."""
    named = [t for t in tensors if t.name == manifest.outputs.get(role)]
    able = [t for t in named or tensors if fits(t)]
    return able[0].name if len(able) == 1 else ""


def _is(size: int, wanted: int) -> bool:
    return size in (wanted, -1)


def _answered(outputs: Outputs, name: str, expected: str, as_expected: bool) -> None:
    """Dimensions that the file leaves open show themselves in the answer only.

    Raises:
        EngineError: they are others than the manifest says.
    """
    if not as_expected:
        raise EngineError(
            f"The network's output {name!r} is {list(outputs[name].shape)}: expected {expected}. Correct "
            "'decoder', 'input' or 'topology' in its manifest."
        )


@dataclass(frozen=True)
class HeatmapHead:
    """(N, K, H, W) maps, or K + 1 with the background last."""

    tensor: str
    keypoints: int
    size: tuple[int, int]
    refine: Refine = "quarter"
    kernel: int = 11
    udp: bool = False
    centred: bool = False

    @classmethod
    def bind(
        cls, manifest: Manifest, spec: InputSpec, k: int, tensors: Sequence[TensorSpec]
    ) -> HeatmapHead:
        """Find the tensor among those of an engine."""

        def fits(t: TensorSpec) -> bool:
            return len(t.shape) == 4 and t.shape[1] in (k, k + 1, -1)

        name = _role(manifest, tensors, "heatmap", fits)
        if not name:
            raise _missing(manifest, f"(batch, {k}, height, width) heatmaps", tensors)
        d = manifest.decoder
        return cls(
            name,
            k,
            (spec.width, spec.height),
            d.get("refine", "quarter"),
            int(d.get("kernel", 11)),
            bool(d.get("udp", False)),
            bool(d.get("centred", False)),
        )

    def decode(self, outputs: Outputs) -> Points:
        """Points and scores; see `Head`."""
        maps = outputs[self.tensor]
        k = self.keypoints
        _answered(outputs, self.tensor, f"{k} or {k + 1} maps", maps.shape[1] in (k, k + 1))
        return decode_heatmaps(
            maps[:, :k],
            self.size,
            method=self.refine,
            kernel=self.kernel,
            udp=self.udp,
            centred=self.centred,
        )

    def merge_flipped(self, plain: Outputs, flipped: Outputs, pairs: Sequence[int]) -> Outputs:
        """The mean of the answers to the crops and to their mirror images, mirrored back."""
        maps = plain[self.tensor][:, : self.keypoints]
        mirror = flipped[self.tensor][:, list(pairs), :, ::-1]
        if not (self.udp or self.centred):
            # cell 0 is pixel 0, so the mirror image of the maps lies one cell off (HRNet)
            mirror = np.concatenate([mirror[..., :1], mirror[..., :-1]], axis=-1)
        return {self.tensor: (maps + mirror) * np.float32(0.5)}


@dataclass(frozen=True)
class SimccHead:
    """Two vectors of bins a keypoint."""

    x: str
    y: str
    size: tuple[int, int]
    bins: float = 2.0
    score: Score = "mean"

    @classmethod
    def bind(
        cls, manifest: Manifest, spec: InputSpec, k: int, tensors: Sequence[TensorSpec]
    ) -> SimccHead:
        """Find the tensors among those of an engine."""
        d = manifest.decoder
        bins = float(d.get("split", 2.0))

        def fits(pixels: int) -> Callable[[TensorSpec], bool]:
            wanted = round(pixels * bins)
            return lambda t: len(t.shape) == 3 and _is(t.shape[1], k) and _is(t.shape[2], wanted)

        x = _role(manifest, tensors, "simcc_x", fits(spec.width))
        y = _role(manifest, tensors, "simcc_y", fits(spec.height))
        if not x or not y or x == y:
            sizes = f"{round(spec.width * bins)} and {round(spec.height * bins)}"
            raise _missing(manifest, f"two (batch, {k}, bins) with {sizes} bins", tensors)
        score: Score = "softmax" if d.get("softmax") else d.get("score_of", "mean")
        return cls(x, y, (spec.width, spec.height), bins, score)

    def decode(self, outputs: Outputs) -> Points:
        """Points and scores; see `Head`."""
        for name, pixels in zip((self.x, self.y), self.size, strict=True):
            wanted = round(pixels * self.bins)
            _answered(outputs, name, f"{wanted} bins", outputs[name].shape[-1] == wanted)
        return decode_simcc(outputs[self.x], outputs[self.y], bins=self.bins, score=self.score)

    def merge_flipped(self, plain: Outputs, flipped: Outputs, pairs: Sequence[int]) -> Outputs:
        """The mean of the answers to the crops and to their mirror images, mirrored back."""
        order = list(pairs)
        half = np.float32(0.5)
        return {
            self.x: (plain[self.x] + flipped[self.x][:, order, ::-1]) * half,
            self.y: (plain[self.y] + flipped[self.y][:, order]) * half,
        }


@dataclass(frozen=True)
class KeypointHead:
    """(N, K, 2 or 3) or (N, 2K or 3K) coordinates straight from the network, with or without scores."""

    tensor: str
    keypoints: int
    size: tuple[int, int]
    unit: bool = False

    @classmethod
    def bind(
        cls, manifest: Manifest, spec: InputSpec, k: int, tensors: Sequence[TensorSpec]
    ) -> KeypointHead:
        """Find the tensor among those of an engine; `unit` in the manifest: coordinates in 0..1."""

        def fits(t: TensorSpec) -> bool:
            flat = len(t.shape) == 2 and t.shape[1] in (2 * k, 3 * k)
            return flat or (len(t.shape) == 3 and _is(t.shape[1], k) and t.shape[2] in (2, 3))

        name = _role(manifest, tensors, "keypoints", fits)
        if not name:
            raise _missing(manifest, f"(batch, {k}, 2 or 3) keypoints", tensors)
        return cls(name, k, (spec.width, spec.height), bool(manifest.decoder.get("unit", False)))

    def decode(self, outputs: Outputs) -> Points:
        """Points and scores; see `Head`."""
        rows = outputs[self.tensor]
        k = self.keypoints
        fits = rows.shape[1:] in ((k, 2), (k, 3), (2 * k,), (3 * k,))
        _answered(outputs, self.tensor, f"{k} keypoints of 2 or 3 values", fits)
        rows = rows.reshape(len(rows), k, -1)
        xy = to_pixels(rows[..., :2], self.size, self.unit, "The keypoints")
        scores = rows[..., 2] if rows.shape[2] > 2 else np.ones(rows.shape[:2], np.float32)
        return Points(xy, scores)


@dataclass(frozen=True)
class HandHead:
    """MediaPipe's hand landmarks with presence and handedness."""

    roles: dict[str, str]
    presence: float = 0.5

    @classmethod
    def bind(
        cls, manifest: Manifest, spec: InputSpec, k: int, tensors: Sequence[TensorSpec]
    ) -> HandHead:
        """Check that the tensors of the manifest are there."""
        shapes = {t.name: t.shape for t in tensors}
        roles = {r: manifest.outputs.get(r, "") for r in ("landmarks", "presence", "handedness")}
        if any(n not in shapes for n in roles.values()) or not _is(
            shapes[roles["landmarks"]][-1], 3 * k
        ):
            raise _missing(manifest, f"(batch, {3 * k}) landmarks, presence, handedness", tensors)
        return cls(roles, float(manifest.decoder.get("presence", 0.5)))

    def decode(self, outputs: Outputs) -> Points:
        """Points and scores; see `Head`. A hand that is not there scores 0."""
        hands = decode_landmarks(outputs, self.roles)
        there = (hands.presence > self.presence)[:, None]
        return Points(hands.points.xy, hands.points.scores * there, hands.right)


# decoder type in the manifest -> head
HEADS: dict[str, Any] = {
    "heatmap": HeatmapHead,
    "simcc": SimccHead,
    "keypoints": KeypointHead,
    "hand-landmark": HandHead,
}


def bind_head(
    manifest: Manifest, spec: InputSpec, topology: Topology, tensors: Sequence[TensorSpec]
) -> Head:
    """The head that a top-down network's manifest names, bound to an engine's outputs.

    Raises:
        UnknownNameError: no such head.
        NetworkFileError: the engine has not its tensors.
    """
    kind = str(manifest.decoder.get("type", "heatmap"))
    if kind not in HEADS:
        raise UnknownNameError("head of a top-down network", kind, HEADS)
    head: Head = HEADS[kind].bind(manifest, spec, len(topology.keypoints), tensors)
    return head


def check_points(points: Points, manifest: Manifest, k: int, rows: int) -> Points:
    """The points, where they are as many as the topology and the crops ask for.

    Raises:
        EngineError: they are not (a dynamic output turned out otherwise).
    """
    if points.xy.shape != (rows, k, 2):
        raise EngineError(
            f"Network {manifest.name!r} answered {list(points.xy.shape[:2])} keypoints for {rows} "
            f"crops of {k}. Is --model the right file for --network {manifest.name}?"
        )
    return points
