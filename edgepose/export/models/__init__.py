"""The networks whose checkpoints users bring, with the names and shapes of their weights.

Only this folder and `edgepose.export.checkpoint` import torch, and nothing imports them but `export`.
"""
