"""From pictures to input tensors.

`fit` says where the picture lies in the network's input (a `Placement`, which brings answers back
exactly); `to_tensor` puts it there: resize, colour order, mean and deviation. `crops` has the warps of
top-down networks.
"""

from edgepose.preprocess.picture import as_rgb, normalise, to_tensor, whole_steps
from edgepose.preprocess.placement import Placement, fit

__all__ = ["Placement", "as_rgb", "fit", "normalise", "to_tensor", "whole_steps"]
