"""Inputs: one file a scheme, chosen from one table."""
