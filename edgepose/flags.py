"""Spellings of command line flags, and of the values behind them."""

from __future__ import annotations

from collections.abc import Container, Sequence

from edgepose.errors import UnknownNameError, UsageError


def normalise_flags(argv: Sequence[str], taking: Container[str] = ()) -> list[str]:
    """jetson-inference's flag spellings as ours.

    `--input_blob=x` becomes `--input-blob=x`, `-network=x` becomes `--network=x`, names are
    case-insensitive. Values, positional arguments and everything behind `--` stay as they are.

    Args:
        argv: the words.
        taking: names of the options that take a value: the word behind one is its value, dash or not.
    """
    out: list[str] = []
    is_value = False
    for i, word in enumerate(argv):
        if is_value:
            is_value = False
        elif word == "--":
            return out + list(argv[i:])
        elif word.startswith("-") and len(word) > 1 and not _is_number(word):
            word = _normalised(word)
            is_value = word in taking
        out.append(word)
    return out


def _normalised(word: str) -> str:
    name, equals, value = word.partition("=")
    stem = name.lstrip("-")
    if name.startswith("--") or len(stem) > 1:
        name = "--" + stem.replace("_", "-").lower()
    return name + equals + value


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
