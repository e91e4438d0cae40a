"""The interface of every engine. Engines know tensors, never people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.types import TensorSpec

Feeds = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[np.float32]]


class Engine(Protocol):
    """A loaded network.

    Attributes:
        name: what to print, for example "onnxruntime (CPU, 2 threads)".
        inputs, outputs: tensors with -1 for dynamic dimensions.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def infer(self, feeds: Feeds) -> Outputs:
        """Run once; blocking. Outputs are float32 arrays that the caller may keep.

        Raises:
            EngineError: the engine failed, or a feed does not fit.
        """
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...
