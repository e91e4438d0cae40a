"""Spellings of command line flags."""

from __future__ import annotations

from collections.abc import Sequence


def normalise_flags(argv: Sequence[str]) -> list[str]:
    """jetson-inference's flag spellings as ours.

    `--input_blob=x` becomes `--input-blob=x`, `-network=x` becomes `--network=x`, names are
    case-insensitive. Values, positional arguments and everything behind `--` stay as they are.
    """
    out: list[str] = []
    for i, word in enumerate(argv):
        if word == "--":
            return out + list(argv[i:])
        if word.startswith("-") and len(word) > 2 and not _is_number(word):
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
