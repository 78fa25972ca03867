"""Tables of a command: as wide as the terminal, or, in a log, as they need to be."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_LOG_COLUMNS = 1000
"""No row is folded there."""


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table to ``console`` (default: the standard output); in a log its lines have no spaces at their ends."""
    console = console or Console()
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(width=_LOG_COLUMNS, file=console.file)
    with wide.capture() as captured:
        wide.print(table)
    console.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
