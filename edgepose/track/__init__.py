"""Identities over time: association, life cycle, smoothing, events."""
