"""Spellings of command line flags, and of the values behind them."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.errors import UnknownNameError, UsageError

_TAKE_FILES = frozenset(("-i", "--input", "--source", "-o", "--output"))


def normalise_flags(argv: Sequence[str]) -> list[str]:
    """jetson-inference's flag spellings as ours.

    `--input_blob=x` becomes `--input-blob=x`, `-network=x` becomes `--network=x`, names are
    case-insensitive. Values, positional arguments and everything behind `--` stay as they are, and
    so does a file whose name begins with one dash where an option for files stands before it.
    """
    out: list[str] = []
    for i, word in enumerate(argv):
        if word == "--":
            return out + list(argv[i:])
        is_file = i > 0 and argv[i - 1] in _TAKE_FILES and not word.startswith("--")
        if word.startswith("-") and len(word) > 2 and not _is_number(word) and not is_file:
            name, equals, value = word.partition("=")
            stem = name.lstrip("-")
            if name.startswith("--") or len(stem) > 1:
                name = "--" + stem.replace("_", "-").lower()
            word = name + equals + value
        out.append(word)
    return out


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def parse_size(flag: str, text: str) -> tuple[int, int] | None:
    """(width, height) of "WxH", None of "".

    Raises:
        UsageError: not two whole numbers from 1 to 16384.
    """
    if not text:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(
        p.isascii() and p.isdigit() and len(p) < 6 and 0 < int(p) <= 16384 for p in parts
    ):
        raise UsageError(f"{flag} {text!r} is not WIDTHxHEIGHT, such as 256x256.")
    return int(parts[0]), int(parts[1])


def one_of(flag: str, value: str, allowed: Sequence[str]) -> str:
    """A value that must be one of some words.

    Raises:
        UnknownNameError: it is none of them.
    """
    if value not in allowed:
        raise UnknownNameError(f"value of {flag}", value, [x for x in allowed if x])
    return value
