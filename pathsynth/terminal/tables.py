"""Tables of a command: as wide as the terminal; in a log each has a width of its own."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_LOG_COLUMNS = 160


def print_table(table: Table, console: Console | None = None, log_columns: int = _LOG_COLUMNS) -> None:
    """Print a table to ``console`` (default: the standard output).

    In a log it is at most ``log_columns`` wide, and its lines have no spaces at their ends.
    """
    console = console or Console()
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(width=log_columns, file=console.file)
    with wide.capture() as captured:
        wide.print(table)
    console.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
