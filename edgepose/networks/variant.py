"""One variant of a network's weights: where its files are looked for, and whether they are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import NetworkFileError
from edgepose.networks.manifest import Manifest, Weights
from edgepose.networks.model_file import complete
from edgepose.paths import data_networks, networks_home


@dataclass(frozen=True)
class Variant:
    """Weights of a network.

    Attributes:
        manifest: the network's.
        name: of the weights, one of the manifest's.
    """

    manifest: Manifest
    name: str

    def __str__(self) -> str:
        return f"{self.manifest.name} ({self.name})"

    @property
    def weights(self) -> Weights:
        """What the manifest says of them."""
        return self.manifest.weights[self.name]

    @property
    def folder(self) -> Path:
        """Where it is installed, or would be."""
        return networks_home() / self.manifest.name / self.name

    def candidates(self) -> list[Path]:
        """Where its model file is looked for, in this order."""
        places = [self.folder, self.folder.parent]
        if self.weights.shipped:
            places.append(data_networks())
        return [p / self.weights.model for p in places]

    @property
    def model(self) -> Path | None:
        """Its model file where it is there and complete."""
        return next((p for p in self.candidates() if complete(p)), None)

    def not_installed(self) -> NetworkFileError:
        """The error where its weights are nowhere; it says what was looked for where."""
        looked = " and ".join(map(str, self.candidates()))
        what = f"Network {self} is not installed: looked for {looked}."
        network = self.manifest.name
        name = network if self.name == self.manifest.default_variant else f"{network}:{self.name}"
        if self.weights.downloads:
            return NetworkFileError(f"{what} Run `edgepose download {name}`, or give --model FILE.")
        return NetworkFileError(
            f"{what} No address of it is known: give --model FILE, or install it with "
            f"`edgepose download {name} --from FILE` (see `edgepose networks show {network}`)."
        )
