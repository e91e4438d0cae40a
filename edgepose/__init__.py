"""edgepose: the poses of people and hands in images, videos, cameras and network streams.

Public names load on first use, so that `import edgepose` imports no engine, no video library and
no GPU library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgepose.version import __version__

_PICTURES = (
    "Log",
    "cudaAllocMapped",
    "cudaDeviceSynchronize",
    "cudaFont",
    "cudaFromNumpy",
    "cudaMemcpy",
    "cudaResize",
    "cudaToNumpy",
    "loadImage",
    "saveImage",
)
_PUBLIC = {
    "poseNet": "edgepose.jetson_inference",
    "PoseNet": "edgepose.posenet",
    "Poses": "edgepose.poses",
    "videoSource": "edgepose.jetson_inference",
    "videoOutput": "edgepose.jetson_inference",
    **dict.fromkeys(_PICTURES, "edgepose.jetson_pictures"),
    "Frame": "edgepose.types",
    "Pose": "edgepose.types",
    "Keypoint": "edgepose.types",
    "Link": "edgepose.types",
    "Result": "edgepose.types",
    "EdgeposeError": "edgepose.errors",
}

__all__ = [  # noqa: RUF022 - grouped as the documentation groups them
    "poseNet",
    "PoseNet",
    "Poses",
    "videoSource",
    "videoOutput",
    "Frame",
    "Pose",
    "Keypoint",
    "Link",
    "Result",
    "Log",
    "cudaAllocMapped",
    "cudaDeviceSynchronize",
    "cudaFont",
    "cudaFromNumpy",
    "cudaMemcpy",
    "cudaResize",
    "cudaToNumpy",
    "loadImage",
    "saveImage",
    "EdgeposeError",
    "__version__",
]

if TYPE_CHECKING:
    from edgepose.errors import EdgeposeError
    from edgepose.jetson_inference import poseNet, videoOutput, videoSource
    from edgepose.jetson_pictures import (
        Log,
        cudaAllocMapped,
        cudaDeviceSynchronize,
        cudaFont,
        cudaFromNumpy,
        cudaMemcpy,
        cudaResize,
        cudaToNumpy,
        loadImage,
        saveImage,
    )
    from edgepose.posenet import PoseNet
    from edgepose.poses import Poses
    from edgepose.types import Frame, Keypoint, Link, Pose, Result


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgepose' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
