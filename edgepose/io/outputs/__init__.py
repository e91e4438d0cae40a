"""Picture outputs: one file a scheme, chosen from one table."""
