"""How a family prepares pictures for its network, without the network: what int8 is calibrated on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.closing import Closing
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.crops import Crops, check_detector, detector_network, detector_options
from edgepose.estimators.detector import Detector
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.preprocess import fit, to_tensor
from edgepose.preprocess.placement import Way
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pixels


class Preparation(Protocol):
    """Pictures become inputs.

    Attributes:
        key: says how, for digests.
    """

    key: str

    def inputs(self, pixels: Pixels) -> Iterator[NDArray[Any]]:
        """The network's inputs (1, ...) of one picture, uint8 RGB (H, W, 3); none where it sees nothing."""
        ...

    def close(self) -> None:
        """Release what it needed."""
        ...


class WholePictures(Closing):
    """One input a picture."""

    def __init__(self, spec: InputSpec, way: Way) -> None:
        self.key = f"{spec!r} {way}"
        self._spec, self._way = spec, way

    def inputs(self, pixels: Pixels) -> Iterator[NDArray[Any]]:
        """See `Preparation`."""
        place = fit(self._spec, pixels.shape[1], pixels.shape[0], self._way)
        yield to_tensor([pixels], [place], self._spec)

    def close(self) -> None:
        """Nothing is held."""


class People(Closing):
    """One input for each person (or hand) that the network's detector finds in a picture.

    Raises:
        UsageError: there is no detector, or it does not suit.
    """

    def __init__(self, manifest: Manifest, options: EstimatorOptions) -> None:
        network = detector_network(manifest, options)
        self._crops = Crops(manifest)
        self._detector = Detector.load(network, detector_options(manifest, options))
        self.key = f"{manifest.input!r} {manifest.decoder!r} {network.manifest.name}"
        check_detector(self._detector, manifest)

    def inputs(self, pixels: Pixels) -> Iterator[NDArray[Any]]:
        """See `Preparation`."""
        found = self._detector.detect([Frame(pixels)], Stopwatch())
        places = self._crops.places(found)
        windows = self._crops.windows(found, places)
        for i, place in enumerate(places):
            yield self._crops.feed([pixels], np.zeros(1, np.intp), [place], windows[i : i + 1])

    def close(self) -> None:
        """Release the detector."""
        self._detector.close()


def preparation(
    manifest: Manifest,
    size: tuple[int, int] | None = None,
    options: EstimatorOptions | None = None,
) -> Preparation:
    """How the family of a network prepares pictures.

    Args:
        manifest: of the network.
        size: (width, height) of its input where it is not the manifest's.
        options: the detector and its thresholds, of top-down networks.
    """
    if size is not None:
        manifest = replace(manifest, input=replace(manifest.input, width=size[0], height=size[1]))
    if manifest.family == "top-down":
        return People(manifest, options or EstimatorOptions())
    return WholePictures(manifest.input, "maps" if manifest.family == "bottom-up" else "boxes")
