"""Tables are folded on a terminal alone; in a log a row is a line, without spaces at its end."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from pathsynth.terminal.tables import print_table


def table() -> Table:
    made = Table(box=None, pad_edge=False)
    for heading in ("trial", "a long heading"):
        made.add_column(heading, overflow="fold")
    made.add_row("rank=1", "no")
    made.add_row("rank=2", "word " * 60)
    return made


def test_in_a_log_a_row_is_a_line_without_spaces_at_its_end(capsys):
    print_table(table(), log_columns=1000)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["trial   a long heading", "rank=1  no", "rank=2  " + " ".join(["word"] * 60)]


def test_a_table_has_in_a_log_the_width_that_it_is_given(capsys):
    print_table(table())
    assert 100 < max(map(len, capsys.readouterr().out.splitlines())) <= 160


def test_on_a_terminal_a_row_is_folded():
    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    print_table(table(), console)
    assert len(console.file.getvalue().splitlines()) > 3
