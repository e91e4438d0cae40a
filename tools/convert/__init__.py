"""Makes the networks that come with edgepose out of their publishers' files; see `python -m tools.convert --help`."""
