"""From output tensors to keypoints, boxes and poses."""
