"""Tables for people: 80 columns when nobody watches, nothing said by colour alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tierproxy.cli.outcome import Terminal

TIMES = frozenset({"asked", "written", "live since"})  #: columns of moments, which are not broken
MOST = 100  #: columns: a wider terminal makes lines longer, not tables clearer


def table(texts: Sequence[str], figures: Sequence[str], *, title: str = "") -> Table:
    """Columns of text, then columns of figures (to the right, never broken)."""
    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, collapse_padding=True)
    for name in texts:
        made.add_column(name, overflow="fold", no_wrap=name in TIMES)
    for name in figures:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def filled(made: Table, rows: Iterable[Sequence[str]]) -> Table:
    """``made`` with ``rows``; what is in them is text, never markup."""
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def console() -> Console:
    """For tables: as wide as the terminal up to a limit, 80 columns into a pipe or file."""
    made = Terminal(highlight=False)
    made.width = min(made.width, MOST)
    return made
