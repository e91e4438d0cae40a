"""From PyTorch checkpoints to ONNX."""
