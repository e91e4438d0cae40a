"""CUDA: context, buffers, kernels; and the same kernels built for the host."""
