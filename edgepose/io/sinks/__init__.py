"""Data outputs: JSON lines, CSV, COCO and others, one file a format."""
