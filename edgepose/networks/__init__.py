"""Networks as data: manifests, topologies, where they are installed, how they are fetched."""
