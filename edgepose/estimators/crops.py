"""Crops of what a detector found, as a top-down network wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.cuda.pictures import GREY, Window
from edgepose.decode.hand import hand_regions
from edgepose.errors import UsageError
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.detector import Detector, Regions
from edgepose.geometry import Affine
from edgepose.networks.manifest import Manifest
from edgepose.networks.resolve import Network, resolve
from edgepose.preprocess import normalise
from edgepose.preprocess.crops import centres_and_sizes, crops, in_patch, warp

Owners = NDArray[np.intp]  # for each crop the number of its picture


class Crops:
    """How a top-down network sees people or hands.

    Args:
        manifest: with the input as the engine has it.
        dtype: of the input.

    Attributes:
        turned: crops follow the angle of a palm.
        mask: what lies farther outside of a box than this part of its longer side is grey, so that the
            network does not see neighbours; None = nothing is.
    """

    def __init__(self, manifest: Manifest, dtype: DTypeLike = np.float32) -> None:
        self.spec, self._dtype = manifest.input, dtype
        self.turned = manifest.decoder.get("type") == "hand-landmark"
        self._decoder = manifest.decoder
        mask = manifest.decoder.get("mask")
        self.mask = None if mask is None or self.turned else float(mask)

    def places(self, found: Sequence[Regions]) -> list[Affine]:
        """Image -> crop, in pixel numbers, of every region of every frame."""
        size = (self.spec.width, self.spec.height)
        boxes = np.concatenate([r.boxes for r in found])
        angles = np.concatenate([r.angles for r in found])
        if self.turned:
            margin = float(self._decoder.get("scale", 2.6))
            shift = -float(self._decoder.get("shift_y", -0.5))
            regions = hand_regions(boxes, angles, margin=margin, shift=shift)
        else:
            margin = float(self._decoder.get("padding", 1.25))
            regions = centres_and_sizes(boxes, size[0] / size[1], margin)
        return crops(*regions, size, angles)

    def windows(self, found: Sequence[Regions], places: Sequence[Affine]) -> list[Window]:
        """Rows and columns of each crop that are not masked, within it; [] where none is."""
        if self.mask is None or not places:
            return []
        boxes = np.concatenate([r.boxes for r in found])
        margin = self.mask * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
        corners = np.stack([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
        spans = in_patch(places, corners)
        size = (self.spec.width, self.spec.height)
        first = np.clip(np.floor(spans[:, 0]), 0, size).astype(int)
        last = np.clip(np.ceil(spans[:, 1]), 0, size).astype(int)
        return [
            (slice(top, bottom), slice(left, right))
            for (left, top), (right, bottom) in zip(first.tolist(), last.tolist(), strict=True)
        ]

    def feed(
        self,
        pixels: Sequence[Any],
        owners: Owners,
        places: Sequence[Affine],
        windows: Sequence[Window] = (),
    ) -> NDArray[Any]:
        """The network's input, one row a crop, cut from pictures on the host; grey outside of windows."""
        patches = np.empty((len(owners), self.spec.height, self.spec.width, 3), np.uint8)
        for owner, place, patch in zip(owners.tolist(), places, patches, strict=True):
            warp(pixels[owner], place, patch)
        for patch, window in zip(patches, windows, strict=False):
            person = patch[window].copy()
            patch[:] = GREY
            patch[window] = person
        return normalise(patches, self.spec, self._dtype)


def check_detector(detector: Detector, manifest: Manifest) -> None:
    """Detector and pose network must go together.

    Raises:
        UsageError: turned palm boxes are needed and plain ones found, or the other way round.
    """
    turned = manifest.decoder.get("type") == "hand-landmark"
    if turned != detector.finds_turned_regions:
        raise UsageError(
            f"Detector {detector.manifest.name!r} does not suit network {manifest.name!r}, "
            + ("which needs turned palm boxes" if turned else "which needs plain boxes")
            + (f": use --detector {manifest.detector}." if manifest.detector else ".")
        )


def detector_options(manifest: Manifest, options: EstimatorOptions) -> EstimatorOptions:
    """The user's choices, else what the pose network's manifest wants of its detector."""
    own = manifest.decoder
    score, overlap = options.box_threshold, options.nms_threshold
    return replace(
        options,
        box_threshold=own.get("box_score") if score is None else score,
        nms_threshold=own.get("box_nms") if overlap is None else overlap,
    )


def detector_network(manifest: Manifest, options: EstimatorOptions) -> Network:
    """The detector that was asked for, else the one that the network names.

    Raises:
        UsageError: neither.
    """
    if options.detector is not None:
        return options.detector
    if not manifest.detector:
        raise UsageError(
            f"Network {manifest.name!r} is top-down and names no detector: give --detector NAME."
        )
    return resolve(manifest.detector)
