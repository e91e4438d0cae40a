"""The token that requests carry, and which addresses only this machine reaches."""

from __future__ import annotations

import ipaddress
import secrets

from edgepose.errors import UsageError

MIN_TOKEN = 16
MAX_BODY = 64 * 1024  # bytes of a request


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def checked_token(token: str) -> str:
    """A token that people chose, where it will do.

    Raises:
        UsageError: too short, or with characters that do not fit into a cookie and an address.
    """
    if len(token) < MIN_TOKEN or not all(
        c.isascii() and (c.isalnum() or c in "-_.~") for c in token
    ):
        raise UsageError(
            f"EDGEPOSE_TOKEN needs at least {MIN_TOKEN} letters, digits, '-', '_', '.' or '~'. "
            "Unset it to have one made."
        )
    return token


def is_loopback(host: str) -> bool:
    """True where only this machine can reach the address or name."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
