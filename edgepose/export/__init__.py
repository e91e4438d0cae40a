"""PyTorch checkpoints to ONNX: the networks are defined here, the weights are the user's."""
