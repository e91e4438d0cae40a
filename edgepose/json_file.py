"""JSON from a file or a stranger: bounded, so that no content of it can do more than be refused."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from edgepose.errors import EdgeposeError

MOST_BYTES = 1 << 30
MOST_DEPTH = 64
MOST_DIGITS = 25  # of a whole number: 64 bits have 20


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text (bytes are UTF-8): no deeper than 64, numbers finite and below 10**25, and no
    name twice in an object.

    Whoever walks through the value needs no guard against recursion, and none against a number
    that does not fit into a float.

    Raises:
        ValueError: it is not JSON, or out of these bounds; the message says which.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MOST_DEPTH}") from None
    if "\\ud" in text or "\\uD" in text:
        _check_characters(value)
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return value  # it cannot be deeper, and most texts end here
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError(f"it is nested deeper than {MOST_DEPTH}")
        level = [v for c in level for v in (c.values() if isinstance(c, dict) else c)]
    return value


def read_json(path: str | os.PathLike[str], most: int = MOST_BYTES) -> Any:
    """The value of a JSON file of `most` bytes or less; see `parse_json`.

    Raises:
        OSError: it cannot be read. ValueError: as `parse_json`, or it is too large.
    """
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most} bytes")
    return parse_json(data)


def read_named(
    path: str | os.PathLike[str], what: str, kind: type[EdgeposeError], most: int = MOST_BYTES
) -> Any:
    """`read_json` of a file that a person has named.

    Raises:
        EdgeposeError: of that kind; one line with `what` the file should be, its name and what is wrong.
    """
    try:
        return read_json(path, most)
    except FileNotFoundError:
        raise kind(f"{what} {path} does not exist.") from None
    except OSError as e:
        raise kind(f"{what} {path} cannot be read: {e.strerror or e}.") from None
    except ValueError as e:
        raise kind(f"{what} {path} is not valid JSON: {e}.") from None


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        raise ValueError("it holds half of a character, which no text can") from None


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {twice[:60]!r} twice in one place, and only one can be meant")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text) if len(text) <= 1000 else math.inf
    if not math.isfinite(number):
        raise ValueError(f"it holds {text[:20]}, which is no number to reckon with")
    return number


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


# made once: half the time of a short text
_DECODER = json.JSONDecoder(
    parse_int=_whole,
    parse_float=_finite,
    parse_constant=_no_constant,
    object_pairs_hook=_each_name_once,
)
