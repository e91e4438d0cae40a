"""What infers: one file a backend, chosen by name from one table."""
