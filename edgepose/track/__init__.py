"""Identities over time: similarity of poses, motion, association, life cycle, smoothing."""
