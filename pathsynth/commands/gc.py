"""`pathsynth gc [folder of all studies] [--yes]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from pathsynth.studies.trials.closing import EXIT_DONE, EXIT_FAILED
from pathsynth.studies.trials.garbage import Garbage, find_garbage, freed, remove
from pathsynth.terminal.tables import print_table


def collect_garbage(multirun: Path, yes: bool) -> int:
    """List what can go, and remove it after a yes (typed on a terminal, or given as ``--yes``); 1 if some of it could not go.

    Raises:
        RequestError: as :func:`pathsynth.studies.trials.garbage.find_garbage`.
    """
    garbage = find_garbage(multirun)
    if not garbage:
        print(f"nothing to remove in {multirun}")
        return EXIT_DONE
    _list(garbage)
    if not yes and not sys.stdin.isatty():
        print("nothing was removed; --yes removes them")
        return EXIT_DONE
    if not yes and not typer.confirm("remove it?"):
        print("nothing was removed")
        return EXIT_DONE
    left = remove(garbage, multirun)
    for remaining in left:
        print(f"{remaining.path} {remaining.why}")
    print(f"removed {len(garbage) - len(left)} of {len(garbage)}")
    return EXIT_FAILED if any(remaining.failed for remaining in left) else EXIT_DONE


def _list(garbage: Sequence[Garbage]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("folder", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for item in garbage:
        table.add_row(escape(str(item.path)), decimal(item.size), item.why)
    print_table(table)
    print(f"{len(garbage)} {'folder' if len(garbage) == 1 else 'folders'}, {decimal(freed(garbage))} on the disk")
