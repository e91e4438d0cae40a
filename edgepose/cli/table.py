"""Tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgepose.errors import printable

LONGEST = 200  # letters of a cell


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: drawn on a terminal, plain aligned columns where it is piped.

    Cells may hold what other machines said: a terminal obeys none of it.
    """
    rows = [[printable(word, LONGEST) for word in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
        for row in [head, *rows]:
            print("  ".join(w.ljust(n) for w, n in zip(row, widths, strict=True)).rstrip())
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(head):
        table.add_column(name, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(word) for word in row))
    Console(highlight=False).print(table)
