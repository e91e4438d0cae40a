"""Frames in, pictures and data out: sources, outputs, sinks; one file a scheme."""
