"""How many rows YOLO's grids have: what tells raw answers from lists that were suppressed inside."""

from __future__ import annotations

STRIDES = (8, 16, 32)
MOST_SUPPRESSED = 300  # rows that exports with suppression inside keep at most


def grid_rows(size: tuple[int, int]) -> int:
    """Cells of the three grids for an input (width, height)."""
    return sum(-(-size[0] // s) * -(-size[1] // s) for s in STRIDES)


def is_list(rows: int, size: tuple[int, int]) -> bool:
    """True where so many rows can only be a list that was suppressed inside: few, and not those of the
    grids with one or three anchors a cell."""
    return rows <= MOST_SUPPRESSED and rows not in (grid_rows(size), 3 * grid_rows(size))
