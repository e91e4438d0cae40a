"""Bottom-up decoding: confidence maps and part affinity fields in, keypoints of every person out.

The journey is trt_pose's: find peaks, refine them, integrate the fields between them, assign, and
assemble. With its parameters it gives its connections and objects; scores are added.
"""

from __future__ import annotations

import logging
from typing import Literal, Protocol

from edgepose.decode.bottom_up_numpy import BottomUpParams, Decoded, check_maps, decode_numpy
from edgepose.decode.host import HostDecoder
from edgepose.errors import BackendUnavailable, UsageError
from edgepose.networks.topology import Topology
from edgepose.types import Float32Array

log = logging.getLogger(__name__)
Backend = Literal["auto", "host", "numpy"]


class _Decode(Protocol):
    def __call__(self, cmap: Float32Array, paf: Float32Array) -> Decoded: ...


class BottomUpDecoder:
    """Decoder of one topology.

    Args:
        topology: keypoints and links.
        params: thresholds and sizes.
        backend: "host" (compiled), "numpy", or "auto" for the compiled one where it was built.

    Attributes:
        backend: the one in use, "host" or "numpy".

    Raises:
        BackendUnavailable: "host" was asked for and the compiled library is not there.
        UsageError: no such backend.
    """

    def __init__(
        self,
        topology: Topology,
        params: BottomUpParams | None = None,
        backend: Backend = "auto",
    ) -> None:
        self.topology = topology
        self.params = params or BottomUpParams()
        if backend not in ("auto", "host", "numpy"):
            raise UsageError(f"Unknown decoder backend {backend!r}; known: auto, host, numpy.")
        self._decode, self.backend = self._choose(backend)

    def _choose(self, backend: Backend) -> tuple[_Decode, str]:
        """The decoding function and its name."""
        if backend != "numpy":
            try:
                return HostDecoder(self.topology.table, self.params), "host"
            except BackendUnavailable as e:
                if backend == "host":
                    raise
                log.debug("%s Poses are decoded with numpy.", e)
        table, params = self.topology.table, self.params
        return (lambda cmap, paf: decode_numpy(cmap, paf, table, params)), "numpy"

    def __call__(self, cmap: Float32Array, paf: Float32Array) -> Decoded:
        """Decode the maps of one picture.

        Args:
            cmap: float32 (K, H, W); further channels (a background) are ignored.
            paf: float32 (C, H, W) with the channels that the topology names.

        Raises:
            EngineError: the maps do not fit the topology.
        """
        return self._decode(*check_maps(self.topology, cmap, paf))
