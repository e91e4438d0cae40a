"""From pictures to input tensors."""
