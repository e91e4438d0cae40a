"""From pictures to input tensors.

`fit` says where the picture lies in the network's input (an `Affine`, so that its inverse brings
keypoints back exactly); `to_tensor` puts it there: resize or warp, colour order, mean and deviation.
"""

from edgepose.preprocess.picture import as_rgb, fit, to_tensor

__all__ = ["as_rgb", "fit", "to_tensor"]
