"""The choice of an estimator by the network's family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepose.errors import UsageError
from edgepose.estimators.base import Estimator, EstimatorOptions

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network


def make_estimator(network: Network, options: EstimatorOptions) -> Estimator:
    """The estimator for a network's family.

    Raises:
        UsageError: the network is a detector, which finds no poses by itself.
        EngineError: no engine can run it.
    """
    family = network.manifest.family
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
