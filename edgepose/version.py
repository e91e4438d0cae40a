"""The version, for everything that writes it down."""

__version__ = "0.1.0"
DOCS = "https://github.com/edgepose/edgepose/blob/main/docs"  # for messages: pip installs no pages
