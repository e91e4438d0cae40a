"""The choice of an estimator by the network's family."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import TYPE_CHECKING

from edgepose.errors import UsageError
from edgepose.estimators.base import EstimatorOptions, Loaded

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network

log = logging.getLogger(__name__)

# family -> the options that it has no use for
UNUSED = {
    "bottom-up": (
        *("detector", "detector_size", "box_threshold", "nms_threshold"),
        *("max_people", "flip_test", "detect_every"),
    ),
    "top-down": ("link_threshold", "resize"),
    "one-stage": ("link_threshold", "detector", "detector_size", "flip_test", "detect_every"),
}


def make_estimator(network: Network, options: EstimatorOptions) -> Loaded:
    """The estimator for a network's family.

    Raises:
        UsageError: the network is a detector, which finds no poses by itself.
        EngineError: no engine can run it.
    """
    family = network.manifest.family
    unused = unused_options(family, options)
    if unused:
        flags = ", ".join("--" + name.replace("_", "-") for name in unused)
        log.warning("%s is %s and has no use for %s.", network.manifest.name, family, flags)
    if family == "bottom-up":
        from edgepose.estimators.bottom_up import BottomUp

        return BottomUp.load(network, options)
    if family == "top-down":
        from edgepose.estimators.top_down import TopDown

        return TopDown.load(network, options)
    if family == "one-stage":
        from edgepose.estimators.one_stage import OneStage

        return OneStage.load(network, options)
    raise UsageError(
        f"Network {network.manifest.name!r} is a detector: it finds boxes, not poses. Use it as "
        "--detector of a top-down network."
    )


def unused_options(family: str, options: EstimatorOptions) -> list[str]:
    """The options that were given and that a family of networks has no use for."""
    default = {field.name: field.default for field in fields(options)}
    return [n for n in UNUSED.get(family, ()) if getattr(options, n) != default[n]]
